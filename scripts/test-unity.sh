#!/usr/bin/env bash
# The Unity package without the Unity editor: its core compiled and tested on Mono. What a compiler can hold is held:
# C# 7.2, warnings as errors, an XML comment on everything public.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$REPO_ROOT"

NUNIT=/usr/lib/cli/nunit.framework-2.6.3/nunit.framework.dll
build="$REPO_ROOT/target/unity"

# csharp TARGET OUTPUT ARGUMENT...: compiles as Unity's oldest supported editor would, or stricter.
csharp() {
    local kind="$1" output="$2"
    shift 2
    mcs -langversion:7.2 -warn:4 -warnaserror -debug -target:"$kind" -out:"$build/$output" "$@"
}

# sources DIRECTORY...: C# files, without those in directories that Unity does not look into.
sources() { find "$@" -name '*.cs' -not -path '*~/*' | sort; }

build_core() {
    local files
    mapfile -t files < <(sources sdk-unity/Runtime/Core)
    csharp library Muster.Core.dll -doc:"$build/Muster.Core.xml" -r:System.Net.Http.dll -r:System.Numerics.dll "${files[@]}"
}

build_tests() {
    local files
    mapfile -t files < <(sources sdk-unity/Tests/Core)
    csharp library Muster.Core.Tests.dll -r:"$build/Muster.Core.dll" -r:"$NUNIT" "${files[@]}"
}

run_tests() {
    (cd "$build" && MUSTER_VECTORS="$REPO_ROOT/protocol/vectors" nunit-console -nologo -noresult Muster.Core.Tests.dll)
}

step "set up what is missing" scripts/setup.sh unity
mkdir -p "$build"
step "Unity's .meta files" scripts/unity-metas.sh --check
step "compile the core" build_core
step "compile its tests" build_tests
step "run them on Mono" run_tests
