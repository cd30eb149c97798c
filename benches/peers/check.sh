#!/usr/bin/env bash
# That the scripts of this folder are whole, without Ray: each compiles, and what compare.py makes of recorded figures is what
# was recorded of it.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PYTHONPYCACHEPREFIX=$work/cache

"$python" -m py_compile "$here"/*.py
bash -n "$here/run.sh"
cd "$work"
of() { echo "$here/recorded/$1-micro.json,$here/recorded/$1-cluster.json"; }
"$python" "$here/compare.py" "$(of ray)" "$(of actinic)" >printed.txt
diff "$here/recorded/expected.txt" printed.txt
"$python" - bench-peers.json <<'PYTHON'
import json, sys
rows = {row["name"]: row for row in json.load(open(sys.argv[1], encoding="utf-8"))}
assert len(rows) == 7, sorted(rows)
assert rows["one task on another node"]["met"] is True and rows["tasks on another node"]["met"] is False
assert rows["only here"]["ratio"] is None and rows["failed"]["actinic"] is None
PYTHON
echo "the scripts are whole"
