"""Making a snapshot, and looking up in it."""

import json
import shutil
import time

from ..results import Result
from ..row import Row
from ..world import World

SNAPSHOT_ROWS = 10_000_000
MAKING_SECONDS = 900
# Look-ups of tasks that memory does not hold yet go to the database, where the snapshot reads too.
BESIDE = {"mode": "get-stream", "connections": 16, "rate": 400}


def snapshots(world: World) -> list[Result]:
    return [result for equal in (80, 0) for result in one_kind(world, equal)]


def one_kind(world: World, equal: int) -> list[Result]:
    """Rows of which so many of a hundred are their own unihash."""
    rows = SNAPSHOT_ROWS // world.scale
    found = [one_snapshot(world, rows, equal) for _ in range(min(world.rounds, 3))]
    figures = {name: [one[name] for one in found] for name in found[0]}
    label = f"snapshot of {rows:,} rows, {equal} % equal"
    return [
        Result(f"{label}: to write", "s", figures["write_seconds"]),
        Result("the same: processor time", "s", figures["write_cpu_seconds"]),
        Result("the same: peak memory", "MiB", figures["write_peak_mib"]),
        Result("the same: size", "bytes/row", figures["bytes_per_row"]),
        Result("the same: to verify", "s", figures["verify_seconds"]),
        Result("the same: look-ups in files, one thread", "/s", figures["lookups_per_second_in_files"]),
        Result("the same: look-ups in memory, one thread", "/s", figures["lookups_per_second_in_memory"]),
    ]


def beside_serving(world: World) -> list[Result]:
    """A snapshot that a server makes of its own database, and look-ups meanwhile."""
    rows = SNAPSHOT_ROWS // world.scale
    database = world.scratch(world.database(rows))
    with world.fingerpost(database) as server:
        load = BESIDE | {"keys": rows}
        alone = world.generator(server).run(**load, duration=world.seconds * 3, warmup=1)
    rounds = [one_serving(world, database, load) for _ in range(min(world.rounds, 3))]
    shutil.rmtree(database.parent)
    seconds, beside = ([one[place] for one in rounds] for place in range(2))
    label = f"a server makes a snapshot of {rows:,} rows"
    longest = f"longest {max(run.longest for run in beside) / 1000:.3g} ms, without it {alone.p99 / 1000:.3g} ms"
    return [
        Result(f"{label}: time", "s", seconds, 60),
        Result("the same: p99 of 400 look-ups/s", "ms", [run.p99 / 1000 for run in beside], 10, note=longest),
    ]


def one_serving(world: World, database, load: dict) -> tuple:
    """How long the snapshot took, and the look-ups that were answered meanwhile."""
    directory = world.path / "made"
    config = world.path / "making.toml"
    config.write_text(f"[snapshots]\ndirectory = '{directory}'\nevery_hours = 1\npublished_only = false\n")
    start = time.monotonic()
    try:
        with world.fingerpost(database, "--config", str(config)) as server:
            with world.generator(server).running(**load) as finish:
                while not any(directory.glob("snapshot-default-*/manifest.json")):
                    if time.monotonic() - start > MAKING_SECONDS:
                        raise RuntimeError(f"no snapshot after {MAKING_SECONDS} s")
                    time.sleep(0.2)
                seconds = time.monotonic() - start
                return seconds, finish()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def one_snapshot(world: World, rows: int, equal: int) -> dict:
    directory = world.path / "snapshot"
    words = ("bench", "snapshot", directory, "--rows", rows, "--equal", equal / 100)
    try:
        return json.loads(world.output(*words))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


ROWS = [
    Row("snapshot", "snapshots of 10 M rows, 80 % and 0 % their own unihash", snapshots),
    Row("snapshot-serving", "a snapshot of 10 M rows made by a server, and look-ups meanwhile", beside_serving),
]
