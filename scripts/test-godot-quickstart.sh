#!/usr/bin/env bash
# The quick start of docs/sdk/godot.md, to the letter, in an empty project: its files are taken from the page, the addon is
# enabled in the editor, the image is built and deployed, and two players are greeted.
#
#   scripts/test-godot-quickstart.sh [MUSTER]      (the program; target/debug/muster if not given)
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/stack.sh"
cd "$REPO_ROOT"

GODOT=muster-test/godot:4
PAGE=docs/sdk/godot.md
IMAGE=my-game
PLAY_DEADLINE_S=60
# An editor that hangs is ended.
EDITOR_DEADLINE_S=120

run_label="muster.test.run=godot-quickstart-$$"
results="$REPO_ROOT/target/godot/quickstart"
# `muster dev` is started in the project.
work="$results/game"

clean_up() {
    docker ps -aq --filter "label=$run_label" | xargs -r docker rm -f >/dev/null 2>&1 || true
    stop_stack
}
trap clean_up EXIT

# block LANGUAGE [NUMBER]: the page's block of code of that language, without the list's indent.
block() {
    awk -v fence="   \`\`\`$1" -v wanted="${2:-1}" '
        !inside && $0 == fence { inside = 1; count++; next }
        inside && $0 == "   ```" { inside = 0; next }
        inside && count == wanted { sub(/^   /, ""); print }
    ' "$PAGE"
}

make_project() {
    mkdir -p "$work/addons"
    cp -R sdk-godot/addons/muster "$work/addons/"
    block gdscript >"$work/main.gd"
    block dockerfile >"$work/Dockerfile"
    block toml 1 >"$work/fleet.toml"
    block toml 2 >"$work/queue.toml"
    printf '.godot\n.muster\n' >"$work/.dockerignore"
    cat >"$work/main.tscn" <<'SCENE'
[gd_scene load_steps=2 format=3]

[ext_resource type="Script" path="res://main.gd" id="1"]

[node name="Main" type="Node"]
script = ExtResource("1")
SCENE
    cat >"$work/project.godot" <<'PROJECT'
config_version=5

[application]

config/name="my-game"
run/main_scene="res://main.tscn"
run/max_fps=60

[editor_plugins]

enabled=PackedStringArray("res://addons/hand/plugin.cfg")
PROJECT
    local file
    for file in main.gd Dockerfile fleet.toml queue.toml; do
        [ -s "$work/$file" ] || die "$PAGE has no $file any more, or not as this script looks for it"
    done
}

# enable_addon: what the box in Project Settings does, by the hand of an addon that is taken away again.
enable_addon() {
    mkdir -p "$work/addons/hand"
    printf '[plugin]\n\nname="hand"\ndescription=""\nauthor=""\nversion="1"\nscript="plugin.gd"\n' \
        >"$work/addons/hand/plugin.cfg"
    cat >"$work/addons/hand/plugin.gd" <<'HAND'
@tool
extends EditorPlugin


func _enter_tree() -> void:
	await get_tree().create_timer(1.0).timeout
	EditorInterface.set_plugin_enabled("muster", true)
	ProjectSettings.save()
	get_tree().quit()
HAND
    in_godot --editor || return
    rm -rf "$work/addons/hand"
    sed -i 's#"res://addons/hand/plugin.cfg", *##' "$work/project.godot"
    grep -q '^Muster="\*' "$work/project.godot" || die "enabling the addon makes no autoload; the editor's log is in $results"
}

# in_godot ARGUMENT...: Godot without a screen, on the project.
in_godot() {
    run_logged "$results/godot.log" timeout "$EDITOR_DEADLINE_S" docker run --rm --init --label "$run_label" \
        --user "$(id -u):$(id -g)" --env HOME=/tmp --volume "$work":/game "$GODOT" godot --headless --path /game "$@"
}

deploy() {
    run_logged "$results/docker.log" docker build --tag "$IMAGE" "$work" || return
    push_build "$IMAGE" my-game:latest
    muster fleet apply -f fleet.toml >/dev/null || return
    muster queue apply -f queue.toml >/dev/null || return
    wait_until "$READY_DEADLINE_S" "a ready server" server_is ready
}

play() {
    local number
    for number in 1 2; do
        docker run --detach --init --network host --label "$run_label" --name "muster-quickstart-$$-$number" \
            --env MUSTER_URL --env MUSTER_TOKEN="$(cat "$work/.muster/client-token")" "$IMAGE" >/dev/null || return
    done
    wait_until "$PLAY_DEADLINE_S" "two greetings" both_are_greeted
}

both_are_greeted() {
    local number
    for number in 1 2; do
        docker logs "muster-quickstart-$$-$number" >"$results/player-$number.log" 2>&1
        grep -q '^hello player-' "$results/player-$number.log" || return
    done
}

rm -rf "$results"
mkdir -p "$results"
step "set up what is missing" scripts/setup.sh docker godot
MUSTER="$(realpath "${1:-target/debug/muster}")"
step "make the project of the quick start" make_project
step "enable the addon in the editor" enable_addon
step "start Muster" start_stack
step "build, push and apply" deploy
step "two players are greeted" play
