//! What a request asks of this server by its `x-demo-*` headers.
//!
//! Strict on purpose: a misspelt header that does nothing would turn the test that sent it into
//! one that tests nothing.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, StatusCode};

use super::encoding::Encoding;
use super::refusal::Refusal;
use super::usage::Reported;

const OUTPUT_TOKENS: &str = "x-demo-output-tokens";
const REASONING_TOKENS: &str = "x-demo-reasoning-tokens";
const CACHED_TOKENS: &str = "x-demo-cached-tokens";
const CACHE_WRITE_TOKENS: &str = "x-demo-cache-write-tokens";
const CACHE_WRITE_1H_TOKENS: &str = "x-demo-cache-write-1h-tokens";
const SERVICE_TIER: &str = "x-demo-service-tier";
const USAGE: &str = "x-demo-usage";
const ENCODING: &str = "x-demo-encoding";
const DELAY_MS: &str = "x-demo-delay-ms";
const CHUNK_DELAY_MS: &str = "x-demo-chunk-delay-ms";
const FAULT: &str = "x-demo-fault";

/// Longest answer that may be asked for, in tokens (about 4 MB of text).
const MOST_TOKENS: u32 = 1_000_000;
/// Longest delay that may be asked for.
const LONGEST_DELAY_MS: u32 = 600_000;

/// How one answer is to be given.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Steering {
    /// Exact length of the answer; `None` leaves it to the text.
    pub(super) output_tokens: Option<u32>,
    /// Tokens of the answer that are thoughts, at most all of them.
    pub(super) reasoning_tokens: u32,
    /// Prompt tokens to report as read from a cache, at most all of them.
    pub(super) cached_tokens: u32,
    /// Prompt tokens to report as written to a cache for five minutes, at most all others.
    pub(super) cache_write_tokens: u32,
    /// Prompt tokens to report as written to a cache for an hour, at most all others.
    pub(super) cache_write_1h_tokens: u32,
    /// In which tier to say that the request was served.
    pub(super) service_tier: Option<String>,
    /// What to report as usage.
    pub(super) usage: Reported,
    /// How to compress the answer.
    pub(super) encoding: Option<Encoding>,
    /// Wait before the answer.
    pub(super) delay: Duration,
    /// Wait before each chunk of text of a stream.
    pub(super) chunk_delay: Duration,
    /// What to do wrong, when this instance was named.
    pub(super) fault: Option<Fault>,
}

/// A way to misbehave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Answer this status in the vendor's own error shape.
    Status(StatusCode),
    /// Never answer, keep the connection open.
    Hang,
    /// Close the connection without an answer.
    Close,
    /// Break the answer off after so many chunks of text.
    Cut(u64),
}

impl Steering {
    /// Reads the steering headers, as the instance called `name`.
    ///
    /// # Errors
    /// A 400 naming the header: unknown, given twice (except the fault), or not in its form.
    pub(super) fn read(headers: &HeaderMap, name: &str) -> Result<Self, Refusal> {
        let mut steering = Self::default();
        for header in headers
            .keys()
            .filter(|header| header.as_str().starts_with("x-demo-"))
        {
            match header.as_str() {
                OUTPUT_TOKENS => {
                    steering.output_tokens = Some(number(headers, header, MOST_TOKENS)?);
                }
                REASONING_TOKENS => {
                    steering.reasoning_tokens = number(headers, header, MOST_TOKENS)?;
                }
                CACHED_TOKENS => steering.cached_tokens = number(headers, header, MOST_TOKENS)?,
                CACHE_WRITE_TOKENS => {
                    steering.cache_write_tokens = number(headers, header, MOST_TOKENS)?;
                }
                CACHE_WRITE_1H_TOKENS => {
                    steering.cache_write_1h_tokens = number(headers, header, MOST_TOKENS)?;
                }
                SERVICE_TIER => {
                    steering.service_tier = Some(text(headers, header)?.to_owned());
                }
                USAGE => steering.usage = usage(headers, header)?,
                ENCODING => steering.encoding = Some(encoding(headers, header)?),
                DELAY_MS => steering.delay = delay(headers, header)?,
                CHUNK_DELAY_MS => steering.chunk_delay = delay(headers, header)?,
                FAULT => steering.fault = fault_for(name, headers, header)?,
                _ => return Err(bad(header, "is not a steering header of the demo provider")),
            }
        }
        Ok(steering)
    }
}

