#!/usr/bin/env bash
# End-to-end tests: the real filter in the real Envoy, with the clients that users have.
#   e2e.sh [FILTER]     FILTER: pytest's -k
set -euo pipefail

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
step_total=4

step "control plane" build_binary reeve
step "benchmark" build_binary reeve-bench
step "filter" "$root/scripts/wasm.sh" wasm
step "filter with faults" "$root/scripts/wasm.sh" wasm --features fault-injection

# shellcheck source=/dev/null
. "$choices/envoy.env"
export REEVE_ENVOY
export REEVE_BIN=$target_dir/debug/reeve
export REEVE_BENCH_BIN=$target_dir/debug/reeve-bench
export REEVE_FILTER_WASM=$target_dir/reeve_filter.wasm
export REEVE_FILTER_FAULT_WASM=$target_dir/reeve_filter_fault.wasm
export PYTHONDONTWRITEBYTECODE=1

# They wait more than they compute.
cores=$(getconf _NPROCESSORS_ONLN)
workers=${REEVE_E2E_WORKERS:-$((cores < 4 ? 4 : cores > 8 ? 8 : cores))}

supervised "$root/scripts/postgres.sh" \
    "$(cat "$choices/python")" -m pytest -c tests/pytest.ini tests/e2e -n "$workers" -k "${1:-}"
