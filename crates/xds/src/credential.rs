//! Puts a provider's key on the requests to it, or a signature by it, after the attempt filter has removed every
//! credential of the caller. A key that travels comes by SDS: it is in no configuration dump and never in wasm
//! memory.

use envoy_types::pb::envoy::extensions::common::matching::v3::ExtensionWithMatcher;
use envoy_types::pb::envoy::extensions::filters::common::matcher::action::v3::SkipFilter;
use envoy_types::pb::envoy::extensions::filters::http::credential_injector::v3::CredentialInjector;
use envoy_types::pb::envoy::extensions::http::injected_credentials::generic::v3::Generic;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::SdsSecretConfig;
use envoy_types::pb::envoy::r#type::matcher::v3::HttpRequestHeaderMatchInput;
use envoy_types::pb::google::protobuf::Any;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::matcher_list::predicate::{
    MatchType, SinglePredicate, single_predicate,
};
use envoy_types::pb::xds::r#type::matcher::v3::matcher::matcher_list::{FieldMatcher, Predicate};
use envoy_types::pb::xds::r#type::matcher::v3::matcher::{
    MatcherList, MatcherType, OnMatch, on_match,
};
use envoy_types::pb::xds::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::xds::r#type::matcher::v3::{Matcher, StringMatcher};

use crate::message::{any, extension, from_ads, xds_extension};
use crate::{Credential, Provider, secret, signature};

/// The filter that does it.
pub(crate) const INJECTOR: &str = "envoy.filters.http.credential_injector";
/// The one that signs instead.
const SIGNING: &str = "envoy.filters.http.aws_request_signing";
/// The one for the provider's OpenAI side, where that wants the key in another header.
pub(crate) const OPENAI_SIDE: &str = "reeve.credential_injector.openai_side";

/// The filters, by name; none for a provider without a key.
pub(crate) fn filters(provider: &Provider) -> Vec<(&'static str, Any)> {
    let (header, prefix, openai_side) = match &provider.credential {
        Some(Credential::Header {
            header,
            prefix,
            openai_side,
            ..
        }) => (header, prefix, openai_side),
        Some(Credential::Aws(key)) => return vec![(SIGNING, any(signature::signing(key)))],
        None => return Vec::new(),
    };
    let own = injector(provider, header, prefix);
    let Some(side) = openai_side else {
        return vec![(INJECTOR, any(own))];
    };
    let (header, prefix) = Credential::ON_OPENAI_SIDE;
    let begins_so = begins_with(format!("{}{side}", provider.base_path));
    let elsewhere = Predicate {
        match_type: Some(MatchType::NotMatcher(Box::new(begins_so.clone()))),
    };
    // Of the two exactly one is skipped, whatever the path.
    vec![
        (INJECTOR, any(skipped_when(begins_so, own))),
        (
            OPENAI_SIDE,
            any(skipped_when(elsewhere, injector(provider, header, prefix))),
        ),
    ]
}

fn injector(provider: &Provider, header: &str, prefix: &str) -> CredentialInjector {
    let generic = Generic {
        header: header.to_owned(),
        header_value_prefix: prefix.to_owned(),
        credential: Some(SdsSecretConfig {
            name: secret::name(&provider.stem(), &provider.origin),
            sds_config: Some(from_ads()),
        }),
    };
    CredentialInjector {
        overwrite: true,
        credential: Some(extension(
            "envoy.http.injected_credentials.generic",
            generic,
        )),
        ..CredentialInjector::default()
    }
}

/// Looked at when the request comes to this filter: the attempt filter before it has set the path.
fn begins_with(prefix: String) -> Predicate {
    let path = any(HttpRequestHeaderMatchInput {
        header_name: ":path".to_owned(),
    });
    let prefix = StringMatcher {
        match_pattern: Some(MatchPattern::Prefix(prefix)),
        ..StringMatcher::default()
    };
    Predicate {
        match_type: Some(MatchType::SinglePredicate(SinglePredicate {
            input: Some(xds_extension("path", path)),
            matcher: Some(single_predicate::Matcher::ValueMatch(prefix)),
        })),
    }
}

fn skipped_when(predicate: Predicate, injector: CredentialInjector) -> ExtensionWithMatcher {
    let skip = on_match::OnMatch::Action(xds_extension("skip", any(SkipFilter {})));
    let skip = FieldMatcher {
        predicate: Some(predicate),
        on_match: Some(OnMatch {
            on_match: Some(skip),
            ..OnMatch::default()
        }),
    };
    ExtensionWithMatcher {
        xds_matcher: Some(Matcher {
            matcher_type: Some(MatcherType::MatcherList(MatcherList {
                matchers: vec![skip],
            })),
            ..Matcher::default()
        }),
        extension_config: Some(extension(INJECTOR, injector)),
        ..ExtensionWithMatcher::default()
    }
}
