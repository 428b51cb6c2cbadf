#!/usr/bin/env bash
# Installs what a fresh Debian machine lacks, and nothing that is there already. Safe to run any
# number of times.
#
#   scripts/setup.sh [toolchain|docker|fuzz|bench|quilkin|godot|unity|lint]...     (default: toolchain docker)
set -euo pipefail
. "$(dirname "$0")/lib.sh"

# How long a Docker engine may take to answer after it was started.
DOCKER_DEADLINE_S=90

setup_toolchain() {
    have cargo || die "cargo is not on the PATH. Install Rust with rustup (see rustup.rs), open a new shell and run this again."
    # Rust brings no linker and libc headers of its own, and one dependency compiles C.
    have cc && return 0
    require_debian_root "A C compiler" "Install gcc and the libc headers (Debian: 'apt-get install gcc libc6-dev'; macOS: 'xcode-select --install')."
    apt_install gcc libc6-dev
}

# The fuzzer is a C++ library that is compiled.
setup_fuzz() {
    setup_toolchain
    have c++ && return 0
    require_debian_root "A C++ compiler" "Install one (Debian: 'apt-get install g++'; macOS: 'xcode-select --install')."
    apt_install g++
}

docker_answers() { docker info >/dev/null 2>&1; }

setup_docker() {
    if have docker && docker_answers; then return 0; fi
    explain_unreachable_docker
    require_debian_root "Docker" "Install Docker (on macOS and Windows: Docker Desktop), start it, check that 'docker info' answers, and run this again."
    if ! have dockerd; then
        apt_refresh
        # Debian 13 packages the client apart from the engine; Debian 12 knows no docker-cli.
        local packages=(docker.io iptables ca-certificates)
        ! apt-cache show docker-cli >/dev/null 2>&1 || have docker || packages+=(docker-cli)
        # Where the kernel runs AppArmor, the engine refuses to start containers without its tools.
        ! [ -d /sys/kernel/security/apparmor ] || packages+=(apparmor)
        # We start the engine ourselves below, the same way whether or not the package would have.
        without_service_start apt_install "${packages[@]}"
    fi
    docker_answers || start_docker
    say "Docker $(docker version --format '{{.Server.Version}}') answers"
}

# Cases in which installing or starting an engine would be wrong or useless.
explain_unreachable_docker() {
    have docker || return 0
    if [ -n "${DOCKER_HOST:-}" ]; then
        die "DOCKER_HOST is $DOCKER_HOST and no engine answers there. Start that engine, or unset DOCKER_HOST to use one on this machine."
    fi
    if docker info 2>&1 | grep -qi 'permission denied'; then
        die "Docker runs, but user $(id -un) may not use it. Run 'sudo usermod -aG docker $(id -un)', log in again, and run this again."
    fi
}

# A zombie is not alive.
dockerd_lives() { pgrep --runstates DRSI -x dockerd >/dev/null; }

start_docker() {
    local log="$REPO_ROOT/target/setup/dockerd.log" pid=''
    mkdir -p "$(dirname "$log")"
    if [ "$(cat /proc/1/comm)" = systemd ]; then
        say "starting the Docker engine with systemd"
        as_root systemctl start docker || die "systemd could not start Docker; 'systemctl status docker' and 'journalctl -u docker' say why."
    else
        # An engine that was killed leaves these, and a new one then takes whoever has its number for it.
        dockerd_lives || as_root rm -f /var/run/docker.pid /var/run/docker/containerd/containerd.pid
        say "starting the Docker engine in the background (log: target/setup/dockerd.log)"
        # Own session, and the log in place of our terminal: the engine outlives this script, and
        # whoever waits for our output to end must not wait for the engine.
        as_root setsid nohup dockerd </dev/null >"$log" 2>&1 &
        pid=$!
    fi
    local deadline=$((SECONDS + DOCKER_DEADLINE_S))
    until docker_answers; do
        explain_unreachable_docker
        if [ -n "$pid" ] && ! kill -0 "$pid" 2>/dev/null && ! dockerd_lives; then
            tail -n 20 "$log" >&2
            die "the Docker engine stopped right after its start; the whole log is $log. It needs root, cgroups and iptables."
        fi
        [ "$SECONDS" -lt "$deadline" ] ||
            die "no answer from the Docker engine within $DOCKER_DEADLINE_S s; see $log, or 'journalctl -u docker' under systemd."
        sleep 0.3
    done
}

