//! How requests to a provider authenticate.

use envoy_types::pb::envoy::extensions::common::matching::v3::ExtensionWithMatcher;
use envoy_types::pb::envoy::extensions::filters::common::matcher::action::v3::SkipFilter;
use envoy_types::pb::envoy::extensions::filters::http::aws_request_signing::v3::AwsRequestSigning;
use envoy_types::pb::envoy::extensions::filters::http::credential_injector::v3::CredentialInjector;
use envoy_types::pb::envoy::extensions::http::injected_credentials::generic::v3::Generic;
use envoy_types::pb::envoy::r#type::matcher::v3::HttpRequestHeaderMatchInput;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::matcher_list::predicate::{
    MatchType, single_predicate,
};
use envoy_types::pb::xds::r#type::matcher::v3::matcher::{MatcherType, on_match};
use envoy_types::pb::xds::r#type::matcher::v3::string_matcher::MatchPattern as XdsPattern;

use super::clusters::{cluster, filters, secret_name};
use super::*;

fn with_an_openai_side(side: &'static str) -> Provider {
    let mut provider = named("anthropic");
    provider.credential = Some(Credential::Header {
        header: "x-api-key",
        prefix: "",
        openai_side: Some(side),
        key: Key::new("sk-planted-secret"),
    });
    provider
}

/// An injector, the start of paths that it looks for, and whether it is those that it skips.
fn matched(config: &Any) -> (Generic, String, bool) {
    let with_matcher: ExtensionWithMatcher = decoded(config);
    let injector = with_matcher.extension_config.unwrap().typed_config.unwrap();
    let injector: CredentialInjector = decoded(&injector);
    assert!(injector.overwrite && !injector.allow_request_without_credential);
    let generic = decoded(&injector.credential.unwrap().typed_config.unwrap());
    let matcher = with_matcher.xds_matcher.unwrap();
    assert_eq!(matcher.on_no_match, None);
    let Some(MatcherType::MatcherList(list)) = matcher.matcher_type else {
        panic!("no list");
    };
    let [field] = list.matchers.try_into().unwrap();
    let Some(on_match::OnMatch::Action(action)) = field.on_match.unwrap().on_match else {
        panic!("no action");
    };
    decoded::<SkipFilter>(&action.typed_config.unwrap());
    let (predicate, skips) = match field.predicate.unwrap().match_type.unwrap() {
        MatchType::NotMatcher(inner) => (inner.match_type.unwrap(), false),
        single => (single, true),
    };
    let MatchType::SinglePredicate(single) = predicate else {
        panic!("{predicate:?}");
    };
    let input = single.input.unwrap().typed_config.unwrap();
    let input: HttpRequestHeaderMatchInput = decoded(&input);
    assert_eq!(input.header_name, ":path");
    let Some(single_predicate::Matcher::ValueMatch(value)) = single.matcher else {
        panic!("no value");
    };
    assert!(!value.ignore_case);
    let Some(XdsPattern::Prefix(prefix)) = value.match_pattern else {
        panic!("no prefix");
    };
    (generic, prefix, skips)
}

#[test]
fn on_its_openai_side_a_provider_gets_the_same_key_as_openai_does_and_in_one_header_only() {
    let provider = with_an_openai_side("/chat/completions");
    let cluster = cluster(provider.clone());
    let filters = filters(&cluster);
    let names: Vec<&str> = filters.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "envoy.filters.http.upstream_rbac",
            "reeve.attempt",
            "envoy.filters.http.credential_injector",
            "reeve.credential_injector.openai_side",
            "envoy.filters.http.upstream_codec",
        ]
    );
    let (own, own_prefix, own_skips) = matched(&filters[2].1);
    let (openais, openais_prefix, openais_skips) = matched(&filters[3].1);
    // The one is skipped exactly where the other is not.
    assert_eq!(own_prefix, "/v1/chat/completions");
    assert_eq!(own_prefix, openais_prefix);
    assert!(own_skips && !openais_skips);
    assert_eq!((&*own.header, &*own.header_value_prefix), ("x-api-key", ""));
    assert_eq!(
        (&*openais.header, &*openais.header_value_prefix),
        ("authorization", "Bearer ")
    );
    // One secret: there is nothing to keep in step when the key is rotated.
    let secret = secret_name(provider);
    assert_eq!(own.credential.unwrap().name, secret);
    assert_eq!(openais.credential.unwrap().name, secret);
}

#[test]
fn another_openai_side_is_another_cluster() {
    let before = first(&[with_an_openai_side("/chat/completions")]);
    let after = Snapshot::after(Some(&before), input(&[with_an_openai_side("/openai/")])).unwrap();
    let version = |of| after.set(of).unwrap().version;
    assert_eq!(version(ResourceType::Clusters), 2);
    assert_eq!(version(ResourceType::Secrets), 1);
}

#[test]
fn requests_are_signed_behind_the_filter_that_writes_them_and_by_the_configured_key_alone() {
    let provider = bedrock();
    assert!(
        names(
            &first(std::slice::from_ref(&provider)),
            ResourceType::Secrets
        )
        .is_empty()
    );
    assert!(!format!("{provider:?}").contains("planted"));
    let filters = filters(&cluster(provider));
    let names: Vec<&str> = filters.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "envoy.filters.http.upstream_rbac",
            "reeve.attempt",
            "envoy.filters.http.aws_request_signing",
            "envoy.filters.http.upstream_codec",
        ]
    );
    let signing: AwsRequestSigning = decoded(&filters[2].1);
    assert_eq!(signing.service_name, "bedrock");
    assert_eq!(signing.region, "eu-central-1");
    assert!(!signing.use_unsigned_payload);
    let inline = signing
        .credential_provider
        .unwrap()
        .inline_credential
        .unwrap();
    assert_eq!(inline.access_key_id, "AKIAIOSFODNN7EXAMPLE");
    assert_eq!(inline.secret_access_key, "planted-secret-key");
    assert_eq!(inline.session_token, "planted-session-token");
}
