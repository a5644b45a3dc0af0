use serde_json::{Value, json};

/// What callers read when Envoy itself has to answer: the filter's error shape instead of plain
/// text. The filter's own replies, whose response code details begin with `reeve.`, pass through
/// untouched.
pub(super) fn config() -> Value {
    let mut refused_address = REFUSED_ADDRESS.mapper();
    if let Some(mapper) = refused_address.as_object_mut() {
        // Envoy's 403 would blame the caller.
        mapper.insert("status_code".to_owned(), json!(503));
    }
    let others = REPLIES.iter().map(Reply::mapper);
    let mappers: Vec<Value> = std::iter::once(refused_address).chain(others).collect();
    json!({"mappers": mappers})
}

/// Of the filter in `egress.rs`.
const REFUSED_ADDRESS: Reply = Reply {
    condition: "response.code_details.startsWith('rbac_access_denied')",
    r#type: "provider_unavailable",
    message: "the provider's name leads to an address where no provider may be",
};

/// One of Envoy's own answers; the first whose condition holds is given.
struct Reply {
    /// CEL over the attributes of the exchange.
    condition: &'static str,
    r#type: &'static str,
    message: &'static str,
}

const REPLIES: &[Reply] = &[
    Reply {
        condition: "response.code_details == 'wasm_fail_stream'",
        r#type: "policy_unavailable",
        message: "the governance filter is restarting; try again",
    },
    Reply {
        // Envoy has refused the filter's configuration; it gives no details.
        condition: "response.code == 500 && response.code_details == ''",
        r#type: "policy_unavailable",
        message: "the governance filter has no configuration",
    },
    Reply {
        condition: "response.code_details == 'cluster_not_found'",
        r#type: "provider_unavailable",
        message: "no provider can take this request: the provider was removed or has no active key",
    },
    Reply {
        condition: "response.code_details == 'route_not_found'",
        r#type: "not_found",
        message: "this gateway does not serve the host name of the request",
    },
    Reply {
        condition: "response.code_details == 'request_payload_too_large'",
        r#type: "payload_too_large",
        message: "the request body is larger than this gateway accepts",
    },
    Reply {
        condition: "response.code_details == 'request_overall_timeout' || \
                    response.code_details == 'request_header_timeout'",
        r#type: "request_timeout",
        message: "the request did not arrive in time",
    },
    Reply {
        condition: "response.code_details == 'overload'",
        r#type: "overloaded",
        message: "the gateway is overloaded; try again later",
    },
    // Whatever the status: an unknown transfer coding is a 501 of Envoy's, not of a provider's.
    Reply {
        condition: "response.code_details.startsWith('http1.')",
        r#type: "invalid_request",
        message: "the request is not acceptable HTTP: %RESPONSE_CODE_DETAILS%",
    },
    Reply {
        condition: "response.code >= 500 && !response.code_details.startsWith('reeve.') && \
                    xds.cluster_name == 'control_plane_http'",
        r#type: "control_plane_unavailable",
        message: "the control plane does not answer",
    },
    Reply {
        condition: "response.code >= 500 && !response.code_details.startsWith('reeve.')",
        r#type: "provider_unavailable",
        message: "the provider does not answer",
    },
    Reply {
        condition: "response.code >= 400 && !response.code_details.startsWith('reeve.')",
        r#type: "invalid_request",
        message: "the request is not acceptable HTTP: %RESPONSE_CODE_DETAILS%",
    },
];

impl Reply {
    fn mapper(&self) -> Value {
        json!({
            "filter": {"extension_filter": {
                "name": "envoy.access_loggers.extension_filters.cel",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
                    "expression": self.condition,
                },
            }},
            // Both SDK families find `error.message` and `error.type`.
            "body_format_override": {"json_format": {
                "type": self.r#type,
                "status_code": "%RESPONSE_CODE%",
                "request_id": "%REQ(X-REQUEST-ID)%",
                "error": {"type": self.r#type, "message": self.message},
            }},
        })
    }
}
