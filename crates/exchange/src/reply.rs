//! A refusal as the caller sees it: the only place that knows statuses, headers and body.
//!
//! The body is in the caller's dialect, so that its SDK raises its own error class, and carries
//! Bifrost's top-level `type` and `status_code` besides. It is made of constants, checked names and
//! numbers; nothing else of the request is echoed.

use reeve_llm::{ErrorBody, Scalar, WireFormat, error_header, render_error, sanitise};
use reeve_policy::limit::Metric;
use reeve_policy::money::Nanos;
use reeve_policy::period::rfc3339;

use crate::allowance::{self, Allowance, seconds_until};
use crate::denial::{Denial, LimitExceeded};

/// A response of our own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Header fields; values are printable ASCII.
    pub headers: Vec<(&'static str, String)>,
    /// JSON.
    pub body: Vec<u8>,
}

/// Renders a refusal. `request_id` goes through the sanitiser.
pub fn render(denial: &Denial, dialect: WireFormat, request_id: &[u8], now_ms: i64) -> Reply {
    let request_id = sanitise(request_id);
    let status = status(denial);
    let message = message(denial);
    let facts = match denial {
        Denial::LimitExceeded(limit) => limit_facts(limit),
        _ => Vec::new(),
    };
    let extra: Vec<(&str, Scalar<'_>)> = facts
        .iter()
        .map(|(name, fact)| {
            let scalar = match fact {
                Fact::Text(text) => Scalar::Text(text),
                Fact::Number(number) => Scalar::Integer(*number),
            };
            (*name, scalar)
        })
        .collect();
    let body = render_error(
        dialect,
        &ErrorBody {
            status,
            error_type: kind(denial),
            message: &message,
            code: Some(kind(denial)),
            param: match denial {
                Denial::InvalidRequest { param, .. } => *param,
                Denial::ModelConflict | Denial::ModelNotFound => Some("model"),
                _ => None,
            },
            request_id: &request_id,
            extra: &extra,
        },
    );
    let mut headers = vec![
        ("content-type", "application/json".to_owned()),
        ("x-request-id", request_id.clone()),
        ("x-reeve-denied", kind(denial).to_owned()),
    ];
    if let Some((name, value)) = error_header(dialect, status) {
        headers.push((name, value.to_owned()));
    }
    match denial {
        Denial::MethodNotAllowed { allow } => headers.push(("allow", (*allow).to_owned())),
        Denial::LimitExceeded(limit) => {
            let seconds = match limit.metric {
                // A slot may come back at any moment.
                Metric::InFlight => Some(1),
                _ => seconds_until(limit.resets_at_ms, now_ms),
            };
            if let Some(seconds) = seconds {
                headers.push(("retry-after", seconds.to_string()));
            }
            headers.extend(allowance::headers(
                [Allowance::exceeded(limit)],
                dialect,
                now_ms,
            ));
        }
        Denial::PolicyUnavailable
        | Denial::PolicyStale
        | Denial::LimitsUnavailable
        | Denial::UsageBacklogFull => {
            headers.push(("retry-after", "1".to_owned()));
        }
        _ => {}
    }
    if status == 402 {
        // Money does not come back in the seconds that a client would wait.
        headers.push(("x-should-retry", "false".to_owned()));
    }
    Reply {
        status,
        headers,
        body,
    }
}

const fn status(denial: &Denial) -> u16 {
    match denial {
        Denial::RequiredHeaders { .. }
        | Denial::AmbiguousCredentials
        | Denial::InvalidRequest { .. }
        | Denial::ModelConflict => 400,
        Denial::VirtualKeyRequired | Denial::VirtualKeyNotFound => 401,
        Denial::PriceUnknown { .. } => 402,
        Denial::VirtualKeyInactive
        | Denial::VirtualKeyExpired
        | Denial::Unserved(_)
        | Denial::ProviderBlocked { .. }
        | Denial::ProviderKeyBlocked { .. }
        | Denial::ModelBlocked { .. } => 403,
        Denial::NotFound | Denial::ModelNotFound => 404,
        Denial::MethodNotAllowed { .. } => 405,
        Denial::PayloadTooLarge { .. } => 413,
        Denial::UnsupportedMediaType(_) => 415,
        Denial::LimitExceeded(limit) => match limit.metric {
            Metric::Cost => 402,
            Metric::Requests | Metric::Tokens | Metric::InFlight => 429,
        },
        Denial::PolicyUnavailable
        | Denial::PolicyStale
        | Denial::LimitsUnavailable
        | Denial::UsageBacklogFull => 503,
    }
}

/// The machine-readable name; Bifrost's where it has one.
pub const fn kind(denial: &Denial) -> &'static str {
    match denial {
        Denial::NotFound => "not_found",
        Denial::MethodNotAllowed { .. } => "method_not_allowed",
        Denial::Unserved(_) => "api_not_served",
        Denial::PolicyUnavailable => "policy_unavailable",
        Denial::PolicyStale => "policy_stale",
        Denial::LimitsUnavailable => "limits_unavailable",
        Denial::UsageBacklogFull => "usage_backlog_full",
        Denial::RequiredHeaders { missing, .. } => {
            if missing.is_empty() {
                "invalid_required_headers"
            } else {
                "missing_required_headers"
            }
        }
        Denial::AmbiguousCredentials => "ambiguous_credentials",
        Denial::VirtualKeyRequired => "virtual_key_required",
        Denial::VirtualKeyNotFound => "virtual_key_not_found",
        Denial::VirtualKeyInactive | Denial::VirtualKeyExpired => "virtual_key_blocked",
        Denial::UnsupportedMediaType(_) => "unsupported_media_type",
        Denial::PayloadTooLarge { .. } => "payload_too_large",
        Denial::InvalidRequest { .. } => "invalid_request",
        Denial::ModelConflict => "model_conflict",
        Denial::ModelNotFound => "model_not_found",
        Denial::ProviderBlocked { .. } => "provider_blocked",
        Denial::ProviderKeyBlocked { .. } => "provider_key_blocked",
        Denial::ModelBlocked { .. } => "model_blocked",
        Denial::PriceUnknown { .. } => "price_unknown",
        Denial::LimitExceeded(limit) => match limit.metric {
            Metric::Cost => "budget_exceeded",
            Metric::Requests => "request_limited",
            Metric::Tokens => "token_limited",
            Metric::InFlight => "concurrency_limited",
        },
    }
}

