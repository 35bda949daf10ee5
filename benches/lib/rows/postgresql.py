"""PostgreSQL below: look-ups that miss the cache, durable reports, two instances, retention."""

import json
import threading
import time
from contextlib import contextmanager
from functools import partial
from statistics import median

from ..load import Run
from ..results import Result
from ..row import Row
from ..world import World

# What the reference server was seen to use over PostgreSQL, in microseconds a request; the
# lower end where a range was seen. The database's own processor time is not in it.
REFERENCE_LOOKUP = 730
REFERENCE_REPORT = 4300
SHARE = 20
KEYS = 1_000_000
REPORTS = 20_000
OTHER_METHOD = "oe.sstatesig.OEOuthashBasic-poky-scarthgap-qemuarm-64"
# Nothing that a run asks for is remembered.
NO_CACHE = ["--set", "hashequiv.lookup_cache_mib=1"]


def misses(world: World, *, connections: int, depth: int) -> list[Result]:
    keys = KEYS // world.scale
    load = {"mode": "get-stream", "connections": connections, "depth": depth, "keys": keys}
    timing = {"warmup": world.seconds / 3, "duration": world.seconds}
    with world.postgresql() as cluster, world.fingerpost(filled(world, cluster, keys), *NO_CACHE) as server:
        runs = [world.generator(server).run(**load, **timing) for _ in range(world.rounds)]
    deep = "unpipelined" if depth == 1 else f"{depth} deep"
    label = f"look-up that misses the cache, PostgreSQL, {connections} connections, {deep}: processor time"
    return [Result(label, "µs", [run.cpu for run in runs], REFERENCE_LOOKUP / SHARE, note=beside(runs, "look-ups"))]


