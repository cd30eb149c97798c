#!/usr/bin/env bash
# Every test, every example once, every bench once in its short form; `make test` calls it.
# It goes on after a failure, counts what cargo reports, and ends with the sum.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo=${CARGO:-cargo}
log=$(mktemp)
results=$(mktemp -d)
trap 'rm -rf "$log" "$results"' EXIT
passed=0
failed=0
ignored=0
failures=()

# A runaway program must not hang the run; where there is no `timeout`, it is run without.
bounded() {
    if command -v timeout >/dev/null; then timeout --kill-after=10 "$@"; else shift; "$@"; fi
}

# Runs something that counts as one.
step() {
    local name=$1
    shift
    echo
    echo "== $name: $*"
    if "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        failures+=("$name")
    fi
}

# Says what is not run, and why.
skip() {
    echo
    echo "== $1: skipped, $2"
    ignored=$((ignored + 1))
}

# Runs cargo test and adds up its result lines. A run that fails without a failed test (it did not compile) counts as one.
tests() {
    local name=$1 status=0 counts
    shift
    echo
    echo "== $name: $*"
    "$@" 2>&1 | tee "$log" || status=$?
    counts=$(awk '/^test result:/ { p += $4; f += $6; i += $8 } END { print p + 0, f + 0, i + 0 }' "$log")
    read -r p f i <<<"$counts"
    if ((status != 0 && f == 0)); then f=1; fi
    passed=$((passed + p))
    failed=$((failed + f))
    ignored=$((ignored + i))
    if ((f > 0)); then failures+=("$name"); fi
}

# Tests that this machine does not permit say so here by their names, since what a test prints that passes is not shown.
export ACTINIC_PASSED_OVER=$results/passed-over

# With Arrow record batches, which only add to the rest: one build tests all.
tests "tests and doctests of the workspace" "$cargo" test --release --workspace --features arrow,suite --no-fail-fast

if [[ -e $ACTINIC_PASSED_OVER ]]; then
    while read -r line; do
        skip "${line%% *}" "${line#*: }"
        passed=$((passed - 1))
    done <"$ACTINIC_PASSED_OVER"
fi

# Tests are there; what is run below is linked from the same pieces.
step "examples and programs" "$cargo" build --release --workspace --features arrow,suite --bins --examples
target=$("$cargo" metadata --no-deps --format-version 1 | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
for file in examples/*.rs; do
    example=$(basename "$file" .rs)
    step "example $example" bounded 120 "$target/release/examples/$example"
done
step "the demo" bounded 120 "$target/release/digits"

# Its results go elsewhere, lest they replace those of a true run.
short_benches() { (cd "$results" && bounded 300 "$target/release/actinic-bench" --quick); }
step "every bench once, short" short_benches
short_failover() { (cd "$results" && bounded 120 "$target/release/actinic-bench" --failover --quick); }
step "failover of the control store, short" short_failover
short_flushing() { (cd "$results" && bounded 120 "$target/release/actinic-bench" --flushing --quick); }
step "the control store under endless load, short" short_flushing

# Ray's side, as far as that goes without Ray.
if command -v python3 >/dev/null; then
    step "the scripts beside Ray" bounded 60 benches/peers/check.sh
else
    skip "the scripts beside Ray" "there is no python3"
fi

echo
for name in ${failures[@]+"${failures[@]}"}; do echo "failed: $name"; done
echo "$passed passed, $failed failed, $ignored skipped"
((failed == 0))
