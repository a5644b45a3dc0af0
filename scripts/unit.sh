#!/usr/bin/env bash
# Unit and property tests: natively, with every store on SQLite and on PostgreSQL, and those of the
# pure crates once more on wasm32, which is where they run in production. Then our readers of bodies
# beside those of others.
set -euo pipefail

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
step_total=3

passed() { awk '/^test result:/ { sum += $4 } END { print sum + 0 }' "$1"; }

native=(--workspace --exclude reeve-filter)
pure=(--package reeve-policy --package reeve-llm --package reeve-guardrails --package reeve-exchange)

step "native tests: build" cargo test "${native[@]}" --no-run
supervised "$root/scripts/postgres.sh" cargo test "${native[@]}" --quiet 2>&1 | tee "$logs/unit.log"
step "wasm32 tests: build" "$root/scripts/wasm.sh" test "${pure[@]}" --no-run
# Its runner knows no --quiet.
supervised "$root/scripts/wasm.sh" test "${pure[@]}" 2>&1 | tee "$logs/unit-wasm.log" |
    grep --line-buffered -v -e '\.\.\. ok$' -e '^$'

step "readers of bodies: build" cargo build --package reeve-llm --example judge_bodies
export REEVE_JUDGE_BODIES=$target_dir/debug/examples/judge_bodies
export REEVE_NODE_READER=$root/tests/parsers/node_reader.mjs
REEVE_NODE_PACKAGES=$(cat "$choices/node-tests")
export REEVE_NODE_PACKAGES PYTHONDONTWRITEBYTECODE=1
supervised "$(cat "$choices/python")" -m pytest -c tests/pytest.ini tests/parsers -n 2 --quiet

echo "unit: $(passed "$logs/unit.log") tests passed natively, $(passed "$logs/unit-wasm.log") on wasm32"
