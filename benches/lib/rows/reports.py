"""Durable reports: processor time, compression in the background included."""

from functools import partial
from statistics import median

from ..load import Run
from ..results import Result
from ..row import Row
from ..world import World

REPORTS = 20_000
# What the reference server was seen to use, in microseconds a report; the
# lower end where a range was seen.
REFERENCE_WITH_SIGINFO = 560
REFERENCE_WITHOUT = 397


def reports(
    world: World, *, siginfo: str, connections: int, target: float | None
) -> list[Result]:
    runs = [one_round(world, siginfo, connections) for _ in range(world.rounds)]
    carried = {"none": "without siginfo", "new": "20 KiB siginfo of new tasks"}
    carried["rebuild"] = "20 KiB siginfo, 8 of 10 rebuilt"
    label = f"report, durable, {connections} connections, {carried[siginfo]}: processor time"
    return [Result(label, "µs", [run.cpu for run in runs], target, note=beside(runs))]


def one_round(world: World, siginfo: str, connections: int) -> Run:
    """Reports into a new database."""
    load = {"mode": "report", "siginfo": siginfo, "connections": connections}
    with world.fingerpost(world.scratch()) as server:
        # The first reports wait for tables and statements to be read.
        generator = world.generator(server)
        generator.run(**load, requests=500, first_report=10**9)
        return generator.run(**load, requests=REPORTS // world.scale, settle=60)


def beside(runs: list[Run]) -> str:
    rate, p99 = median(run.per_second for run in runs), median(run.p99 for run in runs)
    return f"{rate:,.0f} reports/s, p99 {p99 / 1000:.3g} ms"


def row(name: str, about: str, **load) -> Row:
    return Row(name, about, partial(reports, **load))


ROWS = [
    row("report-siginfo-16", "report with 20 KiB siginfo, rebuilds, 16 connections",
        siginfo="rebuild", connections=16, target=REFERENCE_WITH_SIGINFO / 4),
    row("report-new-siginfo-16", "report with 20 KiB siginfo, all tasks new, 16 connections",
        siginfo="new", connections=16, target=REFERENCE_WITH_SIGINFO / 4),
    row("report-16", "report without siginfo, 16 connections",
        siginfo="none", connections=16, target=REFERENCE_WITHOUT / 4),
    row("report-siginfo-256", "report with 20 KiB siginfo, rebuilds, 256 connections",
        siginfo="rebuild", connections=256, target=None),
    row("report-256", "report without siginfo, 256 connections",
        siginfo="none", connections=256, target=REFERENCE_WITHOUT / 6),
]
