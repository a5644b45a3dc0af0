#!/usr/bin/env bash
# Builds Reeve and runs it: control plane, Envoy and demo provider in the foreground.
# One Ctrl-C stops them all. PROFILE=dev builds faster and runs slower.
set -euo pipefail

export REEVE_STEPS=5
"$(dirname "$0")/setup.sh" up
REEVE_STEP=3
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
unset REEVE_STEP REEVE_STEPS

case ${PROFILE:-release} in
    release)
        build=(cargo build --release --package reeve-control-plane)
        built=release
        ;;
    dev)
        build=(build_binary reeve)
        built=debug
        ;;
    *) fail "PROFILE is '$PROFILE'; it may be release or dev." ;;
esac

step "filter" "$root/scripts/wasm.sh" wasm
step "control plane" "${build[@]}"

# shellcheck source=/dev/null
. "$choices/envoy.env"
export REEVE_ENVOY
export REEVE_FILTER_WASM=${REEVE_FILTER_WASM:-$target_dir/reeve_filter.wasm}
exec "$target_dir/$built/reeve" up --dev
