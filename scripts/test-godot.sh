#!/usr/bin/env bash
# Godot 4, in a container image made by debootstrap: the addon's unit tests; an unmodified game, played by headless
# clients first straight to the container, which proves the game and the image, then through Muster; the game that uses
# the addon; the quick start as its page has it; and figures, which are printed and judged by nobody.
#
#   scripts/test-godot.sh [--direct-only]
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/stack.sh"
cd "$REPO_ROOT"

IMAGE=muster-test/godot-plain:latest
# Godot's own start takes about a second; a busy machine gets more.
START_DEADLINE_S=30
ENET_CLIENTS=4
WS_CLIENTS=2

# build_game: the image of the game, with the user's Godot root under it.
build_game() {
    run_logged "$REPO_ROOT/target/setup/docker-build.log" docker build --tag "$IMAGE" examples/godot-plain
}

# play_client NAME ARGUMENT...: one client in a container of its own, as players have addresses of
# their own; its JSON line goes to a file.
play_client() {
    local name="$1"
    shift
    docker run --rm --label "$run_label" "$IMAGE" --client "$@" >"$results/$name.log" 2>&1
}

# direct_proof: clients straight to the container's bridge address, without Muster.
direct_proof() {
    local server address deadline=$((SECONDS + START_DEADLINE_S))
    server="$(docker run -d --label "$run_label" "$IMAGE")" || return
    until docker logs "$server" 2>&1 | grep -q '^listening:'; do
        if [ "$SECONDS" -ge "$deadline" ]; then
            docker logs "$server" >&2
            die "the Godot server does not listen after $START_DEADLINE_S s"
        fi
        sleep 0.2
    done
    address="$(docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$server")" || return

    local clients=() client number failed=0
    for ((number = 1; number <= ENET_CLIENTS; number++)); do
        play_client "enet-$number" --transport enet --address "$address" --port 7777 &
        clients+=($!)
    done
    for ((number = 1; number <= WS_CLIENTS; number++)); do
        play_client "ws-$number" --transport ws --url "ws://$address:7778" &
        clients+=($!)
    done
    for client in "${clients[@]}"; do wait "$client" || failed=$((failed + 1)); done
    grep -h '^{' "$results"/*.log || true
    if [ "$failed" -ne 0 ]; then
        docker logs "$server" >&2
        die "$failed of ${#clients[@]} Godot clients failed without Muster on the path; their output is in $results"
    fi
    remove_containers
}

begin_run godot-direct godot/plain
step "set up what is missing" scripts/setup.sh toolchain docker godot
step "run the addon's unit tests" scripts/test-godot-addon.sh
step "build the Godot game's image" build_game
step "play it directly: $ENET_CLIENTS over ENet, $WS_CLIENTS over WebSocket" direct_proof
if [ "${1:-}" != --direct-only ]; then
    step "build muster and its load test" cargo build --locked --workspace --bins
    step "play it through Muster" target/debug/muster-loadtest godot --muster target/debug/muster \
        --image "$IMAGE" --client-image "$IMAGE"
    step "play the game that uses the addon" scripts/test-godot-arena.sh target/debug/muster
    step "build the example game server's image" scripts/image.sh muster-example/arena:latest
    step "SDK conformance of the addon" target/debug/muster-loadtest sdk-conformance --muster target/debug/muster \
        --out target/godot/conformance --driver scripts/sdk-godot-driver.sh
    step "the quick start, to the letter" scripts/test-godot-quickstart.sh target/debug/muster
    step "what the addon costs, and how soon players are back" scripts/bench-godot.sh target/debug/muster
fi
