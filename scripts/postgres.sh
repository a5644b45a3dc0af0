#!/usr/bin/env bash
# postgres.sh COMMAND...: runs the command with a throw-away PostgreSQL server beside it, whose URL
# is in REEVE_TEST_POSTGRES_URL. When that is set already, the server it names is used. With
# REEVE_POSTGRES_DURABLE=1 it keeps its promises, as in production: to measure what they cost.
set -euo pipefail

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

if [ -n "${REEVE_TEST_POSTGRES_URL:-}" ]; then
    supervised "$@"
    exit
fi

[ -e "$choices/postgres-bin" ] || fail "PostgreSQL was not looked for yet: scripts/setup.sh test"
bin=$(cat "$choices/postgres-bin")
home=$(mktemp -d -t reeve-postgres.XXXXXX)
user=reeve
password=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')

# PostgreSQL refuses to run as root.
account=
if [ "$(id -u)" -eq 0 ]; then
    account=nobody
    id postgres >/dev/null 2>&1 && account=postgres
fi
as_server() (
    cd "$home"
    if [ -n "$account" ]; then runuser -u "$account" -- "$@"; else "$@"; fi
)

stop() {
    as_server "$bin/pg_ctl" -D "$home/data" -m immediate -w stop >/dev/null 2>&1 || true
    rm -rf "$home"
}
trap stop EXIT

printf '%s' "$password" >"$home/password"
[ -z "$account" ] || chown -R "$account" "$home"
as_server "$bin/initdb" -D "$home/data" -U $user --pwfile="$home/password" --auth=scram-sha-256 \
    --encoding=UTF8 --no-locale --no-sync >"$choices/logs/initdb.log" 2>&1 ||
    fail "initdb failed: $(tail -n 20 "$choices/logs/initdb.log")"

options="-c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_connections=300"
# Nothing here outlives the tests, so nothing waits for the disk.
[ -n "${REEVE_POSTGRES_DURABLE:-}" ] ||
    options="$options -c fsync=off -c synchronous_commit=off -c full_page_writes=off"

# Below the ports that the kernel hands out by itself; another attempt when one is taken.
started=
for _ in 1 2 3 4 5 6 7 8; do
    port=$((20000 + RANDOM % 12000))
    if as_server "$bin/pg_ctl" -D "$home/data" -l "$home/server.log" -w -t 60 \
        -o "$options -c port=$port" start >/dev/null 2>&1; then
        started=yes
        break
    fi
done
[ -n "$started" ] || fail "PostgreSQL did not start: $(tail -n 20 "$home/server.log")"

export REEVE_TEST_POSTGRES_URL=postgres://$user:$password@127.0.0.1:$port/postgres
supervised "$@"
