//! Every hostcall that this crate makes, by what it is for. Bytes in, bytes out.
//!
//! A call that fails answers like one that found nothing, and is logged: callers then refuse, because
//! nothing they look up is optional.

use std::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, LogLevel, MapType, MetricType};

use crate::abi::{self, Failure};

pub(crate) use crate::abi::Fields;

/// Nanoseconds since the Unix epoch.
pub(crate) fn now_nanos() -> u64 {
    checked("get_current_time", abi::current_time_nanoseconds())
}

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> i64 {
    i64::try_from(now_nanos() / 1_000_000).unwrap_or(i64::MAX)
}

/// Milliseconds of a clock that only goes forward, the same one in all VMs of a process. Without one it is
/// too late for everything.
pub(crate) fn monotonic_ms() -> i64 {
    let nanos = found("clock_time_get", abi::monotonic_nanoseconds());
    let ms = nanos.and_then(|nanos| i64::try_from(nanos / 1_000_000).ok());
    ms.unwrap_or(i64::MAX)
}

/// A line in Envoy's log. The text is ours or went through the sanitiser.
pub(crate) fn log(level: LogLevel, message: &str) {
    // There is nowhere else to complain to.
    let _ = abi::log(level, message);
}

pub(crate) fn error(message: &str) {
    log(LogLevel::Error, message);
}

fn checked<T: Default>(what: &str, result: Result<T, Failure>) -> T {
    result.unwrap_or_else(|failure| {
        error(&format!("hostcall failed: {what}: {failure:?}"));
        T::default()
    })
}

/// `None`: there is no such thing, which is an answer.
fn found<T: Default>(what: &str, result: Result<T, Failure>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(Failure::NotFound | Failure::Empty) => None,
        Err(failure) => {
            error(&format!("hostcall failed: {what}: {failure:?}"));
            None
        }
    }
}

pub(crate) fn set_tick_period(period: Duration) {
    let milliseconds = u32::try_from(period.as_millis()).unwrap_or(u32::MAX);
    checked("set_tick_period", abi::set_tick_period(milliseconds));
}

// ---------------------------------------------------------------- shared data

/// A value of shared data and its version, for compare-and-swap.
pub(crate) fn shared_get(key: &str) -> (Option<Vec<u8>>, Option<u32>) {
    found("get_shared_data", abi::shared_data(key)).unzip()
}

/// Writes whatever stands there.
pub(crate) fn shared_set(key: &str, value: &[u8]) {
    checked("set_shared_data", abi::set_shared_data(key, value, 0));
}

/// Writes if nobody has written since `version` was read. (The host cannot write "if absent".)
pub(crate) fn shared_swap(key: &str, value: &[u8], version: Option<u32>) -> bool {
    abi::set_shared_data(key, value, version.unwrap_or(0)).is_ok()
}

// ---------------------------------------------------------------- properties

pub(crate) fn property(path: &[&str]) -> Option<Vec<u8>> {
    found("get_property", abi::property(path))
}

/// Writes filter state, `wasm.<name>`: upstream filters of this request and the access log read it.
pub(crate) fn set_property(name: &str, value: &[u8]) {
    checked("set_property", abi::set_property(name, value));
}

pub(crate) fn plugin_configuration(size: usize) -> Vec<u8> {
    buffer(BufferType::PluginConfiguration, size)
}

// ---------------------------------------------------------------- headers and bodies

pub(crate) fn request_headers() -> Fields {
    checked(
        "get_request_headers",
        abi::header_fields(MapType::HttpRequestHeaders),
    )
}

pub(crate) fn set_request_header(name: &str, value: &[u8]) {
    let result = abi::set_header(MapType::HttpRequestHeaders, name, value);
    checked("set_request_header", result);
}

pub(crate) fn remove_request_header(name: &str) {
    let result = abi::remove_header(MapType::HttpRequestHeaders, name);
    checked("remove_request_header", result);
}

/// Has Envoy look for the request's route anew.
pub(crate) fn forget_route() {
    checked("clear_route_cache", abi::call_foreign("clear_route_cache"));
}