fn bad(header: &HeaderName, problem: &str) -> Refusal {
    Refusal::invalid(format!("header `{header}` {problem}")).with_param(header.as_str())
}

fn delay(headers: &HeaderMap, header: &HeaderName) -> Result<Duration, Refusal> {
    number(headers, header, LONGEST_DELAY_MS).map(|ms| Duration::from_millis(ms.into()))
}

fn usage(headers: &HeaderMap, header: &HeaderName) -> Result<Reported, Refusal> {
    match text(headers, header)? {
        "" => Err(bad(header, "must be `absent` or the text to report")),
        "absent" => Ok(Reported::Absent),
        text => Ok(Reported::Verbatim(text.to_owned())),
    }
}

fn encoding(headers: &HeaderMap, header: &HeaderName) -> Result<Encoding, Refusal> {
    Encoding::named(text(headers, header)?)
        .ok_or_else(|| bad(header, "must be `gzip`, `deflate` or `br`"))
}

/// The only value of a header.
fn text<'a>(headers: &'a HeaderMap, header: &HeaderName) -> Result<&'a str, Refusal> {
    let mut values = headers.get_all(header).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(bad(header, "must be given once"));
    };
    value
        .to_str()
        .map_err(|_| bad(header, "must be plain ASCII"))
}

fn number(headers: &HeaderMap, header: &HeaderName, most: u32) -> Result<u32, Refusal> {
    let digits = text(headers, header)?;
    // `parse` would take a sign too.
    Some(digits)
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|digits| digits.parse().ok())
        .filter(|number| *number <= most)
        .ok_or_else(|| bad(header, &format!("must be a whole number from 0 to {most}")))
}

/// The fault that the entries `<name>=<fault>` of all fault headers give to `name`.
///
/// Entries for others are checked too: a test should learn of its typo from any instance.
fn fault_for(
    name: &str,
    headers: &HeaderMap,
    header: &HeaderName,
) -> Result<Option<Fault>, Refusal> {
    let mut mine = None;
    for value in headers.get_all(header) {
        let text = value
            .to_str()
            .map_err(|_| bad(header, "must be plain ASCII"))?;
        for entry in text
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
        {
            let (whose, fault) = entry
                .split_once('=')
                .and_then(|(whose, fault)| Some((whose.trim(), parse_fault(fault.trim())?)))
                .filter(|(whose, _)| !whose.is_empty())
                .ok_or_else(|| {
                    bad(
                        header,
                        "must be a comma-separated list of `<name>=<fault>`, where a fault is a \
                         status from 400 to 599, `hang`, `close` or `cut:<chunks>`",
                    )
                })?;
            if whose == name && mine.replace(fault).is_some() {
                return Err(bad(header, &format!("names `{name}` twice")));
            }
        }
    }
    Ok(mine)
}

