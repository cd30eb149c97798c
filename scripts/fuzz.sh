#!/usr/bin/env bash
# Every decoder under any bytes, for as long as is asked (seconds, the first argument); `make fuzz` calls it. With a nightly
# toolchain and cargo-fuzz it is libFuzzer that looks for inputs, in all of that time; else the test of the decoders does, with
# random changes of samples, in as much of it for each decoder as there is.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo=${CARGO:-cargo}
seconds=${1:-60}

if "$cargo" +nightly fuzz --version >/dev/null 2>&1; then
    "$cargo" +nightly run --manifest-path fuzz/Cargo.toml --bin seeds
    exec "$cargo" +nightly fuzz run decoders -- -max_total_time="$seconds"
fi
echo "cargo-fuzz or its nightly toolchain is not here (cargo +nightly install cargo-fuzz): samples are changed at random instead"
# Where one decoder is named it has all of the time.
decoders=80
if [[ -n ${DECODER:-} ]]; then decoders=1; fi
each=$((seconds / decoders))
ACTINIC_FUZZ_SECONDS=$((each > 0 ? each : 1)) \
    "$cargo" test --release -p actinic-actors --features arrow --test decoders -- --nocapture
