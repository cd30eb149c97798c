"""Ray's side of the rows of clusters: nodes of real processes on this machine (`ray.cluster_utils.Cluster`).

Each row bears the name of a row of `actinic-bench --cluster` and does the same work: the same numbers of nodes and CPUs, the
same sizes. Numbers of calls are smaller where Ray's rate would make them take minutes. What Ray cannot do here is left out:
10,000 actors alive at once (each is a process), and the rows behind a narrow link (its nodes have no address to put one at).

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

from ray_micro import LOOPBACK, OutOfTime, Timer  # Sets Ray's environment before Ray is imported.

import numpy as np  # noqa: E402
import ray  # noqa: E402
from ray.cluster_utils import Cluster  # noqa: E402
from ray.util.placement_group import placement_group, remove_placement_group  # noqa: E402

TASKS = 5_000
ACTORS = 20
GROUPS = 100
DRIVERS = 4
DRIVER_TASKS = 2_500
PUT_BYTES = 100_000_000
MOVED_BYTES = 256 << 20
STORE_BYTES = 1_200_000_000
FAR = "far"
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
    """Reads a large object where it runs."""
    return array[0]


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
            resources = {name: 10 * self.cpus}
            self.cluster.add_node(
                num_cpus=self.cpus, resources=resources, object_store_memory=STORE_BYTES, node_ip_address=LOOPBACK
            )
        ray.init(address=self.cluster.address, log_to_driver=False, configure_logging=False)
        self.cluster.wait_for_nodes()
        return self

    def __exit__(self, *_):
        ray.shutdown()
        self.cluster.shutdown()


def seconds_each(timer, name, call):
    """A row of single calls; figures are calls a second, as Actinic's are when they are compared."""
    timer(name, call)


def gigabytes(timer, name, call, size):
    """A row of bytes a second."""
    before = len(timer.results)
    timer(name, call, size / 1e9)
    for row in timer.results[before:]:
        row["unit"] = "GB/s"


def calls(timer, where, options):
    """Tasks and actor calls, many and one by one, at one place. `where`: the words for tasks, one task and actor calls."""
    many, one, actor_calls = where
    task = empty.options(**options)
    timer(many, lambda: ray.get([task.remote() for _ in range(TASKS)]), TASKS)
    seconds_each(timer, one, lambda: ray.get(task.remote()))
    actor = Idle.options(**{**options, "num_cpus": 0}).remote()
    ray.get(actor.nothing.remote())
    timer(actor_calls, lambda: ray.get([actor.nothing.remote() for _ in range(TASKS)]), TASKS)
    seconds_each(timer, "one " + actor_calls.replace("calls", "call"), lambda: ray.get(actor.nothing.remote()))
    ray.kill(actor)


def actors():
    """Actors that are made, each called once, and ended."""
    made = [Idle.remote() for _ in range(ACTORS)]
    ray.get([actor.nothing.remote() for actor in made])
    for actor in made:
        ray.kill(actor)


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
    with Nodes(cpus, []):
        near = ("tasks through worker processes", "one task through a worker process", "actor calls into a worker process")
        calls(timer, near, {})


def two_nodes(timer, cpus):
    """The rows of a driver's node and another."""
    with Nodes(cpus, [FAR]):
        far = ("tasks on another node", "one task on another node", "actor calls to another node")
        calls(timer, far, {"num_cpus": 0, "resources": {FAR: 1}})
        timer("actors made, each in a worker process of its own", actors, ACTORS)
        timer("placement groups made and removed on two nodes", groups(cpus), GROUPS)
        array = np.full(PUT_BYTES // 8, 7, dtype=np.int64)
        gigabytes(timer, "put 100 MB for workers", lambda: ray.put(array), PUT_BYTES)
        made = filled.remote(PUT_BYTES // 8)
        ray.wait([made])
        seconds_each(timer, "get a worker's 100 MB", lambda: ray.get(made))
        there = first.options(resources={FAR: 1})
        fresh(timer, "a task on another node of the machine reads 100 MB", array, lambda ref: ray.get(there.remote(ref)))
        moved = np.full(MOVED_BYTES // 8, 7, dtype=np.int64)
        fresh(timer, "256 MiB to another node", moved, lambda ref: ray.get(there.remote(ref)), MOVED_BYTES)


def fresh(timer, name, array, use, size=None):
    """A row of an object that nobody has had before, in bytes a second, or in calls a second where no size is given; putting it
    is not counted."""
    unit, amount = ("GB/s", size / 1e9) if size else ("1/s", 1)
    if timer.only not in name:
        return
    samples = []
    for round_ in range(timer.rounds + 1):
        if time.monotonic() > timer.deadline_at:
            raise OutOfTime(name)
        ref = ray.put(array)
        start = time.perf_counter()
        use(ref)
        # The first round also makes the connections.
        if round_ > 0:
            samples.append(amount / (time.perf_counter() - start))
        del ref
    samples.sort()
    value = samples[len(samples) // 2]
    spread = (samples[-1] - samples[0]) / value * 100
    timer.results.append(
        {"name": name, "value": value, "unit": unit, "runs": len(samples), "spread_percent": spread}
    )
    print(f"{name} {value:.2f} {unit} (spread {spread:.0f} %)", flush=True)


def broadcast(timer):
    """An object that three nodes need at once."""
    with Nodes(1, EACH):
        moved = np.full(MOVED_BYTES // 8, 7, dtype=np.int64)

        def everywhere(ref):
            ray.get([first.options(resources={name: 1}).remote(ref) for name in EACH])

        fresh(timer, "256 MiB to three nodes", moved, everywhere, MOVED_BYTES * len(EACH))


def drive(address):
    """One of several drivers: a line when it is ready, and one for each line that it is told."""
    ray.init(address=address, log_to_driver=False, configure_logging=False)
    ray.get([empty.remote() for _ in range(100)])
    print("ready", flush=True)
    for _ in sys.stdin:
        ray.get([empty.remote() for _ in range(DRIVER_TASKS)])
        print("done", flush=True)
    ray.shutdown()


def four_drivers(timer, cpus):
    """Drivers in processes of their own that submit at once."""
    name = "tasks of four drivers at once"
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

        def go():
            for driver in drivers:
                driver.stdin.write("go\n")
                driver.stdin.flush()
            for driver in drivers:
                hear(driver)

        try:
            for driver in drivers:
                hear(driver)
            timer(name, go, DRIVERS * DRIVER_TASKS)
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
        two_nodes(timer, options.cpus)
        four_drivers(timer, options.cpus)
        if timer.only in "256 MiB to three nodes":
            broadcast(timer)
    except OutOfTime as first_left_out:
        print(f"the time is up: left out from `{first_left_out}` on", flush=True)
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
        with open(options.out, "w", encoding="utf-8") as file:
            json.dump({"version": ray.__version__, "cpus": options.cpus, "rows": timer.results}, file, indent=2)
    if not timer.results:
        print("no row was measured", file=sys.stderr)
    return 0 if timer.results else 1


if __name__ == "__main__":
    sys.exit(main())
