//! The host's functions, as the proxy-wasm ABI 0.2.1 has them: the only unsafe code.
//!
//! The SDK wraps them too, and its wrappers panic on every status that their author did not think
//! of, and on text that is not UTF-8. A panic here is an outage of a worker, and a reset stream can
//! bring about any status. So each function here says what came of it, and no status can do harm.
//!
//! One call is left to the SDK: opening a stream of gRPC, because its dispatcher has to know the token.
//!
//! One function is WASI's: proxy-wasm has no clock that only goes forward.
//!
//! Source: the proxy-wasm specification, ABI v0.2.1; the status codes are those of its host SDK.
#![expect(
    unsafe_code,
    reason = "the host's functions take and give addresses; each block says why it is sound"
)]
#![expect(
    clippy::as_conversions,
    reason = "the SDK's enumerations are the ABI's numbers, and have no other way to them"
)]

use std::ptr::null_mut;

use proxy_wasm::types::{BufferType, LogLevel, MapType, MetricType};

/// What came of a call, unless it was well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// There is no such thing.
    NotFound,
    /// Somebody has written in between.
    CasMismatch,
    /// There is nothing in it.
    Empty,
    /// Anything else, by its number.
    Other(u32),
}

type Result<T> = std::result::Result<T, Failure>;

/// Header fields, in order.
pub(crate) type Fields = Vec<(String, Vec<u8>)>;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, message: *const u8, size: usize) -> u32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    fn proxy_get_buffer_bytes(
        kind: u32,
        start: usize,
        most: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_set_buffer_bytes(
        kind: u32,
        start: usize,
        length: usize,
        data: *const u8,
        size: usize,
    ) -> u32;
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_get_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_remove_header_map_value(map: u32, name: *const u8, name_size: usize) -> u32;
    fn proxy_get_property(
        path: *const u8,
        path_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_set_property(
        path: *const u8,
        path_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_get_shared_data(
        key: *const u8,
        key_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
        cas: *mut u32,
    ) -> u32;
    fn proxy_set_shared_data(
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
        cas: u32,
    ) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
    fn proxy_continue_stream(kind: u32) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, offset: i64) -> u32;
    fn proxy_record_metric(id: u32, value: u64) -> u32;
    fn proxy_grpc_send(token: u32, message: *const u8, size: usize, end_of_stream: u32) -> u32;
    fn proxy_grpc_cancel(token: u32) -> u32;
    fn proxy_call_foreign_function(
        name: *const u8,
        name_size: usize,
        argument: *const u8,
        argument_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_set_effective_context(context: u32) -> u32;
    fn proxy_close_stream(kind: u32) -> u32;
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn clock_time_get(clock: u32, precision: u64, time: *mut u64) -> u32;
}

fn checked(status: u32) -> Result<()> {
    match status {
        0 => Ok(()),
        1 => Err(Failure::NotFound),
        7 => Err(Failure::Empty),
        8 => Err(Failure::CasMismatch),
        other => Err(Failure::Other(other)),
    }
}

/// Bytes that the host gives: it asks this module for memory, writes into it and hands it over.
fn given(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Vec<u8>> {
    let mut data = null_mut();
    let mut size = 0;
    checked(call(&raw mut data, &raw mut size))?;
    if data.is_null() {
        return Ok(Vec::new());
    }
    #[expect(
        clippy::same_length_and_capacity,
        reason = "the module allocated exactly as much as the host asked for"
    )]
    // SAFETY: the host got `data` from this module's allocator (the SDK's `proxy_on_memory_allocate`)
    // by asking for `size` bytes, has written all of them, and keeps no other pointer to them.
    let bytes = unsafe { Vec::from_raw_parts(data, size, size) };
    Ok(bytes)
}

/// A line in Envoy's log.
pub(crate) fn log(level: LogLevel, message: &str) -> Result<()> {
    // SAFETY: the host reads `len` bytes of a text that outlives the call.
    checked(unsafe { proxy_log(level as u32, message.as_ptr(), message.len()) })
}

/// Nanoseconds since the Unix epoch.
pub(crate) fn current_time_nanoseconds() -> Result<u64> {
    let mut time = 0;
    // SAFETY: the host writes one number to an address that outlives the call.
    checked(unsafe { proxy_get_current_time_nanoseconds(&raw mut time) })?;
    Ok(time)
}

/// Nanoseconds of a clock that only goes forward, the same one in all VMs of a process.
pub(crate) fn monotonic_nanoseconds() -> Result<u64> {
    const MONOTONIC: u32 = 1;
    let mut time = 0;
    // SAFETY: the host writes one number to an address that outlives the call.
    checked(unsafe { clock_time_get(MONOTONIC, 1, &raw mut time) })?;
    Ok(time)
}

pub(crate) fn set_tick_period(milliseconds: u32) -> Result<()> {
    // SAFETY: there is no address in it.
    checked(unsafe { proxy_set_tick_period_milliseconds(milliseconds) })
}

/// At most so many bytes of a buffer, from `start` on.
pub(crate) fn buffer(kind: BufferType, start: usize, most: usize) -> Result<Vec<u8>> {
    // SAFETY: see `given`.
    given(|data, size| unsafe { proxy_get_buffer_bytes(kind as u32, start, most, data, size) })
}

/// Replaces the first `length` bytes of a buffer.
pub(crate) fn replace_buffer(kind: BufferType, length: usize, bytes: &[u8]) -> Result<()> {
    // SAFETY: the host reads `len` bytes that outlive the call.
    checked(unsafe { proxy_set_buffer_bytes(kind as u32, 0, length, bytes.as_ptr(), bytes.len()) })
}

/// All fields of a header map.
pub(crate) fn header_fields(map: MapType) -> Result<Fields> {
    // SAFETY: see `given`.
    let bytes = given(|data, size| unsafe { proxy_get_header_map_pairs(map as u32, data, size) })?;
    Ok(read_fields(&bytes))
}

/// The first value of a field.
pub(crate) fn header_value(map: MapType, name: &str) -> Result<Vec<u8>> {
    // SAFETY: the host reads `len` bytes of a text that outlives the call; see `given`.
    given(|data, size| unsafe {
        proxy_get_header_map_value(map as u32, name.as_ptr(), name.len(), data, size)
    })
}

/// Sets a field, in the place of all that have its name.
pub(crate) fn set_header(map: MapType, name: &str, value: &[u8]) -> Result<()> {
    // SAFETY: the host reads two runs of bytes that outlive the call.
    checked(unsafe {
        proxy_replace_header_map_value(
            map as u32,
            name.as_ptr(),
            name.len(),
            value.as_ptr(),
            value.len(),
        )
    })
}

/// Removes all fields of a name.
pub(crate) fn remove_header(map: MapType, name: &str) -> Result<()> {
    // SAFETY: the host reads `len` bytes of a text that outlives the call.
    checked(unsafe { proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) })
}

