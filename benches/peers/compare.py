"""Prints Ray's figures and Actinic's side by side, and writes them to `bench-peers.json` in the current folder.

Usage: compare.py RAY.json[,RAY.json..] ACTINIC.json[,ACTINIC.json..]

Rows are joined by name. Figures are operations a second, or GB/s where the name says gigabytes; the ratio is
Actinic's over Ray's, so above 1 is better than Ray.
"""

import json
import sys

GOAL = 100
OUT = "bench-peers.json"


def read(path):
    """The JSON of a file."""
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def actinic_value(row):
    """A figure of Actinic in Ray's unit: bytes a second become GB/s, seconds become operations a second."""
    value = row["value"]
    if value is None:
        return None
    if row["unit"] == "B/s":
        return value / 1e9
    return 1 / value if row["unit"] == "s" else value


def number(value):
    """A figure in a few digits."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:,.2f}"


def joined(ray_rows, actinic_rows):
    """All names of either side, in Ray's order, each with both figures."""
    ours = {row["name"]: actinic_value(row) for row in actinic_rows}
    theirs = {row["name"]: row["value"] for row in ray_rows}
    bulk = {row["name"] for row in actinic_rows if row["unit"] == "B/s"}
    names = list(theirs) + [name for name in ours if name not in theirs]
    for name in names:
        ray, actinic = theirs.get(name), ours.get(name)
        ratio = actinic / ray if ray and actinic is not None else None
        unit = "GB/s" if name in bulk or name.endswith("gigabytes") else "1/s"
        yield {"name": name, "unit": unit, "ray": ray, "actinic": actinic, "ratio": ratio}


def main():
    """Joins, prints, writes."""
    measured = [read(path) for path in sys.argv[1].split(",")]
    ray = measured[0]
    ray_rows = [row for part in measured for row in part["rows"]]
    actinic_rows = [row for path in sys.argv[2].split(",") for row in read(path)]
    rows = list(joined(ray_rows, actinic_rows))
    width = max([len(row["name"]) for row in rows], default=0)
    print(f"{'benchmark':<{width}}  {'unit':>5}  {'Ray ' + ray['version']:>12}  {'Actinic':>14}  {'ratio':>9}")
    for row in rows:
        ratio = "-" if row["ratio"] is None else f"{row['ratio']:,.1f} ×"
        figures = f"{number(row['ray']):>12}  {number(row['actinic']):>14}  {ratio:>9}"
        print(f"{row['name']:<{width}}  {row['unit']:>5}  {figures}")
    ratios = [row["ratio"] for row in rows if row["ratio"] is not None]
    reached = sum(ratio >= GOAL for ratio in ratios)
    print(f"\n{reached} of {len(ratios)} rows are {GOAL} times Ray or more, {ray['cpus']} CPUs on both sides.")
    with open(OUT, "w", encoding="utf-8") as file:
        json.dump(rows, file, indent=2)
        file.write("\n")
    print(f"written: {OUT}")


if __name__ == "__main__":
    main()
