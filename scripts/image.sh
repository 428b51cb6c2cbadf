#!/usr/bin/env bash
# Builds the example game server as a static binary and puts it alone into an image.
#
#   scripts/image.sh [IMAGE]     (default: muster-example/arena:latest)
set -euo pipefail
. "$(dirname "$0")/lib.sh"

image="${1:-muster-example/arena:latest}"
[ "$(uname -s)" = Linux ] || die "the example image needs a Linux binary; run 'make image' on Linux (a virtual machine or WSL will do) and 'docker save $image' it from there."

triple="$(host_triple)"
target_dir="$REPO_ROOT/target/static"
# --target keeps the flag away from procedural macros, which cannot be built static. A target
# directory of its own keeps this build from invalidating the other ones.
RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static" \
    cargo build --locked --release -p arena-server --target "$triple" --target-dir "$target_dir"

# The context is the binary alone: the classic builder sends the whole context to the engine.
context="$target_dir/image"
rm -rf "$context"
mkdir -p "$context"
cp "$target_dir/$triple/release/arena-server" "$context/"
# A dynamic binary in an empty image fails with "no such file or directory", which sends people astray.
if have readelf && LC_ALL=C readelf -l "$context/arena-server" | grep -q INTERP; then
    die "arena-server was linked dynamically although crt-static was asked for; does $triple have a static libc (Debian: libc6-dev)?"
fi
run_logged "$REPO_ROOT/target/setup/docker-build.log" \
    docker build --tag "$image" --file "$REPO_ROOT/examples/arena-server/Dockerfile" "$context"
say "image $image: $(docker image inspect --format '{{.Size}}' "$image" | awk '{printf "%.1f MB", $1 / 1e6}')"
