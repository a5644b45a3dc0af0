#!/usr/bin/env bash
# What needs no test to be seen: formatting, lints, tidy, generated files.
set -euo pipefail

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
step_total=7

step "formatting" cargo fmt --all --check
step "formatting of the fuzz targets" cargo fmt --manifest-path fuzz/Cargo.toml --check
step "clippy" cargo clippy --workspace --all-targets -- -D warnings
# The variant of the filter that only tests build.
step "clippy with faults" \
    cargo clippy --workspace --all-targets --features reeve-filter/fault-injection -- -D warnings
step "xtask" build_binary xtask
step "tidy" "$target_dir/debug/xtask" tidy
step "generated code is fresh" "$target_dir/debug/xtask" gen-proto --check
