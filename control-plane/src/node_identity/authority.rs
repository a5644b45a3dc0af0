use std::fmt;

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};

use super::{SERVER_NAME, own_id, store};
use crate::db::{self, Db};
use crate::random::Random;
use crate::secrets::{Place, SealError, SealingKey, Secret};

/// The authority and the control plane's own certificates. Whoever has the authority's key has it for
/// as long as the installation lives.
const LONG_DAYS: u16 = 3_650;
/// Clocks differ.
const EARLIER: SignedDuration = SignedDuration::from_hours(24);

const PLACE: Place<'static> = Place {
    table: "node_authority",
    row: "1",
    column: "sealed_key",
};

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error(transparent)]
    Db(#[from] db::Error),
    #[error("the key of the certificate authority cannot be opened: {0}")]
    Seal(#[from] SealError),
    #[error("a certificate cannot be made: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error("the clock shows no time that a certificate can hold")]
    Clock,
    #[error("{0}")]
    NodeId(String),
}

/// Signs the certificates of Envoys and of the control plane.
pub struct Authority {
    certificate: String,
    key: KeyPair,
}

/// A certificate with its key and the authority that vouches for the other side; PEM.
#[derive(Debug)]
pub struct Credentials {
    pub certificate: String,
    pub key: Secret,
    pub authority: String,
}

impl Authority {
    /// The authority of this database, made when there is none.
    pub async fn load_or_create(
        db: &Db,
        sealing_key: &SealingKey,
        random: &Random,
        now_ms: i64,
    ) -> Result<Self, IdentityError> {
        let mut tx = db.begin_write().await?;
        if let Some((certificate, sealed)) = store::get(&mut tx).await? {
            let key = sealing_key.open(PLACE, &sealed)?;
            let key = KeyPair::from_pem(key.expose())?;
            return Ok(Self { certificate, key });
        }
        let key = KeyPair::generate()?;
        let certificate = params_of_authority(now_ms)?.self_signed(&key)?.pem();
        let sealed = sealing_key.seal(random, PLACE, &Secret::new(key.serialize_pem()))?;
        store::insert(&mut tx, &certificate, &sealed, now_ms).await?;
        tx.commit().await?;
        tracing::info!("certificate authority of Envoys made");
        Ok(Self { certificate, key })
    }

    /// One that no database knows.
    #[cfg(test)]
    pub(crate) fn for_tests(now_ms: i64) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = params_of_authority(now_ms).unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        Self { certificate, key }
    }

    /// Its certificate, PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Credentials of an Envoy.
    pub fn of_node(
        &self,
        node_id: &str,
        days: u16,
        now_ms: i64,
    ) -> Result<Credentials, IdentityError> {
        super::check_node_id(node_id).map_err(IdentityError::NodeId)?;
        let mut params = params(node_id, days, now_ms)?;
        params.subject_alt_names = vec![SanType::URI(own_id(node_id).try_into()?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params, now_ms)
    }

    /// Credentials of this process of the control plane.
    pub fn of_server(&self, now_ms: i64) -> Result<Credentials, IdentityError> {
        let mut params = params(SERVER_NAME, LONG_DAYS, now_ms)?;
        params.subject_alt_names = vec![SanType::DnsName(SERVER_NAME.try_into()?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params, now_ms)
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        now_ms: i64,
    ) -> Result<Credentials, IdentityError> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let of_authority = params_of_authority(now_ms)?;
        let issuer = Issuer::from_params(&of_authority, &self.key);
        let certificate: Certificate = params.signed_by(&key, &issuer)?;
        Ok(Credentials {
            certificate: certificate.pem(),
            key: Secret::new(key.serialize_pem()),
            authority: self.certificate.clone(),
        })
    }
}

fn params_of_authority(now_ms: i64) -> Result<CertificateParams, IdentityError> {
    let mut params = params("Reeve nodes", LONG_DAYS, now_ms)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    Ok(params)
}

fn params(name: &str, days: u16, now_ms: i64) -> Result<CertificateParams, IdentityError> {
    let now = Timestamp::from_millisecond(now_ms).map_err(|_| IdentityError::Clock)?;
    let days = SignedDuration::from_hours(i64::from(days).saturating_mul(24));
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let (year, month, day) = date(now.checked_sub(EARLIER))?;
    params.not_before = date_time_ymd(year, month, day);
    let end = now
        .checked_add(days)
        .and_then(|end| end.checked_add(EARLIER));
    let (year, month, day) = date(end)?;
    params.not_after = date_time_ymd(year, month, day);
    Ok(params)
}

/// Year, month and day, UTC.
fn date(at: Result<Timestamp, jiff::Error>) -> Result<(i32, u8, u8), IdentityError> {
    let at = at.map_err(|_| IdentityError::Clock)?;
    let date = at.to_zoned(jiff::tz::TimeZone::UTC).date();
    match (u8::try_from(date.month()), u8::try_from(date.day())) {
        (Ok(month), Ok(day)) => Ok((date.year().into(), month, day)),
        _ => Err(IdentityError::Clock),
    }
}

/// The key is nobody's to see.
impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authority(..)")
    }
}
