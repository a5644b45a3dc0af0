#!/usr/bin/env bash
# Builds the filter for Envoy and puts it where `reeve` looks for it.
#   wasm.sh [PROFILE] [cargo arguments]     PROFILE: wasm (default)
#   wasm.sh wasm --features fault-injection   the variant that a test can trap
#   wasm.sh test -p CRATE...                runs the tests of pure crates on wasm32, under Node
# The compiler is the one that setup.sh chose.
set -euo pipefail

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

[ -e "$choices/wasm.env" ] || fail "No wasm toolchain was chosen yet: scripts/setup.sh up"
wasm_toolchain='' wasm_linker=''
# shellcheck source=/dev/null
. "$choices/wasm.env"

# V8 in Envoy has them all; without simd128 the body scanner runs several times slower.
export RUSTFLAGS="-C target-feature=+simd128,+bulk-memory,+sign-ext,+nontrapping-fptoint"
# A folder of its own: another compiler, and no waiting for the lock of a native build.
export CARGO_TARGET_DIR=$target_dir/wasm
target=wasm32-unknown-unknown

wasm_cargo() {
    local command=$1
    shift
    if [ "$wasm_toolchain" = debian ]; then
        RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc \
            CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=$wasm_linker \
            /usr/bin/cargo "$command" --target $target \
            -Zbuild-std=std,panic_abort -Zbuild-std-features= "$@"
    else
        cargo "$command" --target $target "$@"
    fi
}

run_tests() {
    [ -e "$choices/wasm-test-runner" ] || fail "The wasm test runner is missing: scripts/setup.sh test"
    CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER=$(cat "$choices/wasm-test-runner") \
        wasm_cargo test --lib --tests "$@"
}

build() {
    local profile=${1:-wasm} name=reeve_filter.wasm built
    [ $# -gt 0 ] && shift
    case " $* " in *fault-injection*) name=reeve_filter_fault.wasm ;; esac
    wasm_cargo build --package reeve-filter --profile "$profile" "$@"
    built=$CARGO_TARGET_DIR/$target/$profile/reeve_filter.wasm
    # An Envoy may be reading the old one: replace it whole, and only when it differs.
    if ! cmp -s "$built" "$target_dir/$name"; then
        cp "$built" "$target_dir/$name.new"
        mv "$target_dir/$name.new" "$target_dir/$name"
    fi
    note "$(($(wc -c <"$built") / 1024)) KB"
}

if [ "${1:-}" = test ]; then
    shift
    run_tests "$@"
else
    build "$@"
fi