/// In words.
pub fn message(denial: &Denial) -> String {
    match denial {
        Denial::NotFound => "no such API: see the list of endpoints in the documentation".into(),
        Denial::MethodNotAllowed { allow } => format!("this API answers {allow} only"),
        Denial::Unserved(unserved) => unserved.reason().into(),
        Denial::PolicyStale => {
            "this gateway has not heard of its control plane for too long: try again later".into()
        }
        Denial::PolicyUnavailable => {
            "no policy has reached this gateway yet: try again in a moment".into()
        }
        Denial::LimitsUnavailable => {
            "this gateway needs more of a limit than it holds, and its control plane does not \
             answer: try again in a moment"
                .into()
        }
        Denial::UsageBacklogFull => {
            "the gateway cannot report usage to its control plane: try again later".into()
        }
        Denial::RequiredHeaders {
            missing,
            mismatched,
        } => [
            ("missing required headers", missing),
            (
                "required headers with a value that is not allowed",
                mismatched,
            ),
        ]
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(what, names)| format!("{what}: {}", names.join(", ")))
        .collect::<Vec<_>>()
        .join("; "),
        Denial::AmbiguousCredentials => {
            "more than one credential was presented: send one virtual key, in one header".into()
        }
        Denial::VirtualKeyRequired => {
            "virtual key is required. Provide a virtual key via the x-bf-vk header, \
             Authorization: Bearer, x-api-key, x-goog-api-key or api-key."
                .into()
        }
        Denial::VirtualKeyNotFound => {
            "virtual key not found: it does not exist or has been revoked".into()
        }
        Denial::VirtualKeyInactive => "virtual key is inactive".into(),
        Denial::VirtualKeyExpired => "virtual key has expired".into(),
        Denial::UnsupportedMediaType(what) => (*what).into(),
        Denial::PayloadTooLarge { max_bytes } => {
            format!("the request body is larger than the {max_bytes} bytes that are admitted")
        }
        Denial::InvalidRequest { message, .. } => message.clone(),
        Denial::ModelConflict => {
            "two places of the request name different models: name it in one place".into()
        }
        Denial::ModelNotFound => {
            "there is no such model, or this virtual key may not use it".into()
        }
        Denial::ProviderKeyBlocked { provider } => format!(
            "this virtual key is bound to keys of provider `{provider}` of which none is active"
        ),
        Denial::ProviderBlocked { provider } => {
            format!("provider `{provider}` is not allowed for this virtual key")
        }
        Denial::ModelBlocked { model } => {
            format!("model `{model}` is not allowed for this virtual key")
        }
        Denial::PriceUnknown { provider, model } => format!(
            "model `{model}` of provider `{provider}` has no price, so its cost cannot be charged: \
             an administrator can add it to the model catalogue"
        ),
        Denial::LimitExceeded(limit) => limit_message(limit),
    }
}

