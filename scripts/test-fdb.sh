#!/usr/bin/env bash
# What a FoundationDB cluster that runs already has to hold up to: the store's conformance suite, kill -9 in
# the middle of commits, and the end-to-end tests with an orchestrator on it. See docs/foundationdb.md.
#
#   scripts/test-fdb.sh CLUSTER_FILE
#
# FDB_CLIENT_LIB_PATH is the directory of libfdb_c, where it is not one that the linker looks in anyway.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$REPO_ROOT"

cluster_file="${1:-}"
[ -n "$cluster_file" ] || die "name a cluster file: make test-fdb CLUSTER_FILE=/etc/foundationdb/fdb.cluster"
[ -r "$cluster_file" ] || die "$cluster_file cannot be read; it is the fdb.cluster of the cluster to test on."

fdb_environment
MUSTER_TEST_CLUSTER="$(realpath "$cluster_file")"
export MUSTER_TEST_CLUSTER
step "set up what is missing" scripts/setup.sh toolchain docker
step "run the conformance suite on the cluster" \
    cargo test --locked -p muster-store --features "$FDB_FEATURE" --test conformance foundationdb::
step "kill -9 in the middle of commits to the cluster" \
    cargo test --locked -p muster-store --features "$FDB_FEATURE" --test crash cluster
step "build the example game server's image" scripts/image.sh muster-example/arena:latest
step "build muster with the driver" cargo build --locked -p muster-cli --features "$FDB_FEATURE"
export MUSTER_TEST_STORE="fdb:$MUSTER_TEST_CLUSTER"
step "play over the cluster, with kill -9 of orchestrator and agent" \
    cargo test --locked -p muster-loadtest --test e2e play::
