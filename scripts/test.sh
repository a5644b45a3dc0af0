#!/usr/bin/env bash
# Every check and every test there is, the quick ones first; the first failure ends it.
set -euo pipefail

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

summary=
phase() {
    local name=$1 started=$SECONDS
    shift
    printf '\n== %s\n' "$name"
    if ! supervised "$@"; then
        printf '\n%s%s: FAILED after %s s\n' "$summary" "$name" $((SECONDS - started))
        exit 1
    fi
    summary="$summary$name: $((SECONDS - started)) s
"
}

begun=$SECONDS
phase "set-up" "$root/scripts/setup.sh" test
phase "check" "$root/scripts/check.sh"
phase "unit" "$root/scripts/unit.sh"
phase "fuzz" "$root/scripts/fuzz.sh" short
phase "end to end" "$root/scripts/e2e.sh"
printf '\n%sall: %s s\n' "$summary" $((SECONDS - begun))
