//! The lines of the path table for people: the coverage table, and messages that say what to call.

use crate::endpoint::BodyKind;
use crate::path_table::{MOUNTS, Pattern, Row, Unserved};
use crate::{Endpoint, WireFormat};

/// A line of the table, as `GET /api/governance/coverage` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `GET`, `POST`, or `*` for any.
    pub method: &'static str,
    /// The path; `{model}` stands for a model's name, `…` for anything below.
    pub path: String,
    /// What its callers speak, and how its errors look.
    pub dialect: WireFormat,
    /// The provider that the path names.
    pub provider: Option<&'static str>,
    /// Where the model's name stands.
    pub model: ModelPlace,
    /// The API, or why it is not served.
    pub api: Result<Endpoint, Unserved>,
}

/// Where callers find an API, for a message: method and path of the first line that has it.
pub fn place_of(endpoint: Endpoint) -> Option<String> {
    let entry = entries().find(|entry| entry.api == Ok(endpoint))?;
    Some(format!("{} {}", entry.method, entry.path))
}

/// Where a request names its model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelPlace {
    /// In the JSON body.
    Body,
    /// In a part of a multipart body.
    Multipart,
    /// In the path; a body that names another is refused.
    Path,
    /// Nowhere.
    Nowhere,
}

/// Every path that the table knows, in order.
pub fn entries() -> impl Iterator<Item = Entry> {
    MOUNTS.iter().flat_map(|mount| {
        mount.families.iter().flat_map(move |(base, family)| {
            family.rows.iter().map(move |row| Entry {
                method: row.method.unwrap_or("*"),
                path: format!("{}{base}{}", mount.prefix, row.pattern.template()),
                dialect: family.dialect,
                provider: family.provider.or(mount.provider),
                model: row.model_place(),
                api: row.api,
            })
        })
    })
}

impl Pattern {
    /// For people: `/models/{model}:generateContent`.
    fn template(&self) -> String {
        match self {
            Self::Exact(path) => (*path).to_owned(),
            Self::Model(before, after) => format!("{before}{{model}}{after}"),
            Self::ModelToTheEnd(before) => format!("{before}{{model}}"),
            Self::Below(start) => format!("{}/…", start.trim_end_matches('/')),
        }
    }
}

impl Row {
    fn model_place(&self) -> ModelPlace {
        match (self.pattern, self.api.map(Endpoint::body)) {
            (Pattern::Model(..) | Pattern::ModelToTheEnd(_), _) => ModelPlace::Path,
            (_, Ok(BodyKind::Json)) => ModelPlace::Body,
            (_, Ok(BodyKind::Multipart)) => ModelPlace::Multipart,
            (_, Ok(BodyKind::Nothing) | Err(_)) => ModelPlace::Nowhere,
        }
    }
}
