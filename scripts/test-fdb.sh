#!/usr/bin/env bash
# The store's conformance suite on a FoundationDB cluster that runs already; see docs/foundationdb.md.
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
step "set up what is missing" scripts/setup.sh toolchain
step "run the conformance suite on the cluster" \
    cargo test --locked -p muster-store --features "$FDB_FEATURE" --test conformance foundationdb::
step "kill -9 in the middle of commits to the cluster" \
    cargo test --locked -p muster-store --features "$FDB_FEATURE" --test crash cluster
