#!/usr/bin/env bash
# fuzz.sh NAME SECONDS: runs a fuzz target of fuzz/fuzz_targets for so long.
set -euo pipefail

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

name=${1:-} seconds=${2:-60}
[ -e "fuzz/fuzz_targets/$name.rs" ] ||
    fail "NAME must be one of: $(cd fuzz/fuzz_targets && printf '%s ' *.rs | sed 's/\.rs//g')"
cargo fuzz --version >/dev/null 2>&1 ||
    fail "cargo-fuzz is missing: cargo install cargo-fuzz; it needs a nightly compiler: rustup toolchain install nightly"
mkdir -p "fuzz/corpus/$name"
folders=("fuzz/corpus/$name")
[ -d "fuzz/seeds/$name" ] && folders+=("fuzz/seeds/$name")
cargo +nightly fuzz run "$name" "${folders[@]}" -- -max_total_time="$seconds"
