# shellcheck shell=bash
# What every script here shares: where the repository is, how progress is shown, how a failure is
# told, and how Debian packages are installed. Sourced, never run.

REPO_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
export REPO_ROOT

# rustup writes PATH into login profiles only; make and CI often run without one.
if ! command -v cargo >/dev/null 2>&1 && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
    PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    export PATH
fi

# Things worth keeping between clones of this repository on one machine (the Godot root).
MUSTER_CACHE="${MUSTER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/muster}"
export MUSTER_CACHE

if [ -t 2 ]; then
    bold=$'\033[1m' red=$'\033[31m' plain=$'\033[0m'
else
    bold='' red='' plain=''
fi

# say MESSAGE...: progress, on stderr so that stdout stays for results.
say() { printf '%s==>%s %s\n' "$bold" "$plain" "$*" >&2; }

# die MESSAGE...: one paragraph that names the fix, then exit 1.
die() {
    printf '%serror:%s %s\n' "$red" "$plain" "$*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# step NAME COMMAND...: runs the command under a heading and tells how long it took. The times are
# collected in $MUSTER_STEP_LOG, where set, for a table at the end.
step() {
    local name="$1" began=$SECONDS status=0
    shift
    say "$name"
    # `set -e` has no effect inside a function called here, so functions check their commands themselves.
    "$@" || status=$?
    local took=$((SECONDS - began))
    [ -z "${MUSTER_STEP_LOG:-}" ] || printf '%6d s  %s\n' "$took" "$name" >>"$MUSTER_STEP_LOG"
    [ "$status" -eq 0 ] || die "\"$name\" failed after $took s (exit code $status); its own message is above."
    say "$name: done in $took s"
}

is_root() { [ "$(id -u)" -eq 0 ]; }

# may_become_root: whether as_root can work without asking a person who is not there.
may_become_root() {
    is_root && return 0
    have sudo || return 1
    [ -t 0 ] || sudo -n true 2>/dev/null
}

# as_root COMMAND...: env passes variables through sudo, which would drop them.
as_root() {
    if is_root; then "$@"; else sudo "$@"; fi
}

# is_debian: Debian and what derives from it (Ubuntu, Mint, ...), the systems whose packages we know.
is_debian() {
    [ -r /etc/os-release ] && have apt-get || return 1
    local kind
    kind="$(. /etc/os-release && printf '%s %s' "${ID:-}" "${ID_LIKE:-}")"
    case " $kind " in *' debian '* | *' ubuntu '*) return 0 ;; *) return 1 ;; esac
}

# require_debian_root WHAT BY_HAND: packages can be installed here, or the reader is told what to do.
require_debian_root() {
    local what="$1" by_hand="$2"
    is_debian || die "$what is missing and this system has no Debian packages to take it from. $by_hand"
    may_become_root || die "$what is missing and installing it needs root (no password-less sudo here). $by_hand"
}

# run_logged LOG COMMAND...: long output goes to a file; its end is shown only if the command fails.
run_logged() {
    local log="$1" status=0
    shift
    mkdir -p "$(dirname "$log")"
    "$@" </dev/null >>"$log" 2>&1 || status=$?
    if [ "$status" -ne 0 ]; then
        tail -n 30 "$log" >&2
        die "'$*' failed with exit code $status; the whole log is $log"
    fi
}

# apt_install PACKAGE...: does nothing for packages already there. The caller made sure of root.
apt_install() {
    local missing=() package log="$REPO_ROOT/target/setup/apt.log"
    for package in "$@"; do
        dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
    done
    [ "${#missing[@]}" -gt 0 ] || return 0
    apt_refresh
    say "installing ${missing[*]} (log: target/setup/apt.log)"
    run_logged "$log" as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        -o DPkg::Lock::Timeout=300 "${missing[@]}"
}

# apt_refresh: package lists as of now, once per script run; lists of an old image name packages
# that the mirror no longer has.
apt_refresh() {
    [ -z "${apt_is_fresh:-}" ] || return 0
    say "refreshing the package lists"
    run_logged "$REPO_ROOT/target/setup/apt.log" as_root apt-get update -o DPkg::Lock::Timeout=300
    apt_is_fresh=yes
}

# without_service_start COMMAND...: Debian starts a service the moment its package is installed.
# policy-rc.d is Debian's own switch against that; an existing policy is left alone, it is the owner's.
without_service_start() {
    local policy=/usr/sbin/policy-rc.d
    if [ -e "$policy" ]; then
        "$@"
        return
    fi
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
    # A subshell so that `die` inside cannot skip the removal.
    local status=0
    ("$@") || status=$?
    as_root rm -f "$policy"
    return "$status"
}

# have_libclang: what makes Rust of C headers can find its compiler's library; libclang-cpp is another.
have_libclang() {
    [ -n "${LIBCLANG_PATH:-}" ] || compgen -G '/usr/lib/llvm-*/lib/libclang.so*' >/dev/null ||
        compgen -G '/usr/lib/llvm-*/lib/libclang-[0-9]*.so*' >/dev/null
}

# fdb_environment: sets FDB_FEATURE, the cargo feature to build the FoundationDB driver with, and what
# linking and running it needs.
fdb_environment() {
    FDB_FEATURE=foundationdb
    [ -r /usr/include/foundationdb/fdb_c.h ] || FDB_FEATURE=foundationdb-headers
    export FDB_FEATURE
    if [ -n "${FDB_CLIENT_LIB_PATH:-}" ]; then
        export FDB_CLIENT_LIB_PATH
        export LD_LIBRARY_PATH="$FDB_CLIENT_LIB_PATH${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
    elif ! ldconfig -p | grep -q libfdb_c; then
        die "libfdb_c is not installed. Install FoundationDB's clients package (docs/foundationdb.md), or set FDB_CLIENT_LIB_PATH to the directory that holds libfdb_c.so."
    fi
}

# host_triple: the Rust name of this machine.
host_triple() { rustc -vV | sed -n 's/^host: //p'; }
