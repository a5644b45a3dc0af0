//! Provider keys: what a provider charges us by.
//!
//! A key's value comes in and never goes out again: it is stored encrypted and shown by its last four
//! characters. In the place of a value it can be made of parts ([`super::key_config`]). Of a provider's
//! active keys the one with the greatest weight is used.

use serde::Deserialize;
use utoipa::ToSchema;

use super::key_config::{
    AzureKeyConfig, BedrockKeyConfig, Holder, KeyConfig, Parts, VertexKeyConfig,
};
use crate::http::field::Field;
use crate::http::number::Number;
use crate::invalid::Invalid;
use crate::random::Ids;
use crate::secrets::{Place, Secret};
use crate::{name, weight};

/// Longest value, characters: more would not fit into a request's headers.
const MAX_VALUE: usize = 8_192;

/// Where a key's value is sealed for.
pub fn place(key_id: &str) -> Place<'_> {
    Place {
        table: "provider_keys",
        row: key_id,
        column: "sealed_value",
    }
}

/// A provider key, without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// UUIDv7.
    pub id: String,
    /// Unique within the provider.
    pub name: String,
    /// The end of the value, or of an access key's id; empty for a short one.
    pub last4: String,
    /// What is known of one that is made of parts.
    pub config: Option<KeyConfig>,
    /// Parts per million.
    pub weight_ppm: u32,
    /// An inactive key is never used.
    pub is_active: bool,
    /// Milliseconds since the Unix epoch.
    pub created_at_ms: i64,
    /// Milliseconds since the Unix epoch.
    pub updated_at_ms: i64,
}

/// A provider key as a request gives it. What a change leaves out stays as it is.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub struct KeyChange {
    /// Unique within the provider. Default: `key-` and a number.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    name: Field<String>,
    /// The key as the provider gave it; required for a new one that is not made of parts. It is never
    /// shown again.
    #[serde(default, deserialize_with = "hidden")]
    #[schema(value_type = Option<String>, write_only)]
    value: Field<Secret>,
    /// For Bedrock, in the place of a value: an AWS access key, with which Envoy signs requests.
    #[serde(default)]
    #[schema(value_type = Option<BedrockKeyConfig>, write_only)]
    bedrock_key_config: Field<BedrockKeyConfig>,
    /// For Google's Vertex AI, in the place of a value: a service account, which gets tokens for requests.
    #[serde(default)]
    #[schema(value_type = Option<VertexKeyConfig>, write_only)]
    vertex_key_config: Field<VertexKeyConfig>,
    /// For Azure, in the place of a value: an application of Microsoft Entra, which gets tokens for requests.
    #[serde(default)]
    #[schema(value_type = Option<AzureKeyConfig>, write_only)]
    azure_key_config: Field<AzureKeyConfig>,
    /// Of the active keys the one with the greatest weight is used; 0 to 1000, default 1.
    #[serde(default)]
    #[schema(value_type = Option<f64>, minimum = 0, maximum = 1000)]
    weight: Field<Number>,
    /// Default true.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    is_active: Field<bool>,
}

pub(super) fn hidden<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Field<Secret>, D::Error> {
    Ok(match Field::<String>::deserialize(deserializer)? {
        Field::Absent => Field::Absent,
        Field::Null => Field::Null,
        Field::Value(text) => Field::Value(Secret::new(text)),
    })
}

impl KeyChange {
    /// The new key and what is to be sealed of it. `taken` are the names of the provider's other keys.
    pub fn create(
        self,
        holder: Holder<'_>,
        taken: &[String],
        ids: &mut Ids,
    ) -> Result<(Key, Secret), Invalid> {
        let name = (1_u32..).map(|number| format!("key-{number}"));
        let blank = Key {
            id: ids.make(),
            name: name
                .into_iter()
                .find(|name| !taken.contains(name))
                .unwrap_or_default(),
            last4: String::new(),
            config: None,
            weight_ppm: weight::WHOLE_PPM,
            is_active: true,
            created_at_ms: ids.now_ms(),
            updated_at_ms: ids.now_ms(),
        };
        let (key, value) = self.apply(blank, holder, taken, ids.now_ms())?;
        let value = value.ok_or_else(|| Invalid::field("value", "is required"))?;
        Ok((key, value))
    }

