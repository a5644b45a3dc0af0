#!/usr/bin/env bash
# Unit and property tests: natively, with every store on SQLite and on PostgreSQL, and those of the
# pure crates once more on wasm32, which is where they run in production.
set -euo pipefail

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
step_total=2

passed() { awk '/^test result:/ { sum += $4 } END { print sum + 0 }' "$1"; }

native=(--workspace --exclude reeve-filter)
pure=(--package reeve-policy --package reeve-llm --package reeve-guardrails --package reeve-exchange)

step "native tests: build" cargo test "${native[@]}" --no-run
supervised "$root/scripts/postgres.sh" cargo test "${native[@]}" --quiet 2>&1 | tee "$logs/unit.log"
step "wasm32 tests: build" "$root/scripts/wasm.sh" test "${pure[@]}" --no-run
# Its runner knows no --quiet.
supervised "$root/scripts/wasm.sh" test "${pure[@]}" 2>&1 | tee "$logs/unit-wasm.log" |
    grep --line-buffered -v -e '\.\.\. ok$' -e '^$'

echo "unit: $(passed "$logs/unit.log") tests passed natively, $(passed "$logs/unit-wasm.log") on wasm32"
