# shellcheck shell=bash
# A whole Muster for a test: `muster dev` in a directory of its own, on free ports. Sourced after lib.sh, never run. The
# caller sets
#
#   MUSTER     the program
#   results    where logs go
#   work       the stack's own directory
#
# and calls stop_stack at its end.
#
# shellcheck disable=SC2034,SC2154  # constants are for callers, and these variables are of theirs

# A busy machine gets more than it should need; nothing waits longer.
START_DEADLINE_S=60
# To transfer and load the image, and for an engine to start.
READY_DEADLINE_S=240

dev_pid=''

# wait_until SECONDS WHAT COMMAND...
wait_until() {
    local deadline=$((SECONDS + $1)) what="$2"
    shift 2
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || die "$what: not in time. Logs: $results"
        sleep 0.1
    done
}

# muster ARGUMENT...: the command line, of the stack in its directory.
muster() { (cd "$work" && "$MUSTER" "$@"); }

# free_port: one below those that systems hand out by themselves, with room for the stack's others behind it.
free_port() {
    local port
    while :; do
        port=$((RANDOM % 8000 + 22000))
        ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && printf '%s' "$port" && return
    done
}

# start_stack: sets MUSTER_URL, stack_port and dev_pid.
start_stack() {
    mkdir -p "$work"
    stack_port="$(free_port)"
    (cd "$work" && exec "$MUSTER" dev --port "$stack_port" --players-from "$((stack_port + 100))") \
        >"$results/muster.log" 2>&1 &
    dev_pid=$!
    wait_until "$START_DEADLINE_S" "Muster's start" test -s "$work/.muster/client.toml"
    export MUSTER_URL="http://127.0.0.1:$stack_port"
    wait_until "$START_DEADLINE_S" "the client token" test -s "$work/.muster/client-token"
    wait_until "$START_DEADLINE_S" "the node" node_is_ready
}

stop_stack() {
    if [ -n "$dev_pid" ] && kill -INT "$dev_pid" 2>/dev/null; then wait "$dev_pid" || true; fi
    dev_pid=''
}

node_is_ready() { muster node ls 2>/dev/null | grep -q ready; }

# push_build IMAGE TAG
push_build() {
    muster build push "$1" --tag "$2" >"$results/push.log" 2>&1 || die "push failed: $(tail -n 3 "$results/push.log")"
}

server_is() { muster --json server ls --all 2>/dev/null | grep -q "\"state\": *\"$1\""; }
