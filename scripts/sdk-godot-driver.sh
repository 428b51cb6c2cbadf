#!/usr/bin/env bash
# The Godot addon behind the conformance protocol, on the real engine:
#
#   muster-loadtest sdk-conformance --driver scripts/sdk-godot-driver.sh
#
# Run scripts/test-godot-addon.sh once before: it makes the copy of the project that this runs.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

work="$REPO_ROOT/target/godot/addon"
[ -d "$work/sdk-godot/.godot" ] || die "there is no copy of the addon's project; run scripts/test-godot-addon.sh first"
exec docker run --interactive --rm --init --network host --user "$(id -u):$(id -g)" --env HOME=/tmp \
    --volume "$work":/repo muster-test/godot:4 \
    godot --headless --path /repo/sdk-godot res://conformance/driver.tscn
