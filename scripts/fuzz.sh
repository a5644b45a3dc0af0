#!/usr/bin/env bash
# Runs the fuzz targets of fuzz/fuzz_targets, built with the ordinary stable compiler.
#   fuzz.sh NAME SECONDS   one of them, for so long; what it learns is kept in fuzz/corpus
#   fuzz.sh all RUNS       each of them, so many executions
#   fuzz.sh short          each of them over its seeds and some thousand inputs made from them, the
#                          same every time: what `make test` runs
set -euo pipefail

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
step_total=1

# What `cargo fuzz` hands to the compiler too. That libFuzzer sees which branches were taken and what
# was compared needs no nightly compiler; only the sanitisers do, and there is no unsafe code here.
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares"
host=$(rustc -vV | sed -n 's/^host: //p')
binaries=$target_dir/fuzz/$host/release
names=$(cd fuzz/fuzz_targets && printf '%s ' *.rs | sed 's/\.rs//g')

# A target is given, so that build scripts and macros are built without these flags.
build() {
    step "fuzz targets" cargo build --locked --release --manifest-path fuzz/Cargo.toml \
        --target-dir "$target_dir/fuzz" --target "$host" "$@"
}

# run NAME FOLDER OPTION...: new inputs go to the folder, a finding to fuzz/artifacts.
run() {
    local name=$1 folder=$2
    shift 2
    mkdir -p "$folder" "fuzz/artifacts/$name"
    "$binaries/$name" -dict=fuzz/dictionary -timeout=10 -artifact_prefix="fuzz/artifacts/$name/" \
        "$@" "$folder" "fuzz/seeds/$name"
}

# run_each FOLDER RUNS: the same inputs every time, as far as the folder is.
run_each() {
    local folder=$1 runs=$2 name log started
    for name in $names; do
        log=$logs/fuzz-$name.log
        started=$SECONDS
        run "$name" "$folder/$name" -seed=1 -runs="$runs" >"$log" 2>&1 || {
            grep -v -e "^#" -e "^0x" "$log" | tail -n 40 | cut -c 1-300 >&2
            fail "$name: a finding; it is in fuzz/artifacts/$name, the whole output in ${log#"$root"/}"
        }
        printf '%-18s %s executions, %s s\n' "$name" "$(sed -n 's/^Done \([0-9]*\) runs.*/\1/p' "$log")" \
            $((SECONDS - started))
    done
}

case ${1:-} in
    short)
        build --bins
        folder=$(mktemp -d)
        trap 'rm -rf "$folder"' EXIT
        run_each "$folder" 10000
        ;;
    all)
        build --bins
        run_each fuzz/corpus "${2:-1000000}"
        ;;
    *)
        name=${1:-} seconds=${2:-60}
        [ -n "$name" ] && [ -e "fuzz/fuzz_targets/$name.rs" ] || fail "NAME must be one of: $names"
        build --bin "$name"
        run "$name" "fuzz/corpus/$name" -max_total_time="$seconds"
        ;;
esac
