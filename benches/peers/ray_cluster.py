"""Ray's side of the rows of clusters: nodes of real processes on this machine (`ray.cluster_utils.Cluster`).

Each row bears the name of a row of `actinic-bench --cluster` and does the same work: the same numbers of nodes, CPUs and
slots, the same sizes, and the same part of it timed. Where Ray's rate would make Actinic's number of calls take minutes, there
are fewer in a round, and the row tells both numbers (`count`, `count_actinic`). What is left out, and why, is in the README.

Usage: ray_cluster.py OUT.json [--cpus N] [--seconds S] [--rounds N] [--deadline S] [--only TEXT]
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

from ray_micro import LONG_CALL_ROUNDS, LOOPBACK, OutOfTime, Timer  # Sets Ray's environment before Ray is imported.

import numpy as np  # noqa: E402
import ray  # noqa: E402
from ray.cluster_utils import Cluster  # noqa: E402
from ray.util.placement_group import placement_group, remove_placement_group  # noqa: E402

TASKS = 5_000
TASKS_ACTINIC = 200_000
ACTORS_APART = 40
# Each is a process on Ray's side: so many fit into the memory of a small machine.
ACTORS_TOGETHER = 100
ACTORS_TOGETHER_ACTINIC = 10_000
GROUPS = 1_000
DRIVERS = 4
DRIVER_TASKS = 50_000
# One call of the row of many drivers is to take no longer.
DRIVERS_SECONDS_MAX = 60
DRIVER_TASKS_FIRST = 500
PUT_BYTES = 100_000_000
MOVED_BYTES = 256 << 20
STORE_BYTES = 1_200_000_000
# How many times Ray's figure Actinic's is to be, where the work crosses processes on both sides.
GOAL = 20
FAR = "far"
NEAR = ("tasks through worker processes", "one task through a worker process", "actor calls into a worker process")
AWAY = ("tasks on another node", "one task on another node", "actor calls to another node")
GROUPS_ROW = "placement groups made and removed on two nodes"
ACTORS_ROWS = (
    "actors made, each in a worker process of its own",
    "actors made and alive at once, in at most four worker processes",
)
OBJECT_ROWS = (
    "put 100 MB for workers",
    "get a worker's 100 MB",
    "get a worker's 100 MB and read it all",
    "a task on another node of the machine touches 100 MB",
    "a task on another node of the machine reads all of 100 MB",
    "256 MiB to another node",
)
TWO_NODES = (*AWAY, "one actor call to another node", *OBJECT_ROWS, GROUPS_ROW, *ACTORS_ROWS)
ELSEWHERE = ("tasks of four drivers at once", "256 MiB to three nodes")
EACH = ("first", "second", "third")


@ray.remote
def empty():
    """Does nothing."""
    return None


@ray.remote(num_cpus=0)
class Idle:
    """Does nothing."""

    def nothing(self):
        """Answers."""
        return None


@ray.remote(num_cpus=0)
def first(array):
    """Touches a large object where it runs."""
    return array[0]


@ray.remote(num_cpus=0)
def whole(array):
    """Reads a large object where it runs."""
    return array.sum()


@ray.remote(num_cpus=0)
def filled(numbers):
    """Makes a large object."""
    return np.full(numbers, 7, dtype=np.int64)


class Nodes:
    """A cluster of this machine, and its driver; both end with the block."""

    def __init__(self, cpus, others):
        self.cpus = cpus
        self.others = others

    def __enter__(self):
        own = {
            "num_cpus": self.cpus,
            "object_store_memory": STORE_BYTES,
            "include_dashboard": False,
            "node_ip_address": LOOPBACK,
        }
        self.cluster = Cluster(initialize_head=True, head_node_args=own)
        for name in self.others:
            self.cluster.add_node(
                num_cpus=self.cpus, resources={name: self.cpus}, object_store_memory=STORE_BYTES, node_ip_address=LOOPBACK
            )
        ray.init(address=self.cluster.address, log_to_driver=False, configure_logging=False)
        self.cluster.wait_for_nodes()
        return self

    def __exit__(self, *_):
        ray.shutdown()
        self.cluster.shutdown()


def counted(timer, name, call, count, count_actinic=None):
    """A row of so many calls at a time; where Actinic makes more, both numbers are told."""
    before = len(timer.results)
    timer(name, call, count)
    tell_counts(timer.results[before:], count, count_actinic)


def tell_counts(rows, count, count_actinic):
    """Both numbers, where they differ."""
    for row in rows:
        if count_actinic not in (None, count):
            row["count"], row["count_actinic"] = count, count_actinic


def rounds(timer, name, work, prepare=lambda: None, after=lambda _: None, amount=1, unit="1/s"):
    """A row of which only `work` is timed, not what is prepared for it, nor what is done about its result."""
    if timer.only not in name:
        return []
    samples = []
    for round_ in range(timer.rounds + 1):
        if time.monotonic() > timer.deadline_at:
            raise OutOfTime(name)
        prepared = prepare()
        start = time.perf_counter()
        result = work(prepared)
        took = time.perf_counter() - start
        after(result)
        del prepared, result
        # The first round also makes the connections.
        if round_ > 0:
            samples.append(amount / took)
            if took > LONG_CALL_ROUNDS * timer.seconds:
                break
    samples.sort()
    value = samples[len(samples) // 2]
    spread = (samples[-1] - samples[0]) / value * 100
    row = {"name": name, "value": value, "unit": unit, "runs": len(samples), "spread_percent": spread}
    timer.results.append(row)
    print(f"{name} {value:.2f} {unit} (spread {spread:.0f} %)", flush=True)
    return [row]


def calls(timer, where, options):
    """Tasks and actor calls, many and one by one, at one place. `where`: the words for tasks, one task and actor calls."""
    many, one, actor_calls = where
    task = empty.options(**options)
    counted(timer, many, lambda: ray.get([task.remote() for _ in range(TASKS)]), TASKS, TASKS_ACTINIC)
    # Calls a second, as Actinic's are when they are compared.
    timer(one, lambda: ray.get(task.remote()))
    # It holds a hundredth of what a task takes, so that it is in nobody's way.
    resources = {name: 0.01 for name in options.get("resources", {})}
    actor = Idle.options(num_cpus=0, resources=resources).remote()
    ray.get(actor.nothing.remote())
    many_calls = lambda: ray.get([actor.nothing.remote() for _ in range(TASKS)])  # noqa: E731
    counted(timer, actor_calls, many_calls, TASKS, TASKS_ACTINIC)
    timer("one " + actor_calls.replace("calls", "call"), lambda: ray.get(actor.nothing.remote()))
    ray.kill(actor)


def actors(timer, name, count, count_actinic=None):
    """A row of actors that are made, each called once, all alive at once; they are ended when that is timed."""

    def make(_):
        made = [Idle.remote() for _ in range(count)]
        ray.get([actor.nothing.remote() for actor in made])
        return made

    def end(made):
        for actor in made:
            ray.kill(actor)

    tell_counts(rounds(timer, name, make, after=end, amount=count), count, count_actinic)


def groups(cpus):
    """Placement groups that are made, waited for and removed; then both nodes whole, which waits for the last removal."""

    def bundles(units):
        return placement_group([{"CPU": units}] * 2, strategy="STRICT_SPREAD")

    def work():
        made = [bundles(0.001) for _ in range(GROUPS)]
        ray.get([group.ready() for group in made])
        for group in made:
            remove_placement_group(group)
        whole = bundles(cpus)
        whole.wait(60)
        remove_placement_group(whole)

    return work


def one_node(timer, cpus):
    """The rows of a driver's own node, which is alone: tasks would spill over to a second one on the same machine."""
    if any(timer.only in name for name in [*NEAR, "one actor call into a worker process"]):
        with Nodes(cpus, []):
            calls(timer, NEAR, {})


