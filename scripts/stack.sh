# shellcheck shell=bash
# What scripts that play games share: a run with its results and nothing left at its end, a whole Muster (`muster dev` in a
# directory of its own, on free ports), and players in containers. Sourced after lib.sh, never run. The caller begins with
# begin_run, and sets MUSTER to the program.
#
# shellcheck disable=SC2034,SC2154  # constants are for callers, and MUSTER is theirs

# A busy machine gets more than it should need; nothing waits longer.
START_DEADLINE_S=60
# To transfer and load the image, and for an engine to start.
READY_DEADLINE_S=240

dev_pid=''

# begin_run NAME RESULTS [WORK]: sets run, which names it and is of this process alone, run_label, results, an empty directory
# of target, and work, the stack's own directory.
begin_run() {
    run="$1-$$"
    run_label="muster.test.run=$run"
    results="$REPO_ROOT/target/$2"
    work="${3:-$results/stack}"
    rm -rf "$results"
    mkdir -p "$results"
    trap end_run EXIT
}

# end_run: for a script whose end is more than this, too.
end_run() {
    remove_containers
    stop_stack
}

# remove_containers: those of the run.
remove_containers() {
    docker ps -aq --filter "label=$run_label" 2>/dev/null | xargs -r docker rm -f >/dev/null 2>&1 || true
}

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

# stop_allocated: takes away the servers of matches.
stop_allocated() {
    local server
    for server in $(muster --json server ls --state allocated | grep -o 'srv_[a-z0-9]*' | sort -u); do
        muster server stop "$server" >/dev/null || return
    done
}

# play_as NAME IMAGE ARGUMENT...: a player in a container of its own, which is called muster-$run-NAME, with a home that
# outlives it. What it prints is added to its log.
play_as() {
    local name="$1" image="$2"
    shift 2
    mkdir -p "$results/home-$name"
    docker run --rm --init --network host --label "$run_label" --name "muster-$run-$name" \
        --user "$(id -u):$(id -g)" --env HOME=/home --volume "$results/home-$name":/home \
        --env MUSTER_URL --env MUSTER_TOKEN="$(cat "$work/.muster/client-token")" \
        "$image" "$@" >>"$results/$name.log" 2>&1
}
