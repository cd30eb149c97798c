#!/usr/bin/env bash
# All that a change must pass; `make verify` calls it. Read-only: it stops at the first check that fails.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo=${CARGO:-cargo}
check() {
    echo
    echo "== $*"
    "$@"
}

check "$cargo" fmt --all --check
check "$cargo" clippy --release --workspace --all-targets --features arrow,suite -- -D warnings
# The fuzzers, which are outside of the workspace: their types only, so that neither libFuzzer nor a nightly toolchain is needed.
# With the versions and the folder of the workspace, most of what they are made of is there.
cp Cargo.lock fuzz/Cargo.lock
CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target} check "$cargo" check --release --manifest-path fuzz/Cargo.toml --no-default-features
RUSTDOCFLAGS="-D warnings" check "$cargo" doc --release --workspace --no-deps
skipped=
if "$cargo" deny --version >/dev/null 2>&1; then
    check "$cargo" deny --all-features check
else
    skipped="cargo deny (not installed)"
fi
# Runs every bench once as well.
check scripts/test.sh
if [[ -n $skipped ]]; then echo "skipped: $skipped"; fi
