#!/usr/bin/env bash
# Makes sure that the image muster-test/godot:4 exists: a small Debian with Godot 4 and nothing of
# Muster. Debian's own packages are the source, so no download page has to be trusted or to exist;
# only sid carries Godot 4. The root is built once, kept as a tar in the cache (MUSTER_CACHE) and
# imported wherever an engine lacks it.
#
#   scripts/godot-root.sh [--force]     (--force builds the root anew)
#
# MUSTER_DEBIAN_MIRROR names the Debian mirror; by default the one this machine's apt uses.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

IMAGE=muster-test/godot:4
# Raise when the recipe below changes: roots of other recipes are then built anew.
RECIPE=1

architecture="$(dpkg --print-architecture 2>/dev/null || uname -m)"
tarball="$MUSTER_CACHE/godot/root-$RECIPE-$architecture.tar"
log="$REPO_ROOT/target/setup/godot-root.log"

# debian_mirror: where this machine's apt gets Debian's main archive from. apt itself is asked, since
# it reads every format its sources may be written in; the labels are known once lists are there.
debian_mirror() {
    local uri
    # shellcheck disable=SC2016 # apt fills in these names, not the shell.
    uri="$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN)/$(LABEL)/$(COMPONENT)' 'Identifier: Packages' |
        awk '$2 == "Debian/Debian/main" { print $1; exit }')"
    # Cloud images name a file that lists the mirrors; debootstrap wants one of them.
    case "$uri" in
    mirror+file:*) uri="$(awk 'NF && $1 !~ /^#/ { print $1; exit }' "${uri#mirror+file:}")" ;;
    esac
    printf '%s' "${uri%/}"
}

# export_apt_proxy: debootstrap does not read apt's configuration.
export_apt_proxy() {
    local proxy=''
    eval "$(apt-config shell proxy Acquire::http::Proxy)"
    [ -z "$proxy" ] || [ "$proxy" = DIRECT ] || export http_proxy="$proxy" https_proxy="$proxy"
}

in_root() {
    as_root env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C DEBIAN_FRONTEND=noninteractive \
        http_proxy="${http_proxy:-}" https_proxy="${https_proxy:-}" chroot "$root" "$@"
}

discard_root() {
    # Never delete through a mount that an interrupted installation left behind.
    local mounted
    awk -v root="$root/" 'index($2, root) == 1 { print $2 }' /proc/mounts | sort -r |
        while read -r mounted; do as_root umount "$mounted" || true; done
    as_root rm -rf --one-file-system "$root" "$tarball.part"
}

build_root() {
    require_debian_root "A root file system with Godot" \
        "Run 'make test-godot' on Debian or Ubuntu, or copy $(basename "$tarball") from a machine that built it into $(dirname "$tarball")."
    apt_install debootstrap debian-archive-keyring
    apt_refresh
    export_apt_proxy
    local mirror="${MUSTER_DEBIAN_MIRROR:-$(debian_mirror)}"
    case "$mirror" in
    http://* | https://* | file:/*) ;;
    *) die "found no Debian mirror in this machine's apt sources (got '$mirror'). Name one: MUSTER_DEBIAN_MIRROR=http://... make test-godot" ;;
    esac

    mkdir -p "$(dirname "$tarball")" "$(dirname "$log")"
    : >"$log"
    root="$(mktemp -d "$MUSTER_CACHE/godot/root.XXXXXX")"
    trap discard_root EXIT

    say "1/3 bootstrapping Debian sid (about a minute; log: target/setup/godot-root.log)"
    run_logged "$log" as_root env http_proxy="${http_proxy:-}" https_proxy="${https_proxy:-}" \
        debootstrap --variant=minbase sid "$root" "$mirror"

    say "2/3 installing Godot"
    # Name resolution and trust as on the host, for the installation only; Docker brings its own.
    as_root cp -L /etc/resolv.conf "$root/etc/resolv.conf"
    [ ! -r /etc/ssl/certs/ca-certificates.crt ] ||
        as_root install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
    # A mirror may be a dated snapshot, whose lists have expired. Throw-away root: no fsync needed.
    run_logged "$log" in_root apt-get update -o Acquire::Check-Valid-Until=false
    run_logged "$log" in_root apt-get install -y --no-install-recommends \
        -o Acquire::Check-Valid-Until=false -o Dpkg::Options::=--force-unsafe-io godot
    local version
    version="$(in_root godot --headless --version 2>>"$log")" || die "the installed Godot does not start; see $log"
    case "$version" in
    4.*) ;;
    *) die "Debian sid gave Godot '$version', and the test is for 4.x" ;;
    esac

    say "3/3 packing Godot $version"
    # Without what only installing needs, what only people read, and the software renderer (LLVM, Mesa)
    # that a headless Godot never loads: a third of the size, and each push sends all of it.
    as_root tar -C "$root" -cf "$tarball.part" --one-file-system \
        --exclude='./var/cache/*' --exclude='./var/lib/apt/lists/*' --exclude='./var/log/*' \
        --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' --exclude='./usr/share/info/*' \
        --exclude='./usr/share/locale/*' --exclude='./proc/*' --exclude='./sys/*' --exclude='./dev/*' \
        --exclude='./etc/resolv.conf' --exclude='./etc/ssl/certs/ca-certificates.crt' \
        --exclude='./usr/lib/*/libLLVM*' --exclude='./usr/lib/*/libgallium*' --exclude='./usr/lib/*/libz3*' \
        .
    is_root || as_root chown "$(id -u):$(id -g)" "$tarball.part"
    # Renamed last: whoever finds the tar finds a whole one.
    mv "$tarball.part" "$tarball"
    discard_root
    trap - EXIT
}

[ "${1:-}" != --force ] || rm -f "$tarball"
[ -s "$tarball" ] || build_root

# The label ties the image to the tar it came from: a newer tar is imported again.
stamp="$(stat -c '%Y-%s' "$tarball" 2>/dev/null || stat -f '%m-%z' "$tarball")"
imported="$(docker image inspect --format '{{index .Config.Labels "muster.test.root"}}' "$IMAGE" 2>/dev/null || true)"
if [ "$imported" != "$stamp" ]; then
    say "importing the Godot root as $IMAGE"
    docker import --change "LABEL muster.test.root=$stamp" "$tarball" "$IMAGE" >/dev/null
fi
