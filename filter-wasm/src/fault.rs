//! Traps on demand, for the tests of the bad day. Not in a release build.

use reeve_exchange::headers::Headers;

use crate::host;

const HEADER: &str = "x-fault-injection";
const ASKED: &str = "fault/trap-sync";

/// `x-fault-injection: trap` traps this VM when the request's headers are there, `trap-attempt`,
/// `trap-answer` and `trap-end` later on its way; `trap-sync` traps the VM that holds the stream.
pub(crate) fn inject(headers: Headers<'_>) {
    match headers.first(HEADER) {
        Some(b"trap") => trap(),
        Some(b"trap-sync") => host::shared_set(ASKED, b"1"),
        _ => {}
    }
}

/// Traps this VM if the request has asked for it in this place.
pub(crate) fn at(place: &[u8]) {
    let fields = host::request_headers();
    if Headers::new(&fields).first(HEADER) == Some(place) {
        trap();
    }
}

pub(crate) fn trap_sync_if_asked() {
    if host::shared_get(ASKED).0.is_some_and(|asked| asked == b"1") {
        host::shared_set(ASKED, b"0");
        trap();
    }
}

#[expect(clippy::panic, reason = "trapping is its purpose")]
fn trap() {
    panic!("trapped on request");
}
