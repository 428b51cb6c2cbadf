#!/usr/bin/env bash
# What the Godot addon costs, and how soon a player is back, on the real engine and a whole Muster with two edges:
#
#   from asking for a match to the first call that its server answers
#   round trip through addon and edge, beside plain ENet straight to the container, in the same run
#   from the kill of an edge to the first call that another one's way answers
#   from a client's change of port to the first answer
#   from a client's kill to its seat and first answer, and what of it is the engine's start
#
#   scripts/bench-godot.sh [MUSTER]      (the program; target/debug/muster if not given)
#
# Figures are printed and written to target/godot/bench/figures.txt; nothing judges them.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/stack.sh"
cd "$REPO_ROOT"

IMAGE=muster-test/godot-bench:latest
ROUNDS=3
# For a player to find a match, and for whatever happens to it to be mended.
PLAY_DEADLINE_S=60
# The second edge's address; players reach either on loopback.
SECOND_EDGE=127.0.0.2

# Its servers are found, and taken away, by it.
namespace="bench/run-$$"
declare -A pids=()

clean_up() {
    end_run
    local process
    for process in "${pids[@]}"; do kill -INT "$process" 2>/dev/null || true; done
    # An agent leaves its servers running.
    docker ps -aq --filter "label=muster.namespace=$namespace" | xargs -r docker rm -f >/dev/null 2>&1 || true
    wait
}
build_image() {
    mkdir -p "$results/image"
    cp -R sdk-godot/. "$results/image"
    rm -rf "$results/image/.godot"
    run_logged "$REPO_ROOT/target/setup/docker-build.log" \
        docker build --tag "$IMAGE" --file "$results/image/bench/Dockerfile" "$results/image"
}

deploy() {
    push_build "$IMAGE" godot-bench:latest
    muster fleet apply -f "$REPO_ROOT/sdk-godot/bench/fleet.toml" >/dev/null || return
    muster queue apply -f "$REPO_ROOT/sdk-godot/bench/queue.toml" >/dev/null || return
    wait_until "$READY_DEADLINE_S" "a ready server" server_is ready
}

# background NAME ARGUMENT...: a process of Muster's.
background() {
    local name="$1"
    shift
    "$MUSTER" "$@" >>"$results/$name.log" 2>&1 &
    pids["$name"]=$!
}

join_token() { muster token create --join "$1" --region local 2>/dev/null | grep -o 'muster-join[^ ]*'; }

# start_parts: orchestrator and agent as processes of their own, since `muster dev` has one edge and no room for another.
start_parts() {
    mkdir -p "$work/.muster"
    stack_port="$(free_port)"
    export MUSTER_URL="http://127.0.0.1:$stack_port"
    background orchestrator orchestrator --data-dir "$work/orchestrator" --api-listen "127.0.0.1:$stack_port" \
        --link-listen "127.0.0.1:$((stack_port + 1))"
    wait_until "$START_DEADLINE_S" "the orchestrator" test -s "$work/orchestrator/admin-token"
    printf 'url = "%s"\ntoken = "%s"\nnamespace = "%s"\n' "$MUSTER_URL" \
        "$(cat "$work/orchestrator/admin-token")" "$namespace" >"$work/.muster/client.toml"
    wait_until "$START_DEADLINE_S" "the namespace" namespace_is_made
    muster token create --role client 2>/dev/null | grep -o 'mst_[^ ]*' >"$work/.muster/client-token" || return
    background agent agent --state-dir "$work/agent" --region local --orchestrator "127.0.0.1:$((stack_port + 1))" \
        --join-token "$(join_token agent)" --tunnel-listen "127.0.0.1:$((stack_port + 2))" --cpu-millis 4000
    wait_until "$START_DEADLINE_S" "the node" node_is_ready
    start_edge first 127.0.0.1
    start_edge second "$SECOND_EDGE"
    wait_until "$START_DEADLINE_S" "two edges" edges_are_connected 2
}

namespace_is_made() { muster namespace create "$namespace" >/dev/null 2>&1; }

# start_edge NAME ADDRESS: its identity is kept between starts. A server has the same port on all edges of its region.
start_edge() {
    local state="$work/$1" join=()
    [ -d "$state" ] || join=(--join-token "$(join_token edge)")
    background "$1" edge --state-dir "$state" --name "$1" --region local \
        --orchestrator "127.0.0.1:$((stack_port + 1))" --listen-ip "$2" --public-host "$2" \
        --port-first "$((stack_port + 100))" --port-last "$((stack_port + 199))" --beacon-port 0 "${join[@]}"
}

edges_are_connected() { [ "$(muster --json edges ls 2>/dev/null | grep -c '"connected": *true')" = "$1" ]; }

# player NAME ARGUMENT...
player() { play_as "$1" "$IMAGE" -- --player "$@"; }

now_ms() { date +%s%3N; }