pub(crate) fn response_header(name: &str) -> Option<Vec<u8>> {
    let result = abi::header_value(MapType::HttpResponseHeaders, name);
    found("get_response_header", result)
}

/// 0: there is none.
pub(crate) fn response_status() -> u16 {
    response_header(":status")
        .and_then(|value| str::from_utf8(&value).ok()?.parse().ok())
        .unwrap_or(0)
}

pub(crate) fn set_response_header(name: &str, value: &[u8]) {
    let result = abi::set_header(MapType::HttpResponseHeaders, name, value);
    checked("set_response_header", result);
}

pub(crate) fn remove_response_header(name: &str) {
    let result = abi::remove_header(MapType::HttpResponseHeaders, name);
    checked("remove_response_header", result);
}

/// The first `size` bytes of a buffer.
pub(crate) fn buffer(kind: BufferType, size: usize) -> Vec<u8> {
    buffer_from(kind, 0, size)
}

/// The bytes of a buffer from `start` to `end`; nothing when there are none.
pub(crate) fn buffer_from(kind: BufferType, start: usize, end: usize) -> Vec<u8> {
    let most = end.saturating_sub(start);
    if most == 0 {
        return Vec::new();
    }
    found("get_buffer", abi::buffer(kind, start, most)).unwrap_or_default()
}

/// Replaces the first `size` bytes of a buffer.
pub(crate) fn replace_buffer(kind: BufferType, size: usize, bytes: &[u8]) {
    checked("set_buffer", abi::replace_buffer(kind, size, bytes));
}

/// Answers the caller ourselves. Header values must have gone through the sanitiser. `details` is
/// what Envoy's access log calls the reason (`%RESPONSE_CODE_DETAILS%`).
pub(crate) fn reply(status: u16, details: &str, headers: &[(&'static str, String)], body: &[u8]) {
    let result = abi::send_local_response(status, details, headers, body);
    checked("send_local_response", result);
}

/// Ends the exchange of another context than `own`, the one that calls.
pub(crate) fn end_exchange(context: u32, own: u32) {
    // One that is gone has ended.
    if abi::set_effective_context(context).is_ok() {
        checked("close_stream", abi::close_stream());
        checked("set_effective_context", abi::set_effective_context(own));
    }
}

// ---------------------------------------------------------------- metrics

/// Defines a metric; `None`: the host does not want it.
pub(crate) fn define_metric(kind: MetricType, name: &str) -> Option<u32> {
    found("define_metric", abi::define_metric(kind, name))
}

pub(crate) fn add_to_metric(id: u32, amount: i64) {
    checked("increment_metric", abi::increment_metric(id, amount));
}

pub(crate) fn record_metric(id: u32, value: u64) {
    checked("record_metric", abi::record_metric(id, value));
}

// ---------------------------------------------------------------- gRPC

/// Opens a stream; `None`: the cluster is unknown.
pub(crate) fn open_stream(cluster: &str, service: &str, method: &str) -> Option<u32> {
    // The SDK's dispatcher has to know the token, so this is the SDK's call.
    hostcalls::open_grpc_stream(cluster, service, method, Vec::new()).ok()
}

/// Calls a method that has one answer; it comes to the context that calls. `None`: the cluster is unknown.
pub(crate) fn call(
    cluster: &str,
    service: &str,
    method: &str,
    message: &[u8],
    timeout: Duration,
) -> Option<u32> {
    // As for streams.
    hostcalls::dispatch_grpc_call(cluster, service, method, Vec::new(), Some(message), timeout).ok()
}

/// The request that was held back goes on.
pub(crate) fn resume_request() {
    checked("continue_stream", abi::continue_request());
}

/// `false`: the stream is gone. `true` means queued, not delivered.
pub(crate) fn send_on_stream(token: u32, message: &[u8]) -> bool {
    abi::send_grpc(token, message).is_ok()
}

pub(crate) fn cancel_stream(token: u32) {
    // It may be gone already, which is what was wanted.
    let _ = abi::cancel_grpc(token);
}
