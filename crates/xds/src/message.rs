//! The words that Envoy's messages are made of.
#![expect(
    clippy::unnecessary_wraps,
    reason = "fields of messages are optional, and the words are for fields"
)]

use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use envoy_types::pb::envoy::config::core::v3::{
    AggregatedConfigSource, ApiVersion, ConfigSource, TypedExtensionConfig,
};
use envoy_types::pb::google::protobuf::{Any, BoolValue, Duration, UInt32Value};
use envoy_types::pb::xds::core::v3::TypedExtensionConfig as XdsExtension;
pub(crate) use envoy_types::util::pack_any as any;
use prost::{Message, Name};

pub(crate) fn number(value: u32) -> Option<UInt32Value> {
    Some(UInt32Value { value })
}

pub(crate) fn yes() -> Option<BoolValue> {
    Some(BoolValue { value: true })
}

pub(crate) fn milliseconds(ms: u32) -> Option<Duration> {
    let duration = std::time::Duration::from_millis(ms.into());
    Some(Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    })
}

pub(crate) fn seconds(s: u32) -> Option<Duration> {
    Some(Duration {
        seconds: s.into(),
        nanos: 0,
    })
}

pub(crate) fn extension<T: Name + Message>(name: &str, config: T) -> TypedExtensionConfig {
    TypedExtensionConfig {
        name: name.to_owned(),
        typed_config: Some(any(config)),
    }
}

/// The same, as the matching API has it.
pub(crate) fn xds_extension(name: &str, config: Any) -> XdsExtension {
    XdsExtension {
        name: name.to_owned(),
        typed_config: Some(config),
    }
}

/// A resource that comes by the stream that Envoy has open.
pub(crate) fn from_ads() -> ConfigSource {
    ConfigSource {
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        ..ConfigSource::default()
    }
}