    /// The key after the change, and what is to be sealed of it if that is new.
    pub fn apply(
        self,
        key: Key,
        holder: Holder<'_>,
        taken: &[String],
        now_ms: i64,
    ) -> Result<(Key, Option<Secret>), Invalid> {
        let value = present("value", self.value)?;
        let parts = parts(
            present("bedrock_key_config", self.bedrock_key_config)?,
            present("vertex_key_config", self.vertex_key_config)?,
            present("azure_key_config", self.azure_key_config)?,
            holder,
        )?;
        let (last4, config, value) = match (value, parts) {
            (None, None) => (key.last4, key.config, None),
            (Some(value), None) => {
                check_visible("value", &value)?;
                (value.last4(), None, Some(value))
            }
            (None, Some(parts)) => (parts.last4, Some(parts.shown), Some(parts.secret)),
            (Some(_), Some(parts)) => {
                let message = "takes the place of `value`; give one of the two";
                return Err(Invalid::field(parts.shown.field(), message));
            }
        };
        let name = self.name.or_keep(Some(key.name)).unwrap_or_default();
        name::check(&name)?;
        if taken.contains(&name) {
            return Err(Invalid::field(
                "name",
                "another key of this provider has this name",
            ));
        }
        let weight_ppm = match self.weight {
            Field::Absent => key.weight_ppm,
            Field::Null => weight::WHOLE_PPM,
            Field::Value(number) => weight::parse(&number)?,
        };
        let key = Key {
            name,
            last4,
            config,
            weight_ppm,
            is_active: self.is_active.or_keep_value(key.is_active, true),
            updated_at_ms: now_ms,
            id: key.id,
            created_at_ms: key.created_at_ms,
        };
        Ok((key, value))
    }
}

/// What a request says that a key shall be.
fn present<T>(name: &'static str, field: Field<T>) -> Result<Option<T>, Invalid> {
    match field {
        Field::Absent => Ok(None),
        Field::Value(value) => Ok(Some(value)),
        Field::Null => {
            let message = "cannot be removed; delete the key, or set `is_active` to false";
            Err(Invalid::field(name, message))
        }
    }
}

/// A key that is made of parts; `None`: it is not.
fn parts(
    bedrock: Option<BedrockKeyConfig>,
    vertex: Option<VertexKeyConfig>,
    azure: Option<AzureKeyConfig>,
    holder: Holder<'_>,
) -> Result<Option<Parts>, Invalid> {
    let given = [bedrock.is_some(), vertex.is_some(), azure.is_some()];
    if given.into_iter().filter(|is_given| *is_given).count() > 1 {
        let message =
            "a key is one of `bedrock_key_config`, `vertex_key_config` and `azure_key_config`";
        return Err(Invalid::whole(message));
    }
    let parts = if let Some(config) = bedrock {
        Parts::bedrock(config)
    } else if let Some(config) = vertex {
        Parts::vertex(config, holder)
    } else if let Some(config) = azure {
        Parts::azure(config, holder)
    } else {
        return Ok(None);
    };
    let parts = parts?;
    parts.shown.check(holder.kind)?;
    Ok(Some(parts))
}

/// What ends up in a header as it is.
pub(super) fn check_visible(field: &'static str, value: &Secret) -> Result<(), Invalid> {
    let text = value.expose();
    let fault = |message| Err(Invalid::field(field, message));
    if text.is_empty() {
        fault("must not be empty")
    } else if text.len() > MAX_VALUE {
        fault("must have at most 8192 characters")
    } else if !text.bytes().all(|b| b.is_ascii_graphic()) {
        fault("must have visible ASCII characters only, without spaces or line breaks")
    } else {
        Ok(())
    }
}
