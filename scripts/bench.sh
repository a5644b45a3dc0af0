#!/usr/bin/env bash
# Measures, in the release profile, and compares the books afterwards. The figures go to standard output,
# and as JSON to the target directory. What is seen on a machine that has other work says little: see
# docs/performance.md.
#   bench.sh [ledger|kills|cold-start|providers]     left out: all of them
set -euo pipefail

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
step_total=2

what=${1:-all}
case $what in ledger | kills | cold-start | providers | all) ;; *) fail "usage: bench.sh [ledger|kills|cold-start|providers]" ;; esac

step "control plane and benchmark" \
    cargo build --release --package reeve-control-plane --package reeve-bench --bins
step "filter" "$root/scripts/wasm.sh" wasm

# shellcheck source=/dev/null
. "$choices/envoy.env"
export REEVE_ENVOY
export REEVE_BIN=$target_dir/release/reeve
export REEVE_BENCH_BIN=$target_dir/release/reeve-bench
export REEVE_FILTER_WASM=$target_dir/reeve_filter.wasm
# Only asked for, by the tests that the measurements are among.
export REEVE_FILTER_FAULT_WASM=$REEVE_FILTER_WASM
export PYTHONDONTWRITEBYTECODE=1
export REEVE_BENCH_RESULTS=$target_dir/bench
mkdir -p "$REEVE_BENCH_RESULTS"

wanted() { [ "$what" = all ] || [ "$what" = "$1" ]; }

heading() { printf '\n== %s\n' "$*"; }

# The ledger's data: on the disk of the results, and gone afterwards.
data=$(mktemp -d "$REEVE_BENCH_RESULTS/.tmp.XXXXXX")
trap 'rm -rf "$data"' EXIT

ledger=("$REEVE_BENCH_BIN" ledger --reeve "$REEVE_BIN" --directory "$data")

measure() {
    supervised "$(cat "$choices/python")" -m pytest -c tests/pytest.ini -p no:cacheprovider -s -q "$@"
}

if wanted ledger; then
    heading "ledger on SQLite"
    supervised "${ledger[@]}" --json "$REEVE_BENCH_RESULTS/ledger-sqlite.json"
    heading "ledger on PostgreSQL"
    # A server of its own, whose URL is known only once it runs.
    # shellcheck disable=SC2016
    supervised env -u REEVE_TEST_POSTGRES_URL REEVE_POSTGRES_DURABLE=1 "$root/scripts/postgres.sh" \
        bash -c '"$@" --database "$REEVE_TEST_POSTGRES_URL"' - \
        "${ledger[@]}" --json "$REEVE_BENCH_RESULTS/ledger-postgres.json"
fi

if wanted kills; then
    heading "200 kills of the control plane under load"
    REEVE_KILLS=200 measure tests/e2e/test_bad_day.py -k killed_again_and_again
fi

if wanted cold-start; then
    heading "10,000 keys after a cold start"
    REEVE_COLD_START_KEYS=${REEVE_COLD_START_KEYS:-10000} \
        REEVE_COLD_START_RATE=${REEVE_COLD_START_RATE:-2000} \
        REEVE_COLD_START_SECONDS=${REEVE_COLD_START_SECONDS:-30} \
        measure tests/e2e/test_cold_start.py
fi

if wanted providers; then
    heading "200 providers with 10 keys each, and changes at 500 requests a second"
    REEVE_PROVIDERS=${REEVE_PROVIDERS:-200} \
        REEVE_PROVIDER_KEYS=${REEVE_PROVIDER_KEYS:-10} \
        REEVE_PROVIDERS_RATE=${REEVE_PROVIDERS_RATE:-500} \
        REEVE_PROVIDERS_SECONDS=${REEVE_PROVIDERS_SECONDS:-30} \
        measure tests/e2e/test_many_providers.py
fi

printf '\nThe figures are in %s\n' "$REEVE_BENCH_RESULTS"