/// A property, by its path.
pub(crate) fn property(path: &[&str]) -> Result<Vec<u8>> {
    let path = path.join("\0");
    // SAFETY: the host reads `len` bytes of a text that outlives the call; see `given`.
    given(|data, size| unsafe { proxy_get_property(path.as_ptr(), path.len(), data, size) })
}

/// Sets filter state.
pub(crate) fn set_property(name: &str, value: &[u8]) -> Result<()> {
    // SAFETY: the host reads two runs of bytes that outlive the call.
    checked(unsafe { proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) })
}

/// A value of shared data, and its version.
pub(crate) fn shared_data(key: &str) -> Result<(Vec<u8>, u32)> {
    let mut cas = 0;
    // SAFETY: the host reads `len` bytes of a text that outlives the call, and writes one number to
    // an address that does; see `given`.
    let bytes = given(|data, size| unsafe {
        proxy_get_shared_data(key.as_ptr(), key.len(), data, size, &raw mut cas)
    })?;
    Ok((bytes, cas))
}

/// Writes a value of shared data; with a version other than zero, if it is still that.
pub(crate) fn set_shared_data(key: &str, value: &[u8], cas: u32) -> Result<()> {
    // SAFETY: the host reads two runs of bytes that outlive the call.
    checked(unsafe {
        proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), cas)
    })
}

