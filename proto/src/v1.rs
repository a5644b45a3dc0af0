//! Generated from `proto/reeve/v1/policy_sync.proto` by `cargo xtask gen-proto`. The comments of
//! that file are the protocol.
#![expect(clippy::pedantic, reason = "generated code has its own style")]

include!("gen/reeve.v1.rs");

/// The service and its client; only the control plane sees them.
#[cfg(feature = "grpc")]
#[expect(
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "tonic silences lints in the code it generates"
)]
pub mod grpc {
    include!("gen/reeve.v1.grpc.rs");
}
