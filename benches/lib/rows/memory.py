"""Memory of a large server under load."""

from ..results import Result
from ..row import Row
from ..world import World


def memory(world: World) -> list[Result]:
    """Peak resident memory after look-ups that fill every cache, of both
    kinds, and reports, on 1,000 connections at a time."""
    rows = 10_000_000 // world.scale
    database = world.scratch(world.database(rows))
    load = {"connections": 1000, "keys": rows}
    with world.fingerpost(database) as server:
        generator = world.generator(server)
        generator.run(**load, mode="get-stream", depth=16, requests=rows // 2)
        generator.run(**load, mode="get", requests=rows // 50)
        reports = {"requests": 20_000 // world.scale, "connections": 1000}
        generator.run(mode="report", siginfo="rebuild", **reports)
        generator.run(**load, mode="get-stream", distribution="zipf:1.0", requests=rows // 5)
        peak, now = server.memory("VmHWM"), server.memory("VmRSS")
    database.unlink()
    note = f"{now / 2**20:.0f} MiB at the end"
    label = "memory at 10 M rows, default settings, 1,000 connections: peak"
    return [Result(label, "MiB", [peak / 2**20], 400, note=note)]


ROWS = [Row("memory", "resident memory at 10 M rows with 1,000 connections", memory)]
