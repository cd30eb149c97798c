"""Ray's side of the side-by-side run: `ray microbenchmark`, bounded in time.

The bodies of the benchmarks are Ray's own (`ray._private.ray_perf.main`), run unchanged. Only three things around them
are replaced: its timer (shorter, and it stops at a deadline), the arguments of `ray.init` (two CPUs, loopback, no
dashboard) and the second half of the program, which measures Ray's remote client.

Then come the limits that Ray publishes for one node, in our own words.

Usage: ray_micro.py OUT.json [--cpus N] [--seconds S] [--rounds N] [--deadline S] [--only TEXT]
"""

import argparse
import json
import os
import secrets
import shutil
import statistics
import sys
import tempfile
import time
import types

# Ray's remote client is not measured; without this its benchmark would want gRPC for Python.
_client = types.ModuleType("ray._private.ray_client_microbenchmark")
_client.main = lambda results=None: results
sys.modules[_client.__name__] = _client

# Read by Ray when it is imported.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
# A token for this run alone; without it Ray writes one into the home folder.
os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
# Ray turns a loopback address into the machine's own where clusters are allowed, as they are by default on Linux.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"

import ray  # noqa: E402
from ray._private import ray_perf  # noqa: E402

SUFFIX = " (Plasma Store)"
LOOPBACK = "127.0.0.1"
LONG_CALL_ROUNDS = 5
# How many times Ray's figure Actinic's is to be, where its work stays in the process.
GOAL = 100


class OutOfTime(Exception):
    """The deadline passed before this benchmark; it and those after it are left out."""


class Timer:
    """Stands in for Ray's `timeit`: a warm-up, then rounds of `seconds` each, and nothing at all past the deadline."""

    def __init__(self, seconds, rounds, deadline_at, only):
        self.seconds = seconds
        self.rounds = rounds
        self.deadline_at = deadline_at
        self.only = only
        self.results = []

    def __call__(self, name, fn, multiplier=1, warmup_time_sec=0):
        name = name.removesuffix(SUFFIX)
        if self.only not in name:
            return [None]
        if time.monotonic() > self.deadline_at:
            raise OutOfTime(name)
        # The first call also pays for what the benchmark waits on once, such as the making of its input: not counted.
        warm_up = self._timed(fn)
        rounds = 1 if warm_up > LONG_CALL_ROUNDS * self.seconds else self.rounds
        samples = [self._round(fn, multiplier) for _ in range(rounds)]
        value = statistics.median(samples)
        spread = (max(samples) - min(samples)) / value * 100
        self.results.append(
            {"name": name, "value": value, "unit": unit(name), "runs": len(samples), "spread_percent": spread}
        )
        print(f"{name} per second {value:,.2f} (spread {spread:.0f} %)", flush=True)
        return [(name, value, spread)]

    @staticmethod
    def _timed(fn):
        start = time.perf_counter()
        fn()
        return time.perf_counter() - start

    def _round(self, fn, multiplier):
        calls = 0
        start = time.perf_counter()
        while True:
            fn()
            calls += 1
            elapsed = time.perf_counter() - start
            if elapsed >= self.seconds:
                return multiplier * calls / elapsed


def unit(name):
    """What is counted each second."""
    return "GB/s" if name.endswith("gigabytes") else "1/s"


def bounded_init(real_init, cpus, folder):
    """`ray.init` with the bounds of this run; what the benchmark itself asks for is kept."""

    def init(*args, **options):
        options.setdefault("num_cpus", cpus)
        options.setdefault("include_dashboard", False)
        options.setdefault("configure_logging", False)
        options.setdefault("log_to_driver", False)
        options.setdefault("_node_ip_address", LOOPBACK)
        options.setdefault("_temp_dir", folder)
        return real_init(*args, **options)

    return init


def envelope(timer):
    """What Ray publishes as the limits of one node, at sizes that end in seconds."""

    @ray.remote
    def empty():
        return b"ok"

    @ray.remote
    def count(*values):
        return len(values)

    @ray.remote(num_returns=3000)
    def many():
        return tuple(range(3000))

    @ray.remote(num_cpus=0)
    class Idle:
        def ready(self):
            return None

    def arguments():
        refs = [ray.put(i) for i in range(10_000)]
        assert ray.get(count.remote(*refs)) == 10_000

    def create_actors():
        actors = [Idle.remote() for _ in range(20)]
        ray.get([actor.ready.remote() for actor in actors])

    ray.init()
    timer("10000 arguments to one task", arguments)
    timer("3000 returns of one task", lambda: ray.get(many.remote()))
    refs = [ray.put(i) for i in range(10_000)]
    timer("get of 10000 objects", lambda: ray.get(refs))
    timer("actor creation", create_actors, 20)
    timer("queued tasks, submit all then get all", lambda: ray.get([empty.remote() for _ in range(5_000)]), 5_000)
    ray.shutdown()


def main():
    """Runs the benchmarks and writes their figures as JSON; the processes of Ray are gone afterwards."""
    parser = argparse.ArgumentParser(description="Ray's microbenchmark, bounded in time")
    parser.add_argument("out")
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1.0, help="length of one round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--deadline", type=float, default=420.0, help="start no further benchmark after this")
    parser.add_argument("--only", default=os.environ.get("ONLY", ""))
    options = parser.parse_args()

    timer = Timer(options.seconds, options.rounds, time.monotonic() + options.deadline, options.only)
    ray_perf.timeit = timer
    # Not below the default temporary folder of a user: Ray's sockets need a short path.
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    ray.init = bounded_init(ray.init, options.cpus, folder)
    try:
        ray_perf.main()
        envelope(timer)
    except OutOfTime as first:
        print(f"the time is up: left out from `{first}` on", flush=True)
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
        with open(options.out, "w", encoding="utf-8") as file:
            of = {"version": ray.__version__, "cpus": options.cpus, "goal": GOAL}
            json.dump({**of, "rows": timer.results}, file, indent=2)
    if not timer.results:
        print("no benchmark was measured", file=sys.stderr)
    return 0 if timer.results else 1


if __name__ == "__main__":
    sys.exit(main())
