//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a request that is sent again, because its
//! answer was lost, is answered as it was and not done again.
//!
//! The key, what was asked for and the answer are stored in the transaction of the change. Errors are not:
//! nothing was done. Keys are forgotten after a day.

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::app::App;
use crate::db::Tx;
use crate::error::Error;
use crate::invalid::Invalid;

const HEADER: &str = "idempotency-key";
/// Longest key, bytes.
const MAX_KEY: usize = 255;

/// A request that is done once.
#[derive(Debug)]
pub(super) struct Once {
    /// `None`: each time it comes.
    key: Option<String>,
    /// What is asked for: path and payload.
    request: String,
}

/// A JSON answer, new or as it was.
#[derive(Debug)]
pub(super) struct Answer(String);

impl Once {
    pub(super) fn new(headers: &HeaderMap, request: String) -> Result<Self, Invalid> {
        Ok(Self {
            key: key(headers)?,
            request,
        })
    }

    /// The answer, if this has been done already.
    pub(super) async fn answer(&self, tx: &mut Tx) -> Result<Option<Answer>, Error> {
        let Some(key) = &self.key else {
            return Ok(None);
        };
        let row: Option<(String, String)> = tx
            .query("SELECT request, answer FROM idempotency_keys WHERE key = $1")
            .bind(key.as_str())
            .fetch_optional()
            .await?;
        match row {
            None => Ok(None),
            Some((request, answer)) if request == self.request => Ok(Some(Answer(answer))),
            Some(_) => Err(Error::IdempotencyKeyReused),
        }
    }

    /// Commits the change, and the answer with it.
    pub(super) async fn commit(
        self,
        app: &App,
        mut tx: Tx,
        view: &(impl Serialize + Sync),
    ) -> Result<Answer, Error> {
        let answer = serde_json::to_string(view).map_err(Error::internal)?;
        if let Some(key) = &self.key {
            tx.query(
                "INSERT INTO idempotency_keys (key, request, answer, at) VALUES ($1, $2, $3, $4)",
            )
            .bind(key.as_str())
            .bind(self.request.as_str())
            .bind(answer.as_str())
            .bind(app.clock.now_ms())
            .execute()
            .await?;
        }
        app.commit_policy(tx).await?;
        Ok(Answer(answer))
    }
}

/// The draft wants the key as a quoted string; many clients send it bare.
fn key(headers: &HeaderMap) -> Result<Option<String>, Invalid> {
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let text = value.to_str().ok().filter(|_| values.next().is_none());
    let quoted = text.and_then(|text| text.strip_prefix('"')?.strip_suffix('"'));
    let key = quoted.or(text).filter(|key| {
        let is_visible = key.bytes().all(|byte| byte.is_ascii_graphic());
        !key.is_empty() && key.len() <= MAX_KEY && is_visible
    });
    let key = key.ok_or_else(|| {
        Invalid::field(
            "Idempotency-Key",
            "must be one value of 1 to 255 visible ASCII characters, such as a UUID",
        )
    })?;
    Ok(Some(key.to_owned()))
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let json = HeaderValue::from_static("application/json");
        ([(header::CONTENT_TYPE, json)], self.0).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Result<Option<String>, Invalid> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HEADER, HeaderValue::from_str(value).unwrap());
        }
        key(&headers)
    }

    #[test]
    fn a_key_is_one_visible_text_with_or_without_quotes() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&["\"a-1\""]), Ok(Some("a-1".into())));
        assert_eq!(read(&["a-1"]), Ok(Some("a-1".into())));
        let long = "k".repeat(256);
        for bad in [&[""][..], &["\"\""], &["a b"], &["a", "b"], &[&long]] {
            let fault = read(bad).unwrap_err();
            assert_eq!(fault.field.as_deref(), Some("Idempotency-Key"), "{bad:?}");
        }
    }
}
