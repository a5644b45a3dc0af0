//! The permission in the signature: a handler that takes an [`Admin`] is for administrators.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::{HeaderMap, header, request::Parts};

use super::{admin_token, local};
use crate::app::App;
use crate::error::Error;

/// Proof that the caller is an administrator. The first argument of a handler, so that nothing of a
/// request is looked at before its sender is known.
#[derive(Debug, Clone, Copy)]
pub struct Admin(());

const HOW: &str = "send the admin token as `authorization: Bearer sk-rv-admin-…`; it was printed \
                   when the control plane first started";

impl FromRequestParts<Arc<App>> for Admin {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Error> {
        if app.config.dev {
            local::check(parts)?;
            return Ok(Self(()));
        }
        let token = bearer(&parts.headers).ok_or(Error::Unauthenticated(HOW))?;
        if admin_token::is_valid(app, token).await? {
            Ok(Self(()))
        } else {
            Err(Error::Unauthenticated("this admin token is not valid"))
        }
    }
}

/// The one bearer token (RFC 6750 section 2.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
