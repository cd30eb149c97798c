#!/usr/bin/env bash
# Ray and Actinic side by side: Ray's microbenchmark by Ray itself, then clusters of real processes; and the rows of the same
# names by Actinic.
# What it installs and starts, and for how long, is told in the README beside it.
set -euo pipefail

ray_version=2.60.0
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
home=${XDG_CACHE_HOME:-$HOME/.cache}/actinic-peers/ray-$ray_version
only=${ONLY:-}
quick=

usage() {
    echo "usage: run.sh [--quick] [--only TEXT]   (TEXT: a part of a benchmark's name; also ONLY=TEXT)"
}

while (($#)); do
    case $1 in
        --quick) quick=yes ;;
        --only) only=${2:?--only needs a text}; shift ;;
        --help | -h) usage; exit 0 ;;
        *) usage >&2; exit 2 ;;
    esac
    shift
done

python=${PYTHON:-python3}
command -v "$python" >/dev/null || { echo "run.sh: Python 3.10 or later is needed" >&2; exit 1; }

# A folder without this mark is one whose installation was cut short.
if [[ ! -e $home/complete ]]; then
    echo "installing Ray $ray_version (once, about 300 MB)" >&2
    rm -rf "$home"
    "$python" -m venv "$home"
    "$home/bin/pip" install --quiet --disable-pip-version-check "ray==$ray_version" numpy
    touch "$home/complete"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

bounds=(--deadline 600)
quick_actinic=()
if [[ -n $quick ]]; then
    bounds=(--seconds 0.2 --rounds 1 --deadline 30)
    quick_actinic=(--quick)
fi

# Built before anything is measured, so that no compiler runs beside Ray.
cargo build --release --quiet --package actinic-bench --manifest-path "$here/../Cargo.toml"

# A Ray that hangs is ended; on the signal it ends the processes that it started.
ray() {
    local script=$1
    shift
    timeout --signal=INT --kill-after=30 1200 "$home/bin/python" "$here/$script" "$@" --only "$only" "${bounds[@]}" >&2
}
actinic() {
    ONLY=$only cargo run --release --quiet --package actinic-bench --manifest-path "$here/../Cargo.toml" -- "$@"
}

for part in micro cluster; do
    # A pattern may select rows of one half only; a script that has measured nothing has said so, and written that down.
    ray "ray_$part.py" "$work/ray-$part.json" || [[ -n $only && -e $work/ray-$part.json ]]
    actinic "--$part" --json "${quick_actinic[@]}" >"$work/actinic-$part.json"
done
"$home/bin/python" "$here/compare.py" "$work/ray-micro.json,$work/ray-cluster.json" \
    "$work/actinic-micro.json,$work/actinic-cluster.json"