# nginx is only a yardstick of the edge benchmark, which starts its own with its own configuration; iproute2
# makes that benchmark's network namespaces.
setup_bench() {
    if have nginx && have ip && [ -e /usr/lib/nginx/modules/ngx_stream_module.so ]; then return 0; fi
    require_debian_root "nginx with its stream module, or iproute2," "Install them (Debian: 'apt-get install nginx libnginx-mod-stream iproute2'), or run the other benchmarks alone."
    local was_there=no
    ! have nginx || was_there=yes
    without_service_start apt_install nginx libnginx-mod-stream iproute2
    # The package also enables the service at boot; a machine that had no web server gets none from us.
    if [ "$was_there" = no ] && have systemctl && [ -d /run/systemd/system ]; then
        run_logged "$REPO_ROOT/target/setup/apt.log" as_root systemctl disable nginx
    fi
}

# Unity's scripts are compiled and tested by Mono, which Unity's own runtime comes from.
setup_unity() {
    if have mcs && have nunit-console && [ -e /usr/lib/cli/nunit.framework-2.6.3/nunit.framework.dll ]; then return 0; fi
    require_debian_root "Mono with NUnit" "Install them (Debian: 'apt-get install mono-mcs mono-devel libnunit-cil-dev nunit-console')."
    apt_install mono-mcs mono-devel libnunit-cil-dev nunit-console
}

# The edge benchmark's second yardstick; it does without where this was never run, since the build takes long.
QUILKIN_VERSION=0.10.0
setup_quilkin() {
    setup_toolchain
    if have quilkin || [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/quilkin" ]; then return 0; fi
    # One of its dependencies does not compile without these instructions.
    local flags=''
    [ "$(uname -m)" != x86_64 ] || flags='-C target-feature=+aes,+sse2'
    say "building quilkin $QUILKIN_VERSION, which takes a quarter of an hour on two cores (log: target/setup/quilkin.log)"
    RUSTFLAGS="$flags" run_logged "$REPO_ROOT/target/setup/quilkin.log" cargo install quilkin --version "$QUILKIN_VERSION" --locked
}

setup_godot() { "$REPO_ROOT/scripts/godot-root.sh"; }

# On a person's machine a missing linter is skipped; on CI that would hide what it finds.
setup_lint() {
    have cargo || die "cargo is not on the PATH. Install Rust with rustup (see rustup.rs) and run this again."
    if ! cargo fmt --version >/dev/null 2>&1 || ! cargo clippy --version >/dev/null 2>&1; then
        have rustup || die "rustfmt or clippy is missing; install them from where your Rust came from."
        rustup component add rustfmt clippy
    fi
    [ "${CI:-}" = true ] || return 0
    if ! have shellcheck && is_debian && may_become_root; then apt_install shellcheck; fi
    # The FoundationDB driver's types are made from C headers.
    if ! have_libclang && is_debian && may_become_root; then apt_install libclang-dev; fi
    # In an environment of its own: Debian's Python takes no packages from elsewhere.
    if ! have gdlint && ! [ -x target/tools/bin/gdlint ]; then
        if is_debian && may_become_root; then apt_install python3-venv; fi
        python3 -m venv target/tools
        target/tools/bin/pip install --quiet --disable-pip-version-check "gdtoolkit==4.*"
    fi
}

[ "$#" -gt 0 ] || set -- toolchain docker
for section in "$@"; do
    case "$section" in
    toolchain | docker | fuzz | bench | quilkin | godot | unity | lint) "setup_$section" ;;
    *) die "unknown section '$section'; known are: toolchain docker fuzz bench quilkin godot unity lint" ;;
    esac
done
