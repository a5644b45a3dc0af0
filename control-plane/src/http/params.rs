//! The query string, strictly: a parameter that is unknown, repeated or malformed is an error.

use std::str::FromStr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::error::Error;
use crate::invalid::Invalid;

/// The parameters of a request that nobody has taken yet.
#[derive(Debug, Default)]
pub struct Params(Vec<(String, String)>);

/// What can be read from the query string.
pub trait FromParams: Sized {
    /// Takes the parameters it knows.
    fn from_params(params: &mut Params) -> Result<Self, Invalid>;
}

/// Extractor: reads `T` from the query string and refuses parameters that are left over.
pub struct Query<T>(pub T);

impl Params {
    fn parse(query: &str) -> Self {
        Self(
            url::form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
        )
    }

    /// Takes a parameter as text.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, Invalid> {
        let Some(position) = self.0.iter().position(|(given, _)| given == name) else {
            return Ok(None);
        };
        let (_, value) = self.0.swap_remove(position);
        if self.0.iter().any(|(given, _)| given == name) {
            return Err(Invalid::field(
                name,
                "is given more than once; give it once",
            ));
        }
        Ok(Some(value))
    }

    /// Takes a parameter and parses it; `expected` says what it must be.
    pub fn parsed<T: FromStr>(&mut self, name: &str, expected: &str) -> Result<Option<T>, Invalid> {
        self.text(name)?
            .map(|text| text.parse().map_err(|_| Invalid::field(name, expected)))
            .transpose()
    }

    fn finish(self) -> Result<(), Invalid> {
        match self.0.into_iter().next() {
            Some((name, _)) => Err(Invalid::field(
                name,
                "unknown query parameter; leave it out",
            )),
            None => Ok(()),
        }
    }
}

impl<S: Sync, T: FromParams> FromRequestParts<S> for Query<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let mut params = Params::parse(parts.uri.query().unwrap_or_default());
        let value = T::from_params(&mut params)?;
        params.finish()?;
        Ok(Self(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_given_twice_is_refused() {
        let fault = Params::parse("a=1&b=2&a=3").text("a").unwrap_err();
        assert_eq!(fault.field.as_deref(), Some("a"));
    }

    #[test]
    fn a_parameter_nobody_knows_is_refused() {
        let mut params = Params::parse("limit=1&page=2");
        assert_eq!(params.parsed::<u32>("limit", ""), Ok(Some(1)));
        assert_eq!(params.finish().unwrap_err().field.as_deref(), Some("page"));
    }
}