/// Answers the caller. `details` is for Envoy's access log.
pub(crate) fn send_local_response(
    status: u16,
    details: &str,
    headers: &[(&'static str, String)],
    body: &[u8],
) -> Result<()> {
    /// No status of gRPC.
    const NO_GRPC: i32 = -1;
    let headers = write_fields(headers);
    // SAFETY: the host reads three runs of bytes that outlive the call.
    checked(unsafe {
        proxy_send_local_response(
            u32::from(status),
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            NO_GRPC,
        )
    })
}

/// Lets the request go on that was held back.
pub(crate) fn continue_request() -> Result<()> {
    const REQUEST: u32 = 0;
    // SAFETY: there is no address in it.
    checked(unsafe { proxy_continue_stream(REQUEST) })
}

/// Defines a metric, and gives its id.
pub(crate) fn define_metric(kind: MetricType, name: &str) -> Result<u32> {
    let mut id = 0;
    // SAFETY: the host reads `len` bytes of a text that outlives the call, and writes one number to
    // an address that does.
    checked(unsafe { proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &raw mut id) })?;
    Ok(id)
}

pub(crate) fn increment_metric(id: u32, offset: i64) -> Result<()> {
    // SAFETY: there is no address in it.
    checked(unsafe { proxy_increment_metric(id, offset) })
}

pub(crate) fn record_metric(id: u32, value: u64) -> Result<()> {
    // SAFETY: there is no address in it.
    checked(unsafe { proxy_record_metric(id, value) })
}

pub(crate) fn send_grpc(token: u32, message: &[u8]) -> Result<()> {
    // SAFETY: the host reads `len` bytes that outlive the call.
    checked(unsafe { proxy_grpc_send(token, message.as_ptr(), message.len(), 0) })
}

pub(crate) fn cancel_grpc(token: u32) -> Result<()> {
    // SAFETY: there is no address in it.
    checked(unsafe { proxy_grpc_cancel(token) })
}

/// What is called from now on is about another context.
pub(crate) fn set_effective_context(context: u32) -> Result<()> {
    // SAFETY: there is no address in it.
    checked(unsafe { proxy_set_effective_context(context) })
}

/// Ends the exchange, on both sides.
pub(crate) fn close_stream() -> Result<()> {
    const REQUEST: u32 = 0;
    // SAFETY: there is no address in it.
    checked(unsafe { proxy_close_stream(REQUEST) })
}

/// Calls a function that Envoy has beside the ABI, without an argument.
pub(crate) fn call_foreign(name: &str) -> Result<Vec<u8>> {
    let argument: &[u8] = &[];
    // SAFETY: the host reads `len` bytes of a text that outlives the call, and nothing of the argument; see
    // `given`.
    given(|data, size| unsafe {
        proxy_call_foreign_function(name.as_ptr(), name.len(), argument.as_ptr(), 0, data, size)
    })
}

// ---------------------------------------------------------------- header maps as bytes

/// How many there are; their lengths; then names and values, each with a zero behind it.
fn read_fields(bytes: &[u8]) -> Fields {
    let mut rest = bytes;
    let mut number = || {
        let (number, after) = rest.split_first_chunk::<4>()?;
        rest = after;
        usize::try_from(u32::from_le_bytes(*number)).ok()
    };
    let count = number().unwrap_or(0);
    let mut lengths = Vec::with_capacity(count.min(bytes.len()));
    for _ in 0..count {
        let (Some(name), Some(value)) = (number(), number()) else {
            break;
        };
        lengths.push((name, value));
    }
    let mut text = |length: usize| {
        let (text, after) = rest.split_at_checked(length)?;
        rest = after.strip_prefix(b"\0")?;
        Some(text)
    };
    let mut fields = Fields::with_capacity(lengths.len());
    for (name, value) in lengths {
        let (Some(name), Some(value)) = (text(name), text(value)) else {
            break;
        };
        fields.push((String::from_utf8_lossy(name).into_owned(), value.to_vec()));
    }
    fields
}

fn write_fields(fields: &[(&'static str, String)]) -> Vec<u8> {
    let number = |number: usize| u32::try_from(number).unwrap_or(0).to_le_bytes();
    let mut bytes = number(fields.len()).to_vec();
    for (name, value) in fields {
        bytes.extend_from_slice(&number(name.len()));
        bytes.extend_from_slice(&number(value.len()));
    }
    for (name, value) in fields {
        for text in [name.as_bytes(), value.as_bytes()] {
            bytes.extend_from_slice(text);
            bytes.push(0);
        }
    }
    bytes
}
