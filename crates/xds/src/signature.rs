use envoy_types::pb::envoy::extensions::common::aws::v3::{
    AwsCredentialProvider, InlineCredentialProvider,
};
use envoy_types::pb::envoy::extensions::filters::http::aws_request_signing::v3::AwsRequestSigning;
use envoy_types::pb::envoy::extensions::filters::http::aws_request_signing::v3::aws_request_signing::SigningAlgorithm;
use envoy_types::pb::envoy::r#type::matcher::v3::StringMatcher;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;

use crate::AwsKey;

/// Signs what the attempt filter has made of a request: host, path, body, and the headers below.
///
/// Envoy takes such a key by no secret, so it stands in the cluster, in fields that Envoy masks in its
/// configuration dump. A new key is a new cluster, which takes the place of the old one as a whole: there is
/// no moment at which the key of one place could sign for another.
pub(crate) fn signing(key: &AwsKey) -> AwsRequestSigning {
    let inline = InlineCredentialProvider {
        access_key_id: key.access_key.clone(),
        secret_access_key: key.secret_key.expose().to_owned(),
        session_token: key
            .session_token
            .as_ref()
            .map_or_else(String::new, |token| token.expose().to_owned()),
    };
    AwsRequestSigning {
        service_name: "bedrock".to_owned(),
        region: key.region.clone(),
        signing_algorithm: SigningAlgorithm::AwsSigv4.into(),
        // Besides the host. Whatever else is there may be changed on the way, by a proxy or by Envoy itself.
        match_included_headers: vec![
            matcher(MatchPattern::Exact("content-type".to_owned())),
            matcher(MatchPattern::Prefix("x-amz-".to_owned())),
        ],
        // With an inline one Envoy looks neither at its environment nor at its machine's metadata.
        credential_provider: Some(AwsCredentialProvider {
            inline_credential: Some(inline),
            ..AwsCredentialProvider::default()
        }),
        ..AwsRequestSigning::default()
    }
}

fn matcher(pattern: MatchPattern) -> StringMatcher {
    StringMatcher {
        match_pattern: Some(pattern),
        ..StringMatcher::default()
    }
}
