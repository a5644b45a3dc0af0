# Shared by the scripts of this folder; to be sourced, with bash 3.2 (macOS) in mind.
# shellcheck shell=bash disable=SC2034 # what is assigned here is used by those that source it

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit 1

# Downloads live outside the checkout, so that a fresh clone is quick. What was chosen for this
# checkout (which wasm toolchain, which Envoy) is written to .tools/.
REEVE_TOOLS=${REEVE_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/reeve}
choices=$root/.tools
target_dir=${CARGO_TARGET_DIR:-$root/target}
case $target_dir in /*) ;; *) target_dir=$root/$target_dir ;; esac
logs=$choices/logs
mkdir -p "$choices" "$logs" "$REEVE_TOOLS"

# REEVE_STEP and REEVE_STEPS carry the count over when one script calls another.
step_number=${REEVE_STEP:-0}
step_total=${REEVE_STEPS:-0}

fail() {
    printf '\n%s\n' "$*" >&2
    exit 1
}

have() { type -P "$1" >/dev/null; }

# step LABEL COMMAND...: runs the command with its output in a log, shows that it moves, and prints
# one line with the seconds it took. The log is shown only when the command fails.
step() {
    local label=$1 log started=$SECONDS child status=0 shown=$SECONDS last
    shift
    step_number=$((step_number + 1))
    local head="[$step_number/$step_total] $label"
    log=$logs/$(printf '%s' "$label" | tr -c 'a-zA-Z0-9' '-').log
    set -m # a process group of its own, so that Ctrl-C reaches the compilers too
    "$@" >"$log" 2>&1 </dev/null &
    child=$!
    set +m
    trap 'kill -- "-$child" 2>/dev/null; echo; exit 130' INT
    trap 'kill -- "-$child" 2>/dev/null; exit 143' TERM
    while kill -0 "$child" 2>/dev/null; do
        sleep 0.1
        [ $((SECONDS - shown)) -lt "$(progress_every)" ] && continue
        shown=$SECONDS
        last=$(tail -n 1 "$log" | tr -d '\r' | cut -c 1-50)
        if [ -t 1 ]; then
            printf '\r\033[K%s  %s s  %s' "$head" $((SECONDS - started)) "$last"
        else
            printf '%s  ... %s s  %s\n' "$head" $((SECONDS - started)) "$last"
        fi
    done
    wait "$child" || status=$?
    trap - INT TERM
    [ -t 1 ] && printf '\r\033[K'
    if [ "$status" -ne 0 ]; then
        printf '%s  failed after %s s\n' "$head" $((SECONDS - started))
        tail -n 60 "$log" >&2
        fail "The whole output is in ${log#"$root"/}"
    fi
    note=$(sed -n 's/^reeve-note: //p' "$log" | tail -n 1)
    printf '%s  %s s%s\n' "$head" $((SECONDS - started)) "${note:+  ($note)}"
}

# supervised COMMAND...: in the foreground, its output shown. A signal to this script interrupts the
# command and waits for it to clean up after itself.
supervised() {
    local child status=0
    set -m
    "$@" </dev/null &
    child=$!
    set +m
    trap 'kill -INT -- "-$child" 2>/dev/null' INT TERM
    wait "$child" || status=$?
    # A signal ends `wait` early.
    while kill -0 "$child" 2>/dev/null; do
        status=0
        wait "$child" || status=$?
    done
    trap - INT TERM
    return "$status"
}

# A terminal sees every second that something moves; a log file only now and then.
progress_every() { if [ -t 1 ]; then echo 1; else echo 20; fi; }

# Printed behind the step's time.
note() { printf 'reeve-note: %s\n' "$*"; }

# at_least VERSION MINIMUM: compares dotted numbers.
at_least() {
    local a b i
    IFS=. read -r -a a <<<"$1"
    IFS=. read -r -a b <<<"$2"
    for i in 0 1 2; do
        [ "${a[i]:-0}" -gt "${b[i]:-0}" ] && return 0
        [ "${a[i]:-0}" -lt "${b[i]:-0}" ] && return 1
    done
    return 0
}

# build_binary NAME: for development. The test among the targets makes cargo unite the features of
# dependencies as `cargo test` does; otherwise it would build half of them twice.
build_binary() {
    cargo build --workspace --exclude reeve-filter --bin "$1" --test round_trip
}

# The version of a package in Cargo.lock.
locked_version() {
    awk -v name="$1" '$1 == "name" { found = ($3 == "\"" name "\"") }
        found && $1 == "version" { gsub(/"/, "", $3); print $3; exit }' "$root/Cargo.lock"
}

# as_root COMMAND...: without ever asking for a password.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif have sudo && sudo -n true 2>/dev/null; then
        sudo -n "$@"
    else
        return 1
    fi
}

# apt_install PACKAGE...: false when this is not Debian, or we may not.
apt_install() {
    have apt-get || return 1
    as_root true || return 1
    as_root apt-get -o DPkg::Lock::Timeout=120 update -qq || return 1
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -o DPkg::Lock::Timeout=120 install -y --no-install-recommends "$@"
}

# in_time SECONDS COMMAND...: macOS has no `timeout`.
in_time() {
    if have timeout; then timeout "$@"; else
        shift
        "$@"
    fi
}

# Where the PostgreSQL server programs are; Debian keeps them off the PATH.
postgres_bin() {
    local dir found=
    if have initdb; then
        dirname "$(type -P initdb)"
        return
    fi
    for dir in /usr/lib/postgresql/*/bin /opt/homebrew/opt/postgresql*/bin \
        /usr/local/opt/postgresql*/bin; do
        [ -x "$dir/initdb" ] && found=$dir
    done
    [ -n "$found" ] && echo "$found"
}