# next_server: takes away the server of the match that is over; the next one becomes ready.
next_server() {
    stop_allocated || return
    wait_until "$READY_DEADLINE_S" "a ready server" server_is ready
}

# of NAME FIELD: the field in the last line of JSON of the player's that has it, without its fraction.
of() { grep -o "\"$2\":[^,}]*" "$results/$1.log" | tail -n 1 | sed 's/^[^:]*://; s/"//g; s/\..*//'; }

# has NAME FIELD COUNT: so many of the player's lines have the field.
has() {
    local lines
    lines="$(grep -c "\"$2\"" "$results/$1.log" 2>/dev/null)" || true
    [ "${lines:-0}" -ge "$3" ]
}

figure() { printf '%s\n' "$*" | tee -a "$figures"; }

measure_latency() {
    local server address
    server="$(muster --json server ls | grep -o 'srv_[a-z0-9]*' | head -n 1)"
    server="$(docker ps -q --filter "label=muster.server=$server")"
    address="$(docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$server")" || return
    player latency --latency --raw "$address" || { tail -n 5 "$results/latency.log" >&2 && return 1; }
    figure "round trip, p50: by addon and edge $(of latency sdk_p50_us) us, by plain ENet $(of latency raw_p50_us) us ($(of latency frames_per_s) frames a second)"
    figure "round trip, p99: by addon and edge $(of latency sdk_p99_us) us, by plain ENet $(of latency raw_p99_us) us"
}

change_ports() {
    next_server || return
    player router --change-port || { tail -n 5 "$results/router.log" >&2 && return 1; }
    figure "first answer after a change of the client's port, each: $(sed -n 's/.*"port_change_ms":\(\[[^]]*\]\).*/\1/p' "$results/router.log") ms"
    [ "$(of router seats)" = 1 ] || die "a change of port changed the seat"
}

kill_edges() {
    local round killed_ms name seat
    for ((round = 1; round <= ROUNDS; round++)); do
        next_server || return
        name="edge-$round"
        player "$name" --stay --first "$SECOND_EDGE" &
        local player_pid=$!
        wait_until "$PLAY_DEADLINE_S" "the player's seat" has "$name" answered_ms 1
        seat="$(of "$name" seat)"
        figure "first answer after a match was asked for, its server warm: $(($(of "$name" answered_ms) - $(of "$name" began_ms))) ms"
        # Some play before it, so that the engine's own estimate of the way has settled.
        sleep 2
        killed_ms="$(now_ms)"
        kill -KILL "${pids[second]}"
        wait "${pids[second]}" 2>/dev/null || true
        wait_until "$PLAY_DEADLINE_S" "an answer by another edge" has "$name" pause_to_ms 1
        figure "first answer after the kill of the edge: $(($(of "$name" pause_to_ms) - killed_ms)) ms"
        [ "$(of "$name" seat)" = "$seat" ] || die "the player sat in $seat and came back to $(of "$name" seat)"
        docker kill "muster-$run-$name" >/dev/null
        wait "$player_pid" || true
        start_edge second "$SECOND_EDGE"
        wait_until "$START_DEADLINE_S" "the second edge" edges_are_connected 2
    done
}

kill_clients() {
    local round began_ms killed_ms seat name=killed player_pid
    next_server || return
    player "$name" --stay &
    player_pid=$!
    wait_until "$PLAY_DEADLINE_S" "the player's seat" has "$name" answered_ms 1
    seat="$(of "$name" seat)"
    for ((round = 1; round <= ROUNDS; round++)); do
        # As above.
        sleep 2
        docker kill "muster-$run-$name" >/dev/null
        wait "$player_pid" || true
        killed_ms="$(now_ms)"
        player "$name" --stay &
        player_pid=$!
        wait_until "$PLAY_DEADLINE_S" "the player's return" has "$name" answered_ms "$((round + 1))"
        began_ms="$(of "$name" began_ms)"
        figure "back after a client's kill: engine's and container's start $((began_ms - killed_ms)) ms," \
            "then its seat after $(($(of "$name" seat_ms) - began_ms)) ms, first answer after $(($(of "$name" answered_ms) - began_ms)) ms"
        [ "$(of "$name" seat)" = "$seat" ] || die "the player sat in $seat and came back to $(of "$name" seat)"
    done
    docker kill "muster-$run-$name" >/dev/null
    wait "$player_pid" || true
}

begin_run godot-bench godot/bench
trap clean_up EXIT
figures="$results/figures.txt"
step "set up what is missing" scripts/setup.sh docker godot
step "build the benchmark's image" build_image
MUSTER="$(realpath "${1:-target/debug/muster}")"
step "start Muster with two edges" start_parts
step "push the benchmark's server; it becomes ready" deploy
step "measure round trips" measure_latency
step "change a client's port" change_ports
step "kill an edge, $ROUNDS times" kill_edges
step "kill a client, $ROUNDS times" kill_clients
