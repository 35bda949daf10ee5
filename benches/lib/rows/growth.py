"""How much the database grows with each report."""

from functools import partial
from pathlib import Path

from ..results import Result
from ..row import Row
from ..world import World

ENTRIES = 200_000


def growth(world: World, *, siginfo: str, what: str, target: float | None) -> list[Result]:
    entries = ENTRIES // world.scale
    database = world.scratch()
    with world.fingerpost(database):
        pass
    before = size(database)
    with world.fingerpost(database) as server:
        load = {"mode": "report", "siginfo": siginfo, "connections": 64}
        world.generator(server).run(**load, requests=entries, settle=60)
    # The server's stop has moved the write-ahead log into the file.
    figure = (size(database) - before) / entries
    database.unlink()
    return [Result(f"file growth per entry, {entries:,} entries, {what}", "bytes", [figure], target)]


def size(database: Path) -> int:
    """Bytes of the file and of any log beside it."""
    beside = [database, Path(f"{database}-wal")]
    return sum(path.stat().st_size for path in beside if path.exists())


def row(name: str, about: str, **load) -> Row:
    return Row(name, about, partial(growth, **load))


ROWS = [
    row("growth-rebuild", "file growth, 8 of 10 reports rebuild a task seen before",
        siginfo="rebuild", what="8 of 10 rebuild a task seen before", target=2500),
    row("growth-drift", "file growth, the same, but each rebuild changes the one before",
        siginfo="drift", what="8 of 10 rebuild a task seen before, changes add up", target=None),
    row("growth-new", "file growth, every task new",
        siginfo="new", what="never seen before", target=8000),
    row("growth-none", "file growth without siginfo",
        siginfo="none", what="without siginfo", target=450),
]
