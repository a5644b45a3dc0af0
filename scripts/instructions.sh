#!/usr/bin/env bash
# Counts the instructions of what the filter does for each request (crates/exchange/benches), natively
# and in the release profile, and prints the table of docs/cost.md. Not a test: nothing fails.
#   instructions.sh [FILTER]     FILTER: a part of the names
#   instructions.sh annotate NAME    where the instructions of one are spent
set -euo pipefail

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
step_total=1

have valgrind || fail "valgrind is missing: apt-get install valgrind"

# Line tables are for `annotate`; they change no instruction.
step "bench" env CARGO_PROFILE_BENCH_DEBUG=line-tables-only CARGO_PROFILE_BENCH_STRIP=none \
    cargo bench --package reeve-exchange --bench instructions --no-run
program=$(sed -n 's/.*Executable.*(\(.*\)).*/\1/p' "$logs/bench.log")
case $program in /*) ;; *) program=$root/$program ;; esac

# counted NAME REPETITIONS: all instructions of the process.
counted() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$1" "$2" 2>&1 |
        sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}

if [ "${1:-}" = annotate ]; then
    name=${2:?usage: instructions.sh annotate NAME}
    out=$(mktemp)
    trap 'rm -f "$out"' EXIT
    valgrind --quiet --tool=callgrind --callgrind-out-file="$out" "$program" "$name" 1000
    # By function; what was inlined counts for the function that it was inlined into.
    callgrind_annotate "$out" | sed -n 's/^ *\([0-9,]*\) ([^)]*)  [^ ]*:\([a-z_A-Z<].*\)/\1 \2/p' |
        awk '{ n = $1; gsub(",", "", n); $1 = ""; sub(/ \[.*/, ""); sum[$0] += n }
             END { for (f in sum) printf "%9d %s\n", sum[f] / 1000, f }' | sort -rn | head -n 30
    exit
fi

printf '| what | bytes | instructions | per byte |\n|---|---:|---:|---:|\n'
"$program" | while read -r line; do
    name=${line% *} bytes=${line##* }
    case $name in *"${1:-}"*) ;; *) continue ;; esac
    repetitions=$((bytes > 100000 ? 4 : 100))
    once=$(counted "$name" "$repetitions")
    twice=$(counted "$name" $((repetitions * 2)))
    each=$(((twice - once) / repetitions))
    per_byte=
    [ "$bytes" -lt 1000 ] || per_byte=$(awk "BEGIN { printf \"%.2f\", $each / $bytes }")
    printf '| %s | %s | %s | %s |\n' "$name" "$bytes" "$each" "$per_byte"
done
