"""Import of a reference server's database."""

import os
import subprocess
import threading
import time
from functools import partial
from pathlib import Path

from ..results import Result
from ..row import Row
from ..world import World

IMPORT_SECONDS = 1800


def imports(world: World, *, rows: int, fill: list[str], what: str, target: float) -> list[Result]:
    rows //= world.scale
    source = world.path / "reference.db"
    world.run("bench", "fill", source, "--format", "reference", "--rows", rows, *fill)
    rounds = [one_import(world, source) for _ in range(min(world.rounds, 3))]
    source.unlink()
    label = f"import of {rows:,} {what}"
    speeds = [rows / seconds for seconds, _ in rounds]
    peaks = [peak / 2**20 for _, peak in rounds]
    return [
        Result(label, "rows/s", speeds, target, at_least=True),
        Result(f"{label}: peak memory", "MiB", peaks, 256),
    ]


def one_import(world: World, source: Path) -> tuple[float, int]:
    """Seconds and peak resident bytes of one import."""
    into = world.path / "imported.db"
    command = [world.binary, "import", str(source), "--into", str(into)]
    begin = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    limit = threading.Timer(IMPORT_SECONDS, process.kill)
    limit.start()
    try:
        # wait4 tells the peak of this one child.
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:
        process.kill()
        raise
    finally:
        limit.cancel()
    seconds = time.monotonic() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"import ended with {process.returncode}")
    for path in world.path.glob("imported.db*"):
        path.unlink()
    return seconds, usage.ru_maxrss * 1024


def row(name: str, about: str, **load) -> Row:
    return Row(name, about, partial(imports, **load))


ROWS = [
    row("import-mappings", "import of 10 M mappings",
        rows=10_000_000, fill=[], what="mappings", target=100_000),
    row("import-outputs", "import of 10 M mappings, each with its output, without siginfo",
        rows=10_000_000, fill=["--outputs"], what="mappings with their outputs", target=100_000),
    row("import-siginfo", "import of 200 K mappings with outputs and 20 KiB siginfo each",
        rows=200_000, fill=["--outputs", "--siginfo-bytes", "20480"],
        what="mappings with 20 KiB siginfo", target=5_000),
]