fn limit_message(limit: &LimitExceeded) -> String {
    let (level, owner_id) = (limit.level.as_str(), sanitise(limit.owner_id.as_bytes()));
    let what = match limit.metric {
        Metric::Cost => "budget exceeded",
        Metric::Requests => "request limit exceeded",
        Metric::Tokens => "token limit exceeded",
        Metric::InFlight => {
            return format!(
                "concurrency limit exceeded for {level} {owner_id}: {} of {} requests are under way; \
                 try again when one of them has ended",
                limit.used, limit.max,
            );
        }
    };
    let amount = |amount: i64| match limit.metric {
        Metric::Cost => format!("{} USD", Nanos::new(amount)),
        Metric::Requests | Metric::InFlight => format!("{amount} requests"),
        Metric::Tokens => format!("{amount} tokens"),
    };
    format!(
        "{what} for {level} {owner_id}: {} of {} are used or reserved, this request needs up to {}; \
         resets {}",
        amount(limit.used),
        amount(limit.max),
        amount(limit.asked),
        resets_at(limit),
    )
}

/// A limit that never resets has no such time.
fn resets_at(limit: &LimitExceeded) -> String {
    if limit.resets_at_ms == i64::MAX {
        return "never".into();
    }
    format!("at {}", rfc3339(limit.resets_at_ms))
}

enum Fact {
    Text(String),
    Number(i64),
}

