//! Every hostcall, once. Bytes in, bytes out: the SDK's text variants panic on bytes that are not
//! UTF-8, and so would hand any client a switch to turn governance off (reference: proxy-wasm 0.2).
//!
//! A call that fails answers like one that found nothing, and is logged: callers then refuse, because
//! nothing they look up is optional.

use std::time::{Duration, UNIX_EPOCH};

use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, LogLevel, MapType, Status};

/// Header fields, in order.
pub(crate) type Fields = Vec<(String, Vec<u8>)>;

/// Nanoseconds since the Unix epoch.
pub(crate) fn now_nanos() -> u64 {
    let since = hostcalls::get_current_time()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> i64 {
    i64::try_from(now_nanos() / 1_000_000).unwrap_or(i64::MAX)
}

/// A line in Envoy's log. The text is ours or went through the sanitiser.
pub(crate) fn log(level: LogLevel, message: &str) {
    // There is nowhere else to complain to.
    let _ = hostcalls::log(level, message);
}

pub(crate) fn error(message: &str) {
    log(LogLevel::Error, message);
}

fn checked<T: Default>(what: &str, result: Result<T, Status>) -> T {
    result.unwrap_or_else(|status| {
        error(&format!("hostcall failed: {what}: {status:?}"));
        T::default()
    })
}

pub(crate) fn set_tick_period(period: Duration) {
    checked("set_tick_period", hostcalls::set_tick_period(period));
}

// ---------------------------------------------------------------- shared data

/// A value of shared data and its version, for compare-and-swap.
pub(crate) fn shared_get(key: &str) -> (Option<Vec<u8>>, Option<u32>) {
    checked("get_shared_data", hostcalls::get_shared_data(key))
}

/// Writes whatever stands there.
pub(crate) fn shared_set(key: &str, value: &[u8]) {
    checked(
        "set_shared_data",
        hostcalls::set_shared_data(key, Some(value), None),
    );
}

/// Writes if nobody has written since `version` was read. (The host cannot write "if absent".)
pub(crate) fn shared_swap(key: &str, value: &[u8], version: Option<u32>) -> bool {
    hostcalls::set_shared_data(key, Some(value), version).is_ok()
}

// ---------------------------------------------------------------- properties

pub(crate) fn property(path: &[&str]) -> Option<Vec<u8>> {
    checked("get_property", hostcalls::get_property(path.to_vec()))
}

/// Writes filter state that the upstream filters of this request can read.
pub(crate) fn set_property(name: &str, value: &[u8]) {
    checked(
        "set_property",
        hostcalls::set_property(vec![name], Some(value)),
    );
}

pub(crate) fn plugin_configuration(size: usize) -> Vec<u8> {
    buffer(BufferType::PluginConfiguration, size)
}

// ---------------------------------------------------------------- headers and bodies

pub(crate) fn request_headers() -> Fields {
    checked(
        "get_request_headers",
        hostcalls::get_map_bytes(MapType::HttpRequestHeaders),
    )
}

pub(crate) fn set_request_header(name: &str, value: &[u8]) {
    let result = hostcalls::set_map_value_bytes(MapType::HttpRequestHeaders, name, Some(value));
    checked("set_request_header", result);
}

pub(crate) fn remove_request_header(name: &str) {
    checked(
        "remove_request_header",
        hostcalls::remove_map_value(MapType::HttpRequestHeaders, name),
    );
}

pub(crate) fn response_header(name: &str) -> Option<Vec<u8>> {
    checked(
        "get_response_header",
        hostcalls::get_map_value_bytes(MapType::HttpResponseHeaders, name),
    )
}

pub(crate) fn set_response_header(name: &str, value: &[u8]) {
    let result = hostcalls::set_map_value_bytes(MapType::HttpResponseHeaders, name, Some(value));
    checked("set_response_header", result);
}

pub(crate) fn remove_response_header(name: &str) {
    checked(
        "remove_response_header",
        hostcalls::remove_map_value(MapType::HttpResponseHeaders, name),
    );
}

/// The first `size` bytes of a buffer; nothing when it is empty.
pub(crate) fn buffer(kind: BufferType, size: usize) -> Vec<u8> {
    if size == 0 {
        return Vec::new();
    }
    checked("get_buffer", hostcalls::get_buffer(kind, 0, size)).unwrap_or_default()
}

/// Replaces the first `size` bytes of a buffer.
pub(crate) fn replace_buffer(kind: BufferType, size: usize, bytes: &[u8]) {
    checked("set_buffer", hostcalls::set_buffer(kind, 0, size, bytes));
}

/// Answers the caller ourselves. Header values must have gone through the sanitiser.
pub(crate) fn reply(status: u16, headers: &[(&'static str, String)], body: &[u8]) {
    let headers = headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    checked(
        "send_local_response",
        hostcalls::send_http_response(u32::from(status), headers, Some(body)),
    );
}

// ---------------------------------------------------------------- gRPC

/// Opens a stream; `None`: the cluster is unknown.
pub(crate) fn open_stream(cluster: &str, service: &str, method: &str) -> Option<u32> {
    hostcalls::open_grpc_stream(cluster, service, method, Vec::new()).ok()
}

/// `false`: the stream is gone. `true` means queued, not delivered.
pub(crate) fn send_on_stream(token: u32, message: &[u8]) -> bool {
    hostcalls::send_grpc_stream_message(token, Some(message), false).is_ok()
}

pub(crate) fn cancel_stream(token: u32) {
    // It may be gone already, which is what was wanted.
    let _ = hostcalls::cancel_grpc_stream(token);
}