fn parse_fault(text: &str) -> Option<Fault> {
    match text {
        "hang" => Some(Fault::Hang),
        "close" => Some(Fault::Close),
        _ => match text.strip_prefix("cut:") {
            Some(chunks) => chunks.parse().ok().map(Fault::Cut),
            None => text
                .parse()
                .ok()
                .filter(|code| (400..600).contains(code))
                .and_then(|code| StatusCode::from_u16(code).ok())
                .map(Fault::Status),
        },
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn read(list: &[(&'static str, &'static str)]) -> Result<Steering, Refusal> {
        Steering::read(&headers(list), "demo")
    }

    #[test]
    fn a_request_without_steering_headers_is_answered_plainly() {
        assert_eq!(read(&[("x-other", "1")]).unwrap(), Steering::default());
    }

    #[test]
    fn every_header_sets_its_own_thing() {
        let steering = read(&[
            ("x-demo-output-tokens", "500"),
            ("x-demo-reasoning-tokens", "9"),
            ("x-demo-cached-tokens", "7"),
            ("x-demo-cache-write-tokens", "5"),
            ("x-demo-cache-write-1h-tokens", "4"),
            ("x-demo-service-tier", "flex"),
            ("x-demo-usage", "{\"a\":"),
            ("x-demo-encoding", "br"),
            ("x-demo-delay-ms", "20"),
            ("x-demo-chunk-delay-ms", "3"),
            ("x-demo-fault", "demo=hang"),
        ])
        .unwrap();
        assert_eq!(
            steering,
            Steering {
                output_tokens: Some(500),
                reasoning_tokens: 9,
                cached_tokens: 7,
                cache_write_tokens: 5,
                cache_write_1h_tokens: 4,
                service_tier: Some("flex".to_owned()),
                usage: Reported::Verbatim("{\"a\":".to_owned()),
                encoding: Some(Encoding::Brotli),
                delay: Duration::from_millis(20),
                chunk_delay: Duration::from_millis(3),
                fault: Some(Fault::Hang),
            }
        );
    }

    #[test]
    fn an_instance_obeys_only_the_fault_that_carries_its_name() {
        let all = [
            ("x-demo-fault", "a=503, b=close,c=cut:4"),
            ("x-demo-fault", "d=429"),
        ];
        let fault = |name| Steering::read(&headers(&all), name).unwrap().fault;
        assert_eq!(
            fault("a"),
            Some(Fault::Status(StatusCode::SERVICE_UNAVAILABLE))
        );
        assert_eq!(fault("b"), Some(Fault::Close));
        assert_eq!(fault("c"), Some(Fault::Cut(4)));
        assert_eq!(
            fault("d"),
            Some(Fault::Status(StatusCode::TOO_MANY_REQUESTS))
        );
        assert_eq!(fault("demo"), None);
    }

    #[test]
    fn a_bad_steering_header_is_refused_by_its_name() {
        for (name, value) in [
            ("x-demo-output-tokens", "many"),
            ("x-demo-output-tokens", "1000001"),
            ("x-demo-output-tokens", "+5"),
            ("x-demo-reasoning-tokens", "-1"),
            ("x-demo-cache-write-tokens", "1.5"),
            ("x-demo-cache-write-1h-tokens", ""),
            ("x-demo-usage", ""),
            ("x-demo-encoding", "zstd"),
            ("x-demo-delay-ms", "-1"),
            ("x-demo-chunk-delay-ms", ""),
            ("x-demo-fault", "503"),
            ("x-demo-fault", "demo=200"),
            ("x-demo-fault", "demo=cut"),
            ("x-demo-fault", "=503"),
            ("x-demo-fault", "other=explode"),
            ("x-demo-fault", "demo=503,demo=429"),
            ("x-demo-ouput-tokens", "5"),
        ] {
            let refusal = read(&[(name, value)]).unwrap_err();
            assert_eq!(refusal.status, StatusCode::BAD_REQUEST, "{name}: {value}");
            assert!(refusal.message.contains(name), "{}", refusal.message);
        }
    }

    #[test]
    fn a_header_given_twice_is_refused() {
        for (name, value) in [("x-demo-delay-ms", "1"), ("x-demo-usage", "absent")] {
            let refusal = read(&[(name, value), (name, value)]).unwrap_err();
            assert!(refusal.message.contains("once"), "{}", refusal.message);
        }
    }

    #[test]
    fn usage_is_the_truth_or_absent_or_a_text() {
        assert_eq!(read(&[]).unwrap().usage, Reported::Truth);
        let absent = read(&[("x-demo-usage", "absent")]).unwrap();
        assert_eq!(absent.usage, Reported::Absent);
    }
}
