#!/usr/bin/env bash
# Builds the Unity arena's server image: Mono's runtime as it is installed here, the libraries it needs, and the programs.
# Nothing is pulled, and the image is small: what a dynamic program needs of a system is a few files.
#
#   scripts/mono-image.sh DIRECTORY [IMAGE]     (DIRECTORY has the compiled programs; default image: muster-example/arena-unity:latest)
set -euo pipefail
. "$(dirname "$0")/lib.sh"

programs="${1:?the directory with the compiled programs}"
image="${2:-muster-example/arena-unity:latest}"
# What the server's code uses of the class library; Mono says what is missing by name.
ASSEMBLIES=(mscorlib System System.Core System.Numerics System.Net.Http System.Configuration System.Xml System.Security
    Mono.Security)

context="$REPO_ROOT/target/unity/image"
rm -rf "$context"
mkdir -p "$context/root/app" "$context/root/etc/mono" "$context/root/tmp"
root="$context/root"

# put FILE...: into the image, where it is here, links followed.
put() {
    local file
    for file in "$@"; do
        mkdir -p "$root$(dirname "$file")"
        cp -L "$file" "$root$file"
    done
}

# libraries FILE...: the shared libraries that the files are linked with, the loader among them.
libraries() { ldd "$@" 2>/dev/null | grep -o '/[^ ]*' | grep -v ':$' | sort -u; }

mono="$(readlink -f "$(command -v mono)")"
put "$mono" /usr/lib/libmono-native.so /etc/mono/config
while read -r library; do put "$library"; done < <(libraries "$mono" /usr/lib/libmono-native.so)
# .NET programs ask for them by names that only Mono's configuration maps.
for assembly in "${ASSEMBLIES[@]}"; do
    found="$(readlink -f "/usr/lib/mono/4.5/$assembly.dll")"
    [ -e "$found" ] || die "Mono's $assembly.dll is not in /usr/lib/mono/4.5; run 'scripts/setup.sh unity'."
    # The core library stands where Mono looks for it; the others beside the program, since there is no cache of them.
    place=/app
    [ "$assembly" != mscorlib ] || place=/usr/lib/mono/4.5
    mkdir -p "$root$place"
    cp "$found" "$root$place/$assembly.dll"
done
cp -r /etc/mono/4.5 "$root/etc/mono/"
cp "$programs/Muster.Core.dll" "$programs/arena-server.exe" "$root/app/"
ln -sf "$mono" "$root/app/mono"
run_logged "$REPO_ROOT/target/setup/docker-build.log" \
    docker build --tag "$image" --file "$REPO_ROOT/examples/arena-unity/Dockerfile" "$context"
say "image $image: $(docker image inspect --format '{{.Size}}' "$image" | awk '{printf "%.1f MB", $1 / 1e6}')"