def two_nodes(timer, cpus):
    """The rows of a driver's node and another."""
    with Nodes(cpus, [FAR]):
        calls(timer, AWAY, {"num_cpus": 0, "resources": {FAR: 1}})
        array = np.full(PUT_BYTES // 8, 7, dtype=np.int64)
        put = {"amount": PUT_BYTES / 1e9, "unit": "GB/s"}
        rounds(timer, OBJECT_ROWS[0], lambda _: ray.put(array), **put)

        def made():
            """A worker's object that the driver has not had before."""
            ref = filled.remote(PUT_BYTES // 8)
            ray.wait([ref], fetch_local=False)
            return ref

        rounds(timer, OBJECT_ROWS[1], lambda ref: ray.get(ref)[0], made)
        rounds(timer, OBJECT_ROWS[2], lambda ref: ray.get(ref).sum(), made)
        touched = first.options(resources={FAR: 1})
        read = whole.options(resources={FAR: 1})
        fresh = lambda: ray.put(array)  # noqa: E731
        rounds(timer, OBJECT_ROWS[3], lambda ref: ray.get(touched.remote(ref)), fresh)
        rounds(timer, OBJECT_ROWS[4], lambda ref: ray.get(read.remote(ref)), fresh)
        moved = np.full(MOVED_BYTES // 8, 7, dtype=np.int64)
        there = {"prepare": lambda: ray.put(moved), "amount": MOVED_BYTES / 1e9, "unit": "GB/s"}
        rounds(timer, OBJECT_ROWS[5], lambda ref: ray.get(touched.remote(ref)), **there)
        # These take longest.
        counted(timer, GROUPS_ROW, groups(cpus), GROUPS)
        actors(timer, ACTORS_ROWS[0], ACTORS_APART)
        actors(timer, ACTORS_ROWS[1], ACTORS_TOGETHER, ACTORS_TOGETHER_ACTINIC)


def broadcast(timer):
    """An object that three nodes need at once."""
    with Nodes(1, EACH):
        moved = np.full(MOVED_BYTES // 8, 7, dtype=np.int64)

        def everywhere(ref):
            ray.get([first.options(resources={name: 1}).remote(ref) for name in EACH])

        amount = MOVED_BYTES * len(EACH) / 1e9
        rounds(timer, ELSEWHERE[1], everywhere, lambda: ray.put(moved), amount=amount, unit="GB/s")


def drive(address):
    """One of several drivers: a line when it is ready, and one for each line that it is told."""
    ray.init(address=address, log_to_driver=False, configure_logging=False)
    ray.get([empty.remote() for _ in range(100)])
    print("ready", flush=True)
    for tasks in sys.stdin:
        ray.get([empty.remote() for _ in range(int(tasks))])
        print("done", flush=True)
    ray.shutdown()


def four_drivers(timer, cpus):
    """Drivers in processes of their own that submit at once."""
    name = ELSEWHERE[0]
    if timer.only not in name:
        return
    with Nodes(cpus, []) as nodes:
        command = [sys.executable, __file__, "--drive", nodes.cluster.address]
        drivers = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(DRIVERS)
        ]

        def hear(driver):
            line = driver.stdout.readline()
            # Ray may have something to say, too.
            while line and line.strip() not in ("ready", "done"):
                line = driver.stdout.readline()
            if not line:
                raise RuntimeError("a driver has ended")

        def go(tasks):
            start = time.perf_counter()
            for driver in drivers:
                driver.stdin.write(f"{tasks}\n")
                driver.stdin.flush()
            for driver in drivers:
                hear(driver)
            return tasks / (time.perf_counter() - start)

        try:
            for driver in drivers:
                hear(driver)
            # Workers come up; then as many tasks as there is time for, warm-up included.
            go(DRIVER_TASKS_FIRST)
            rate = go(DRIVER_TASKS_FIRST)
            left = min(DRIVERS_SECONDS_MAX, max(timer.deadline_at - time.monotonic(), 2.0) / 2)
            tasks = max(DRIVER_TASKS_FIRST, min(DRIVER_TASKS, int(rate * left)))
            counted(timer, name, lambda: go(tasks), DRIVERS * tasks, DRIVERS * DRIVER_TASKS)
        finally:
            for driver in drivers:
                driver.stdin.close()
            for driver in drivers:
                driver.wait(timeout=30)


def main():
    """Runs the rows and writes their figures as JSON; the processes of Ray are gone afterwards."""
    parser = argparse.ArgumentParser(description="Ray in clusters of one machine")
    parser.add_argument("out", nargs="?")
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1.0, help="length of one round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--deadline", type=float, default=420.0, help="start no further row after this")
    parser.add_argument("--only", default=os.environ.get("ONLY", ""))
    parser.add_argument("--drive", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.drive:
        drive(options.drive)
        return 0
    if options.out is None:
        parser.error("the file for the figures is not named")

    timer = Timer(options.seconds, options.rounds, time.monotonic() + options.deadline, options.only)
    # Not below the default temporary folder of a user: Ray's sockets need a short path.
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    os.environ["RAY_TMPDIR"] = folder
    os.mkdir(os.path.join(folder, "ray"))
    try:
        one_node(timer, options.cpus)
        four_drivers(timer, options.cpus)
        if timer.only in ELSEWHERE[1]:
            broadcast(timer)
        if any(timer.only in name for name in TWO_NODES):
            two_nodes(timer, options.cpus)
    except OutOfTime as first_left_out:
        print(f"the time is up: left out from `{first_left_out}` on", flush=True)
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
        with open(options.out, "w", encoding="utf-8") as file:
            of = {"version": ray.__version__, "cpus": options.cpus, "goal": GOAL}
            json.dump({**of, "rows": timer.results}, file, indent=2)
    if not timer.results:
        print("no row was measured", file=sys.stderr)
    return 0 if timer.results else 1


if __name__ == "__main__":
    sys.exit(main())
