#!/usr/bin/env bash
# The Unity package without the Unity editor, on Mono. Its core is compiled and unit-tested, its glue compiled against stubs
# of the engine; then it plays through a whole Muster: the SDK conformance suite, and the arena of examples/arena-unity as
# server in real containers and as clients. What a compiler can hold is held: C# 7.2, warnings as errors, an XML comment on
# everything public.
#
#   scripts/test-unity.sh [--unit-only]
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/stack.sh"
cd "$REPO_ROOT"

NUNIT=/usr/lib/cli/nunit.framework-2.6.3/nunit.framework.dll
image='muster-example/arena-unity:latest'
PLAYERS=4
MOVES=20
build="$REPO_ROOT/target/unity"

# csharp TARGET OUTPUT ARGUMENT...: compiles as Unity's oldest supported editor would, or stricter.
csharp() {
    local kind="$1" output="$2"
    shift 2
    mcs -langversion:7.2 -warn:4 -warnaserror -debug -target:"$kind" -out:"$build/$output" "$@"
}

# sources DIRECTORY: C# files, without those in directories that Unity does not look into.
sources() { (cd "$1" && find "$PWD" -name '*.cs' -not -path "$PWD/*~/*" | sort); }

build_core() {
    local files
    mapfile -t files < <(sources sdk-unity/Runtime/Core)
    csharp library Muster.Core.dll -doc:"$build/Muster.Core.xml" -r:System.Net.Http.dll -r:System.Numerics.dll \
        "${files[@]}" || return
    # What the editor's window is made of, as far as it needs no engine.
    csharp library Muster.Editor.Core.dll -doc:"$build/Muster.Editor.Core.xml" -r:"$build/Muster.Core.dll" \
        sdk-unity/Editor/Core/*.cs
}

# Fields that the inspector sets are set by nobody else, and events of stubs are raised by nobody.
build_glue() {
    local core="-r:$build/Muster.Core.dll" stubs="-r:$build/UnityStubs.dll" unity="-r:$build/Muster.Unity.dll" sample
    csharp library UnityStubs.dll -nowarn:1591,67,649,414 sdk-unity/Tests/Stubs~/*.cs || return
    csharp library Muster.Unity.dll -doc:"$build/Muster.Unity.xml" "$core" "$stubs" sdk-unity/Runtime/Unity/*.cs || return
    csharp library Muster.Unity.Web.dll -define:UNITY_WEBGL "$core" "$stubs" sdk-unity/Runtime/Unity/*.cs || return
    csharp library Muster.Editor.dll -define:UNITY_EDITOR "$core" -r:"$build/Muster.Editor.Core.dll" "$stubs" "$unity" \
        sdk-unity/Editor/*.cs || return
    csharp library Muster.Netcode.dll -doc:"$build/Muster.Netcode.xml" "$core" "$stubs" "$unity" \
        sdk-unity/Runtime/Netcode/*.cs || return
    for sample in sdk-unity/Samples~/*/; do
        csharp library "Sample.$(basename "$sample").dll" "$core" "$stubs" "$unity" -r:"$build/Muster.Netcode.dll" \
            "$sample"*.cs || return
    done
}

build_tests() {
    local files
    mapfile -t files < <(sources sdk-unity/Tests/Core)
    csharp library Muster.Core.Tests.dll -r:"$build/Muster.Core.dll" -r:"$build/Muster.Editor.Core.dll" -r:"$NUNIT" \
        "${files[@]}"
}

run_tests() {
    (cd "$build" && MUSTER_VECTORS="$REPO_ROOT/protocol/vectors" nunit-console -nologo -noresult Muster.Core.Tests.dll)
}

build_programs() {
    local core="-r:$build/Muster.Core.dll"
    csharp exe Muster.Driver.exe "$core" sdk-unity/Tests/Driver~/*.cs || return
    csharp exe Muster.Attach.exe "$core" -r:"$build/Muster.Editor.Core.dll" sdk-unity/Tests/Attach~/*.cs || return
    csharp exe arena-server.exe "$core" examples/arena-unity/Server/*.cs || return
    csharp exe arena-client.exe "$core" examples/arena-unity/Client/*.cs
}

deploy_example() {
    cp examples/arena-unity/*.toml "$work/"
    push_build "$image" arena-unity:latest
    muster fleet apply -f fleet.toml && muster queue apply -f queue.toml
}

# play_example PLAYERS
play_example() {
    mono "$build/arena-client.exe" "$MUSTER_URL" "$(cat "$work/.muster/client-token")" unity "$1" "$MOVES" || {
        (muster server ls && muster status) >&2
        return 1
    }
}

# attach: what the window's button does, with a program of Mono's in the place of the project that the editor plays.
attach() {
    # The servers of the matches before have this machine's room for others.
    stop_allocated || return
    cp "$work/fleet.toml" "$work/muster-fleet.toml"
    # It goes on until its input ends.
    exec {attached_input}> >(exec mono "$build/Muster.Attach.exe" "$work" "$MUSTER" mono "$build/arena-server.exe" \
        >"$results/attached.log" 2>&1)
    attached_pid=$!
    wait_until "$READY_DEADLINE_S" "the place of a server" grep -q '^in the place of ' "$results/attached.log"
    attached_server="$(sed -n 's/^in the place of //p' "$results/attached.log")"
    wait_until "$READY_DEADLINE_S" "no other server that is ready" only_the_attached_is_ready
    has_stand_ins || die "the fleet does not say that its servers stand in"
}

only_the_attached_is_ready() {
    [ "$(muster --json server ls --state ready 2>/dev/null | grep -o '"id": *"srv_[a-z0-9]*"')" = "\"id\": \"$attached_server\"" ]
}

# play_attached: the players meet on the program outside of any container.
play_attached() {
    play_example 2 || return
    [ "$(grep -c '^join player=' "$results/attached.log")" -ge 2 ] ||
        die "the players were not on the attached server; its log is $results/attached.log"
}

detach() {
    exec {attached_input}>&-
    wait "$attached_pid" || die "detaching failed; the log is $results/attached.log"
    ! has_stand_ins || die "the fleet still has servers stand in"
}

has_stand_ins() { muster --json fleet ls | grep -q STAND_IN_OF_MUSTER; }

step "set up what is missing" scripts/setup.sh unity
mkdir -p "$build"
step "Unity's .meta files" scripts/unity-metas.sh --check
step "compile the core" build_core
step "compile glue, editor, adapters and samples against stubs of the engine" build_glue
step "compile the unit tests" build_tests
step "run the unit tests on Mono" run_tests
step "compile driver and example" build_programs
[ "${1:-}" != --unit-only ] || exit 0

step "set up Docker" scripts/setup.sh toolchain docker
step "build muster and its load test" cargo build --locked --workspace --bins
MUSTER="$(cd "${CARGO_TARGET_DIR:-target}/debug" && pwd)/muster"
step "build the example game server's image" scripts/image.sh muster-example/arena:latest
step "SDK conformance" "$MUSTER-loadtest" sdk-conformance --muster "$MUSTER" --out "$build/conformance" \
    --driver "mono $build/Muster.Driver.exe"
step "build the Unity arena's image" scripts/mono-image.sh "$build" "$image"
begin_run unity unity/results
step "start Muster" start_stack
step "push the Unity arena" deploy_example
step "play it: $PLAYERS players, UDP and WebSocket" play_example "$PLAYERS"
step "a program outside of containers takes a server's place" attach
step "two players meet on it" play_attached
step "the fleet is as before" detach