def reports(world: World, *, siginfo: str) -> list[Result]:
    load = {"mode": "report", "siginfo": siginfo, "connections": 16}
    runs = []
    with world.postgresql() as cluster:
        for _ in range(world.rounds):
            with world.fingerpost(cluster.fresh_database()) as server:
                # The first reports wait for tables and statements to be read.
                generator = world.generator(server)
                generator.run(**load, requests=500, first_report=10**9)
                runs.append(generator.run(**load, requests=REPORTS // world.scale, settle=60))
    carried = {"none": "without siginfo", "rebuild": "20 KiB siginfo, 8 of 10 rebuilt"}
    label = f"report, durable, PostgreSQL, 16 connections, {carried[siginfo]}: processor time"
    return [Result(label, "µs", [run.cpu for run in runs], REFERENCE_REPORT / SHARE, note=beside(runs, "reports"))]


def two_instances(world: World) -> list[Result]:
    """Look-ups and reports, 20 to 1, with a cold cache that holds a tenth of the tasks."""
    keys, seconds = KEYS // world.scale, 600 / world.scale
    cache = ["--set", f"hashequiv.lookup_cache_mib={max(1, keys // 10 * 128 // 2**20)}"]
    load = {"mode": "mixed", "connections": 64, "keys": keys, "rate": 6000, "duration": seconds}
    with world.postgresql() as cluster:
        database = filled(world, cluster, keys)
        with world.fingerpost(database, *cache) as one, world.fingerpost(database, *cache) as other:
            runs = together([
                partial(world.generator(server).run, **load, first_report=place * 10**9)
                for place, server in enumerate((one, other))
            ])
    rate = sum(run.per_second for run in runs)
    label = f"12,000 look-ups and reports a second, 20 to 1, cold cache of a tenth, two instances, {seconds:.0f} s"
    note = f"{rate:,.0f} requests/s answered, no error; {median(run.cpu for run in runs):.3g} µs of processor time"
    return [
        Result(f"{label}: p99", "ms", [run.p99 / 1000 for run in runs], 10, note=note),
        Result(f"{label}: p99.9", "ms", [run.p999 / 1000 for run in runs], None),
    ]


def retention(world: World, *, on: str) -> list[Result]:
    """Half of the rows go while others are looked up, and once while nobody asks."""
    kept = 5_000_000 // world.scale
    load = {"mode": "get-stream", "connections": 16, "keys": kept, "rate": 2000}
    with place_of(world, on) as (database, again):
        with world.fingerpost(database(kept), *NO_CACHE) as server:
            with world.generator(server).running(**load) as finish:
                seconds, rows = forgotten(world, server.database)
                beside = finish()
        assert rows == kept - 1, rows
        with world.fingerpost(again(kept), *NO_CACHE) as server:
            idle_seconds, rows = forgotten(world, server.database)
        assert rows == kept - 1, rows
    label = f"2,000 look-ups/s while {kept:,} of {2 * kept:,} rows are forgotten, {on}"
    note = f"{kept / seconds:,.0f} rows/s went meanwhile"
    return [
        Result(f"{label}: p99", "ms", [beside.p99 / 1000], 10, note=note),
        Result(f"{label}: p99.9", "ms", [beside.p999 / 1000], 50),
        Result(f"rows forgotten a second, nobody asks, {on}", "rows/s", [kept / idle_seconds], 20_000, at_least=True),
    ]


@contextmanager
def place_of(world: World, on: str):
    """How to make a database of so many rows of each of two methods, and another one."""
    if on == "SQLite":
        def make(kept: int):
            return world.scratch(both_methods(world, kept))

        yield make, make
        return
    with world.postgresql() as cluster:
        def make(kept: int):
            return copied(world, cluster, both_methods(world, kept))

        yield make, make


def both_methods(world: World, kept: int):
    """A file with so many rows of each of two methods, made once."""
    path = world.path / f"both-{kept}.db"
    if not path.exists():
        for method in ([], ["--method", OTHER_METHOD]):
            world.run("bench", "fill", path, "--rows", kept, *method)
    return path


def forgotten(world: World, database) -> tuple[float, int]:
    """Runs retention beside the server; how long it took and what went."""
    rules = world.path / "retention.toml"
    rules.write_text(f'[[retention.rules]]\nmethod = "{OTHER_METHOD}"\nmappings = {{ max_rows = 1 }}\n')
    start = time.monotonic()
    said = world.output("retention", "run", "--config", rules, "--database", database, "--json", seconds=3600)
    return time.monotonic() - start, json.loads(said)["rows"]


def filled(world: World, cluster, keys: int) -> str:
    """The URL of a database with so many keys."""
    return copied(world, cluster, world.database(keys))


def copied(world: World, cluster, file) -> str:
    """The URL of a copy of a file; the first one takes long, the others are copies of it."""
    templates = cluster.__dict__.setdefault("templates", {})
    if file not in templates:
        templates[file] = cluster.fresh_database()
        world.run("copy", file, templates[file], "--finish")
        cluster.sql("VACUUM ANALYZE", name_of(templates[file]))
    return cluster.fresh_database(template=name_of(templates[file]))


def name_of(url: str) -> str:
    return url.rsplit("/", 1)[1]


def together(works) -> list[Run]:
    """Does them at once; the first error of any is raised."""
    outcomes = [None] * len(works)

    def do(place, work):
        try:
            outcomes[place] = work()
        except BaseException as error:
            outcomes[place] = error

    threads = [threading.Thread(target=do, args=one) for one in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return outcomes


def beside(runs: list[Run], what: str) -> str:
    rate, p99 = median(run.per_second for run in runs), median(run.p99 for run in runs)
    return f"{rate:,.0f} {what}/s, p99 {p99 / 1000:.3g} ms"


ROWS = [
    Row("postgresql-miss-64", "look-ups that miss the cache, unpipelined, PostgreSQL",
        partial(misses, connections=64, depth=1)),
    Row("postgresql-miss-64x100", "look-ups that miss the cache, 100 deep, PostgreSQL",
        partial(misses, connections=64, depth=100)),
    Row("postgresql-report-16", "report without siginfo, 16 connections, PostgreSQL", partial(reports, siginfo="none")),
    Row("postgresql-report-siginfo-16", "report with 20 KiB siginfo, rebuilds, 16 connections, PostgreSQL",
        partial(reports, siginfo="rebuild")),
    Row("postgresql-two", "look-ups and reports by two instances for ten minutes, PostgreSQL", two_instances),
    Row("retention-sqlite", "half of 10 M rows are forgotten beside look-ups, SQLite", partial(retention, on="SQLite")),
    Row("retention-postgresql", "half of 10 M rows are forgotten beside look-ups, PostgreSQL",
        partial(retention, on="PostgreSQL")),
]
