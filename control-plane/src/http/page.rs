//! Pages of a list: `limit`, `offset`, `search`, as in Bifrost.

use utoipa::IntoParams;

use super::params::{FromParams, Params};
use crate::invalid::Invalid;

/// As many entries, when it is not said.
pub const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 1_000;

/// Which part of a list is asked for.
#[derive(Debug, Clone, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageRequest {
    /// How many entries at most.
    #[param(required = false, minimum = 1, maximum = 1000, default = 50)]
    pub limit: u32,
    /// How many entries to skip.
    #[param(required = false, default = 0)]
    pub offset: u32,
    /// Only entries whose name contains this text, whatever its case.
    pub search: Option<String>,
}

impl Default for PageRequest {
    fn default() -> Self {
        Self {
            limit: DEFAULT_LIMIT,
            offset: 0,
            search: None,
        }
    }
}

impl FromParams for PageRequest {
    fn from_params(params: &mut Params) -> Result<Self, Invalid> {
        let limit = limit(params)?.unwrap_or(DEFAULT_LIMIT);
        let offset = offset(params)?;
        let search = params.text("search")?.filter(|text| !text.is_empty());
        Ok(Self {
            limit,
            offset,
            search,
        })
    }
}

/// Takes `limit`; `None`: it is not given.
pub fn limit(params: &mut Params) -> Result<Option<u32>, Invalid> {
    let expected = "must be a number from 1 to 1000";
    let limit = params.parsed("limit", expected)?;
    if limit.is_some_and(|limit| !(1..=MAX_LIMIT).contains(&limit)) {
        return Err(Invalid::field("limit", expected));
    }
    Ok(limit)
}

/// Takes `offset`.
pub fn offset(params: &mut Params) -> Result<u32, Invalid> {
    let offset = params.parsed("offset", "must be a whole number, 0 or more")?;
    Ok(offset.unwrap_or(0))
}

impl PageRequest {
    /// The pattern for `LOWER(name) LIKE $n ESCAPE '\'`, or `None` for everything.
    pub fn search_pattern(&self) -> Option<String> {
        let text = self.search.as_ref()?.to_lowercase();
        let mut pattern = String::with_capacity(text.len().saturating_add(2));
        pattern.push('%');
        for c in text.chars() {
            if matches!(c, '%' | '_' | '\\') {
                pattern.push('\\');
            }
            pattern.push(c);
        }
        pattern.push('%');
        Some(pattern)
    }
}

/// A part of a list.
#[derive(Debug)]
pub struct Page<T> {
    /// The entries.
    pub items: Vec<T>,
    /// How many there are in all.
    pub total: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_in_a_search_are_taken_literally() {
        let page = PageRequest {
            search: Some("50%_Off\\".into()),
            ..PageRequest::default()
        };
        assert_eq!(page.search_pattern().as_deref(), Some("%50\\%\\_off\\\\%"));
    }
}