fn limit_facts(limit: &LimitExceeded) -> Vec<(&'static str, Fact)> {
    let unit = match limit.metric {
        Metric::Cost => "nano_usd",
        Metric::Requests => "requests",
        Metric::Tokens => "tokens",
        Metric::InFlight => "requests_in_flight",
    };
    let mut facts = vec![
        ("level", Fact::Text(limit.level.as_str().into())),
        ("owner_id", Fact::Text(limit.owner_id.clone())),
        ("limit_id", Fact::Text(limit.limit_id.clone())),
        ("unit", Fact::Text(unit.into())),
        ("limit", Fact::Number(limit.max)),
        ("used", Fact::Number(limit.used)),
        ("reserved", Fact::Number(limit.reserved)),
        ("requested", Fact::Number(limit.asked)),
    ];
    if limit.resets_at_ms < i64::MAX {
        facts.push(("resets_at", Fact::Text(rfc3339(limit.resets_at_ms))));
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;
    use reeve_policy::limit::Level;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn limit(metric: Metric) -> LimitExceeded {
        LimitExceeded {
            metric,
            level: Level::Team,
            owner_id: "team-1".into(),
            limit_id: "limit-1".into(),
            max: 1_500_000_000,
            used: 1_499_999_999,
            reserved: 7,
            asked: 2,
            resets_at_ms: 1_700_000_000_500,
        }
    }

    fn exceeded(metric: Metric) -> Denial {
        Denial::LimitExceeded(limit(metric))
    }

    fn json(reply: &Reply) -> serde_json::Value {
        serde_json::from_slice(&reply.body).unwrap()
    }

    fn header<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
        reply
            .headers
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, v)| v.as_str())
    }

    #[test]
    fn an_exhausted_budget_says_which_by_how_much_and_until_when() {
        let denial = exceeded(Metric::Cost);
        let reply = render(&denial, WireFormat::OpenAi, b"req-1", 1_699_999_999_000);
        assert_eq!(reply.status, 402);
        assert_eq!(header(&reply, "retry-after"), Some("2"));
        assert_eq!(header(&reply, "x-should-retry"), Some("false"));
        let body = json(&reply);
        assert_eq!(body["type"], "budget_exceeded");
        assert_eq!(body["status_code"], 402);
        assert_eq!(body["request_id"], "req-1");
        assert_eq!(body["level"], "team");
        assert_eq!(body["used"], 1_499_999_999);
        assert_eq!(body["resets_at"], "2023-11-14T22:13:20.5Z");
        let message = body["error"]["message"].as_str().unwrap();
        assert!(
            message.contains("team team-1: 1.499999999 USD of 1.5 USD"),
            "{message}"
        );
    }

    #[test]
    fn a_rate_limit_may_be_retried_when_its_window_ends() {
        let denial = exceeded(Metric::Requests);
        let reply = render(&denial, WireFormat::OpenAi, b"", 1_700_000_000_500);
        assert_eq!(reply.status, 429);
        assert_eq!(header(&reply, "retry-after"), Some("1"));
        assert_eq!(header(&reply, "x-should-retry"), None);
    }

    #[test]
    fn a_request_too_many_at_once_may_be_retried_in_a_second() {
        let denial = Denial::LimitExceeded(LimitExceeded {
            max: 5,
            used: 5,
            resets_at_ms: i64::MAX,
            ..limit(Metric::InFlight)
        });
        for dialect in [
            WireFormat::OpenAi,
            WireFormat::Anthropic,
            WireFormat::Bedrock,
        ] {
            let reply = render(&denial, dialect, b"", 1_700_000_000_500);
            assert_eq!(reply.status, 429);
            assert_eq!(header(&reply, "retry-after"), Some("1"));
            assert_eq!(
                header(&reply, "x-reeve-denied"),
                Some("concurrency_limited")
            );
            assert_eq!(header(&reply, "x-ratelimit-limit"), None);
            let body = json(&reply);
            assert_eq!((&body["limit"], &body["used"]), (&5.into(), &5.into()));
            assert!(String::from_utf8_lossy(&reply.body).contains("5 of 5 requests are under way"));
        }
    }

    #[test]
    fn each_dialect_gets_the_body_its_sdk_understands() {
        let openai = json(&render(
            &Denial::VirtualKeyNotFound,
            WireFormat::OpenAi,
            b"r",
            0,
        ));
        assert_eq!(openai["error"]["code"], "virtual_key_not_found");
        let anthropic = json(&render(
            &Denial::VirtualKeyNotFound,
            WireFormat::Anthropic,
            b"r",
            0,
        ));
        assert_eq!(anthropic["type"], "error");
        assert_eq!(anthropic["error"]["type"], "authentication_error");
    }

    #[test]
    fn a_hostile_request_id_cannot_break_out() {
        let id = b"a\r\nset-cookie: evil=1\"\xff";
        let reply = render(&Denial::NotFound, WireFormat::OpenAi, id, 0);
        let value = header(&reply, "x-request-id").unwrap();
        assert!(value.bytes().all(|b| (0x20..0x7f).contains(&b)), "{value}");
        assert!(
            json(&reply)["request_id"]
                .as_str()
                .unwrap()
                .starts_with("a%0D%0A")
        );
    }
}
