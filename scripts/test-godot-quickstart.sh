#!/usr/bin/env bash
# The quick start of docs/sdk/godot.md, to the letter, in an empty project: its files are taken from the page, the addon is
# enabled in the editor, the image is built and deployed, and two players are greeted. Then the editor runs the project in the
# place of a server, as the dock's Attach does, and two more are greeted by that one.
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
# For the editor to start, the fleet to be replaced, and the project to start.
ATTACH_DEADLINE_S=240
# An editor that hangs is ended.
EDITOR_DEADLINE_S=120

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

# by_hand <SCRIPT: an addon that does in the editor what a person would, for as long as it is there.
by_hand() {
    mkdir -p "$work/addons/hand"
    printf '[plugin]\n\nname="hand"\ndescription=""\nauthor=""\nversion="1"\nscript="plugin.gd"\n' \
        >"$work/addons/hand/plugin.cfg"
    cat >"$work/addons/hand/plugin.gd"
}

# enable_addon: what the box in Project Settings does.
enable_addon() {
    by_hand <<'HAND'
@tool
extends EditorPlugin


func _enter_tree() -> void:
	await get_tree().create_timer(1.0).timeout
	EditorInterface.set_plugin_enabled("muster", true)
	ProjectSettings.save()
	get_tree().quit()
HAND
    in_godot --editor || return
    grep -q '^Muster="\*' "$work/project.godot" || die "enabling the addon makes no autoload; the editor's log is in $results"
    rm -rf "$work/addons/hand"
    sed -i 's#"res://addons/hand/plugin.cfg", *##' "$work/project.godot"
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

# play ROUND: two players in containers of their own, until each is greeted.
play() {
    local number
    for number in 1 2; do
        docker run --detach --init --network host --label "$run_label" --name "muster-$run-$1-$number" \
            --env MUSTER_URL --env MUSTER_TOKEN="$(cat "$work/.muster/client-token")" "$IMAGE" >/dev/null || return
    done
    wait_until "$PLAY_DEADLINE_S" "two greetings" both_are_greeted "$1"
}

both_are_greeted() {
    local number
    for number in 1 2; do
        docker logs "muster-$run-$1-$number" >"$results/player-$1-$number.log" 2>&1
        grep -q '^hello player-' "$results/player-$1-$number.log" || return
    done
}

# attach: the dock's part that does it, with the stack of this script instead of one that the dock has started.
attach() {
    by_hand <<'HAND'
@tool
extends EditorPlugin

const LocalStack := preload("res://addons/muster/editor/local_stack.gd")
const ServerList := preload("res://addons/muster/editor/server_list.gd")
const Attachment := preload("res://addons/muster/editor/attachment.gd")


class Stack:
	extends LocalStack

	func is_running() -> bool:
		return true


func _enter_tree() -> void:
	var stack := Stack.new()
	stack._look_for_address()
	var servers := ServerList.new()
	var attachment := Attachment.new()
	servers.stack = stack
	attachment.stack = stack
	add_child(servers)
	add_child(attachment)
	servers.listed.connect(func(list: Array, _why: String) -> void: attachment.look(list))
	attachment.said.connect(func(text: String) -> void: print(text))
	print("fault: ", attachment.attach())
HAND
    # There is no screen for what the editor starts, either.
    printf '\n[editor]\n\nrun/main_run_args="--headless"\n' >>"$work/project.godot"
    sed -i 's#enabled=PackedStringArray(#&"res://addons/hand/plugin.cfg", #' "$work/project.godot"
    docker run --detach --init --network host --label "$run_label" --name "muster-$run-editor" \
        --user "$(id -u):$(stat -c %g /var/run/docker.sock)" --env HOME=/tmp --volume "$work":/game \
        --volume /var/run/docker.sock:/var/run/docker.sock --volume "$(command -v docker)":/usr/local/bin/docker:ro \
        --volume "$MUSTER":/usr/local/bin/muster:ro "$GODOT" godot --headless --editor --path /game >/dev/null || return
    wait_until "$ATTACH_DEADLINE_S" "the editor's server in its place" attached_is ready
}

# attached_is STATE: the server whose place the editor's project has is in this state.
attached_is() {
    docker logs "muster-$run-editor" >"$results/editor.log" 2>&1
    local server
    server="$(sed -n 's/.*in the place of \(srv_[a-z0-9]*\).*/\1/p' "$results/editor.log")"
    [ -n "$server" ] && muster --json server show "$server" 2>/dev/null | grep -q "\"state\": *\"$1\""
}

play_attached() {
    play attached || return
    attached_is allocated || die "the players were not on the editor's server; its log is $results/editor.log"
}

# `muster dev` is started in the project.
begin_run godot-quickstart godot/quickstart "$REPO_ROOT/target/godot/quickstart/game"
step "set up what is missing" scripts/setup.sh docker godot
MUSTER="$(realpath "${1:-target/debug/muster}")"
step "make the project of the quick start" make_project
step "enable the addon in the editor" enable_addon
step "start Muster" start_stack
step "build, push and apply" deploy
step "two players are greeted" play first
step "the editor runs the project in a server's place" attach
step "two players are greeted by that one" play_attached
