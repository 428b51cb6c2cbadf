#!/usr/bin/env bash
# The Unity package without the Unity editor, on Mono. Its core is compiled and unit-tested, its glue compiled against stubs
# of the engine; then the arena of examples/arena-unity plays through a whole Muster, as server in real containers and as
# clients. What a compiler can hold is held: C# 7.2, warnings as errors, an XML comment on everything public.
#
#   scripts/test-unity.sh [--unit-only]
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$REPO_ROOT"

NUNIT=/usr/lib/cli/nunit.framework-2.6.3/nunit.framework.dll
image='muster-example/arena-unity:latest'
PLAYERS=4
MOVES=20
# How long `muster dev` may take to be up, on a busy machine.
UP_DEADLINE_S=60
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
    csharp library Muster.Core.dll -doc:"$build/Muster.Core.xml" -r:System.Net.Http.dll -r:System.Numerics.dll "${files[@]}"
}

# Fields that the inspector sets are set by nobody else, and events of stubs are raised by nobody.
build_glue() {
    local core="-r:$build/Muster.Core.dll" stubs="-r:$build/UnityStubs.dll" unity="-r:$build/Muster.Unity.dll" sample
    csharp library UnityStubs.dll -nowarn:1591,67,649,414 sdk-unity/Tests/Stubs~/*.cs || return
    csharp library Muster.Unity.dll -doc:"$build/Muster.Unity.xml" "$core" "$stubs" sdk-unity/Runtime/Unity/*.cs || return
    csharp library Muster.Unity.Web.dll -define:UNITY_WEBGL "$core" "$stubs" sdk-unity/Runtime/Unity/*.cs || return
    csharp library Muster.Editor.dll -define:UNITY_EDITOR "$core" "$stubs" "$unity" sdk-unity/Editor/*.cs || return
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
    csharp library Muster.Core.Tests.dll -r:"$build/Muster.Core.dll" -r:"$NUNIT" "${files[@]}"
}

run_tests() {
    (cd "$build" && MUSTER_VECTORS="$REPO_ROOT/protocol/vectors" nunit-console -nologo -noresult Muster.Core.Tests.dll)
}

build_programs() {
    local core="-r:$build/Muster.Core.dll"
    csharp exe Muster.Driver.exe "$core" sdk-unity/Tests/Driver~/*.cs || return
    csharp exe arena-server.exe "$core" examples/arena-unity/Server/*.cs || return
    csharp exe arena-client.exe "$core" examples/arena-unity/Client/*.cs
}

# start_stack: `muster dev` in a directory of its own, on ports that are free; sets url and dev_pid.
start_stack() {
    local port tries log="$build/dev/muster.log" deadline=$((SECONDS + UP_DEADLINE_S))
    rm -rf "${build:?}/dev"
    mkdir -p "$build/dev"
    for tries in 1 2 3 4 5; do
        # Below the ports that systems hand out by themselves.
        port=$((12000 + RANDOM % 8000))
        (cd "$build/dev" && exec "$muster" dev --port "$port" --players-from $((port + 10))) >"$log" 2>&1 &
        dev_pid=$!
        url="http://127.0.0.1:$port"
        until grep -q 'Muster is up' "$log"; do
            if ! kill -0 "$dev_pid" 2>/dev/null; then
                grep -q 'taken' "$log" && continue 2
                break
            fi
            [ "$SECONDS" -lt "$deadline" ] || break
            sleep 0.2
        done
        break
    done
    grep -q 'Muster is up' "$log" || { cat "$log" >&2; die "muster dev did not come up after $tries tries; its log is above."; }
}

stop_stack() {
    [ -n "${dev_pid:-}" ] || return 0
    kill "$dev_pid" 2>/dev/null || true
    wait "$dev_pid" 2>/dev/null || true
    dev_pid=''
}

play_example() {
    start_stack
    trap stop_stack EXIT
    cp examples/arena-unity/*.toml "$build/dev/"
    (
        cd "$build/dev"
        "$muster" build push "$image" && "$muster" fleet apply -f fleet.toml && "$muster" queue apply -f queue.toml
    ) || return
    mono "$build/arena-client.exe" "$url" "$(cat "$build/dev/.muster/client-token")" unity "$PLAYERS" "$MOVES" || {
        (cd "$build/dev" && "$muster" server ls && "$muster" status) >&2
        return 1
    }
    stop_stack
    trap - EXIT
}

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
muster="$(cd "${CARGO_TARGET_DIR:-target}/debug" && pwd)/muster"
step "build the Unity arena's image" scripts/mono-image.sh "$build" "$image"
step "play the Unity arena: $PLAYERS players, UDP and WebSocket" play_example
