#!/usr/bin/env bash
# The example game through the whole line: eight headless Godot clients ask for a match, meet on one server, and play
# through the edge, seven by ENet and one by WebSocket. One is killed and comes back to its seat. Then the server drains.
#
#   scripts/test-godot-arena.sh [MUSTER]      (the program; target/debug/muster if not given)
#   scripts/test-godot-arena.sh --image       (only makes the game's image)
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/stack.sh"
cd "$REPO_ROOT"

IMAGE=muster-test/godot-arena:latest
PLAYERS=8
PLAY_S=30
MATCH_DEADLINE_S=90
DRAIN_DEADLINE_S=60

build_game() {
    # The addon is linked into the project; an image wants it itself.
    cp -RL examples/arena-godot/game "$results/image"
    run_logged "$REPO_ROOT/target/setup/docker-build.log" docker build --tag "$IMAGE" "$results/image"
}

push_game() {
    push_build "$IMAGE" arena-godot:latest
    muster fleet apply -f "$REPO_ROOT/examples/arena-godot/game/fleet.toml" >/dev/null || return
    # The players of the test are one match, so that all of them meet.
    sed "s/min = 1, max = 8/min = $PLAYERS, max = $PLAYERS/" examples/arena-godot/game/queue.toml >"$work/queue.toml"
    muster queue apply -f queue.toml >/dev/null || return
    wait_until "$READY_DEADLINE_S" "a ready server" server_is ready
}

# play NUMBER [ARGUMENT...]
play() {
    play_as "player-$1" "$IMAGE" -- --bot "player-$1" --seconds "$PLAY_S" --until-drained "${@:2}"
}

has_seat() { [ "$(grep -c '^seat: ' "$results/player-$1.log" 2>/dev/null)" = "${2:-1}" ]; }
all_have_seats() {
    local number
    for ((number = 1; number <= PLAYERS; number++)); do has_seat "$number" || return; done
}

seat_of() { sed -n 's/^seat: //p' "$results/player-1.log" | sed -n "$1p"; }

play_the_game() {
    local number players=()
    for ((number = 1; number <= PLAYERS; number++)); do
        if [ "$number" -eq "$PLAYERS" ]; then play "$number" --transport websocket & else play "$number" & fi
        players[number]=$!
    done
    wait_until "$MATCH_DEADLINE_S" "seats for all players" all_have_seats
    local began=$SECONDS

    # What is killed says nothing to anybody.
    docker kill "muster-$run-player-1" >/dev/null
    wait "${players[1]}" || true
    play 1 &
    players[1]=$!
    local killed_ms
    killed_ms="$(date +%s%3N)"
    wait_until "$MATCH_DEADLINE_S" "the return of the killed player" has_seat 1 2
    [ "$(seat_of 1)" = "$(seat_of 2)" ] ||
        die "the killed player sat in $(seat_of 1) and came back to $(seat_of 2)"
    # What is not the addon's is the container's and the engine's start, beside seven others on this machine.
    say "the killed player is back in its seat $(($(date +%s%3N) - killed_ms)) ms after it was started again," \
        "$(sed -n 's/^connected after: //p' "$results/player-1.log" | tail -n 1) of it by the addon"

    while [ "$((SECONDS - began))" -lt "$PLAY_S" ]; do sleep 0.5; done
    local server
    server="$(muster --json server ls --state allocated | grep -o 'srv_[a-z0-9]*' | head -n 1)"
    # Nothing warm: the server would be replaced.
    sed 's/warm = 1/warm = 0/' examples/arena-godot/game/fleet.toml >"$work/fleet.toml"
    muster fleet apply -f fleet.toml >/dev/null || return
    muster server logs "$server" --tail 1000 >"$results/server.log" 2>&1 || true
    muster server stop "$server" >/dev/null || return
    say "$server drains"

    local failed=0
    for ((number = 1; number <= PLAYERS; number++)); do wait "${players[number]}" || failed=$((failed + 1)); done
    grep -h '^{' "$results"/player-*.log || true
    [ "$failed" -eq 0 ] || die "$failed of $PLAYERS players failed; their logs are in $results"
    [ "$(grep -lh '"transport":"websocket"' "$results"/player-*.log | wc -l)" -eq 1 ] || die "nobody came by WebSocket"
    wait_until "$DRAIN_DEADLINE_S" "the server's end" server_has_ended "$server"
    grep -q "again=true" "$results/server.log" || die "the server did not see the killed player come back"
}

server_has_ended() { muster server show "$1" 2>/dev/null | grep -q stopped; }

begin_run godot-arena godot/arena
step "set up what is missing" scripts/setup.sh docker godot
step "build the image of arena-godot" build_game
[ "${1:-}" != --image ] || exit 0
MUSTER="$(realpath "${1:-target/debug/muster}")"
step "start Muster" start_stack
step "push the game; its server becomes ready" push_game
step "$PLAYERS players meet, one is killed and comes back, the server drains" play_the_game
