"""Prints Ray's figures and Actinic's side by side, and writes them to `bench-peers.json` in the current folder.

Usage: compare.py RAY.json[,RAY.json..] ACTINIC.json[,ACTINIC.json..]

Rows are joined by name. Figures are operations a second, or GB/s where the name or the unit says so; the ratio is
Actinic's over Ray's, so above 1 is better than Ray. Each of Ray's files says which ratio its rows are to reach: another
one where the work stays in Actinic's process than where it crosses processes on both sides.
"""

import json
import sys

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
    """All names of either side, in Ray's order, each with both figures, the ratio, and whether that is what it is to be."""
    ours = {row["name"]: actinic_value(row) for row in actinic_rows}
    theirs = {row["name"]: row for row in ray_rows}
    bulk = {row["name"] for row in actinic_rows if row["unit"] == "B/s"}
    names = list(theirs) + [name for name in ours if name not in theirs]
    for name in names:
        row = theirs.get(name, {})
        ray, actinic = row.get("value"), ours.get(name)
        ratio = actinic / ray if ray and actinic is not None else None
        unit = "GB/s" if name in bulk or name.endswith("gigabytes") else "1/s"
        out = {"name": name, "unit": unit, "ray": ray, "actinic": actinic, "ratio": ratio, "goal": row.get("goal")}
        out["met"] = None if ratio is None or out["goal"] is None else ratio >= out["goal"]
        for key in ("count", "count_actinic"):
            if key in row:
                out[key] = row[key]
        yield out


def show(rows, version, cpus):
    """The table, how many rows are what they are to be, and where the two sides made different numbers of calls."""
    width = max([len(row["name"]) for row in rows], default=0)
    titles = f"{'benchmark':<{width}}  {'unit':>5}  {'Ray ' + version:>12}  {'Actinic':>14}  {'ratio':>9}  {'goal':>6}  met"
    print(titles)
    for row in rows:
        ratio = "-" if row["ratio"] is None else f"{row['ratio']:,.1f} ×"
        goal = "-" if row["goal"] is None else f"{row['goal']} ×"
        met = {True: "yes", False: "NO", None: ""}[row["met"]]
        figures = f"{number(row['ray']):>12}  {number(row['actinic']):>14}  {ratio:>9}  {goal:>6}  {met}"
        print(f"{row['name']:<{width}}  {row['unit']:>5}  {figures}".rstrip())
    print()
    for goal in sorted({row["goal"] for row in rows if row["met"] is not None}, reverse=True):
        judged = [row["met"] for row in rows if row["goal"] == goal and row["met"] is not None]
        print(f"{sum(judged)} of the {len(judged)} rows that are to be {goal} times Ray are, {cpus} CPUs on both sides.")
    for row in rows:
        if "count" in row:
            print(f"{row['name']}: {row['count']:,} at a time by Ray, {row['count_actinic']:,} by Actinic.")


def main():
    """Joins, prints, writes."""
    measured = [read(path) for path in sys.argv[1].split(",")]
    ray_rows = [{**row, "goal": part["goal"]} for part in measured for row in part["rows"]]
    actinic_rows = [row for path in sys.argv[2].split(",") for row in read(path)]
    rows = list(joined(ray_rows, actinic_rows))
    show(rows, measured[0]["version"], measured[0]["cpus"])
    with open(OUT, "w", encoding="utf-8") as file:
        json.dump(rows, file, indent=2)
        file.write("\n")
    print(f"written: {OUT}")


if __name__ == "__main__":
    main()
