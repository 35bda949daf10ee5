"""Making a snapshot, and looking up in it."""

import json
import shutil

from ..results import Result
from ..row import Row
from ..world import World

SNAPSHOT_ROWS = 10_000_000


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


def one_snapshot(world: World, rows: int, equal: int) -> dict:
    directory = world.path / "snapshot"
    words = ("bench", "snapshot", directory, "--rows", rows, "--equal", equal / 100)
    try:
        return json.loads(world.output(*words))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


ROWS = [Row("snapshot", "snapshots of 10 M rows, 80 % and 0 % their own unihash", snapshots)]
