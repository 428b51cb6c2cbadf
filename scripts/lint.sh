#!/usr/bin/env bash
# Everything that can be said about the code without running it.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$REPO_ROOT"
# Linters that setup.sh could not take from the system.
PATH="$PATH:$REPO_ROOT/target/tools/bin"

shell_files() { git ls-files -co --exclude-standard -- '*.sh' .ci/run; }

# Features that are off by default are compiled by nothing else; but the fuzzer's, by `make fuzz`.
check_features() {
    if ! have_libclang; then
        say "optional features: not checked, there is no libclang here (Debian: apt-get install libclang-dev)"
        return
    fi
    cargo check --locked --workspace --exclude muster-fuzz --all-targets --all-features
}

step "set up the linters" scripts/setup.sh toolchain lint
step "formatting (fix: cargo fmt --all)" cargo fmt --all --check
step "clippy" cargo clippy --locked --workspace --all-targets -- -D warnings
step "optional features" check_features
step "repository rules" cargo test --locked --quiet -p tidy
if have shellcheck; then
    mapfile -t files < <(shell_files)
    step "shell scripts" shellcheck --external-sources --source-path=SCRIPTDIR "${files[@]}"
else
    say "shell scripts: skipped, there is no shellcheck here (Debian: apt-get install shellcheck)"
fi
if have gdlint && have gdformat; then
    step "GDScript" gdlint examples sdk-godot
    step "GDScript formatting (fix: gdformat examples sdk-godot)" gdformat --check examples sdk-godot
else
    say "GDScript: skipped, there is no gdlint here (pipx install gdtoolkit)"
fi
