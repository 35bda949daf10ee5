"""Look-ups against Redis, and against a database larger than the cache."""

from functools import partial
from statistics import median

from ..load import Run, alternate
from ..results import Result
from ..row import Row
from ..world import World

# Both servers have them all in memory; Fingerpost's default cache holds them.
KEYS = 1_000_000


def against_redis(
    world: World, *, mode: str, connections: int, depth: int, target: float
) -> list[Result]:
    keys = KEYS // world.scale
    load = {"mode": mode, "connections": connections, "depth": depth, "keys": keys}
    timing = {"warmup": world.seconds / 3, "duration": world.seconds}
    with world.redis(keys) as redis, world.fingerpost(world.database(keys)) as ours:
        prime(world, ours, keys)
        pairs = alternate(
            world.rounds,
            lambda: world.generator(redis).run(**load, **timing),
            lambda: world.generator(ours).run(**load, **timing),
        )
    label = f"{mode}, {connections} connections"
    label += ", unpipelined" if depth == 1 else f", {depth} deep"
    ratios = [b.cpu / a.cpu for a, b in pairs]
    note = f"{costs('Redis', [a for a, _ in pairs])}; {costs('ours', [b for _, b in pairs])}"
    return [Result(f"{label}: processor time", "× Redis GET", ratios, target, note=note)]


def prime(world: World, server, keys: int) -> None:
    """Brings every key into the server's memory."""
    world.generator(server).run(mode="get-stream", keys=keys, prime=True, requests=1000)


def costs(name: str, runs: list[Run]) -> str:
    cpu = median(run.cpu for run in runs)
    rate = median(run.per_second for run in runs) / 1000
    p99 = median(run.p99 for run in runs) / 1000
    return f"{name} {cpu:.3g} µs, {rate:,.0f} K/s, p99 {p99:.2g} ms"


def larger_than_cache(world: World) -> list[Result]:
    """Zipf look-ups: 10 M rows and a cache of a tenth, against 100 K rows that
    the cache holds whole."""
    many, few = 10_000_000 // world.scale, 100_000 // world.scale
    cache = f"hashequiv.lookup_cache_mib={cache_mib(many // 10)}"
    with (
        world.fingerpost(world.database(many), "--set", cache) as large,
        world.fingerpost(world.database(few)) as small,
    ):
        prime(world, small, few)
        warm(world, large, many)
        pairs = {depth: zipf_pairs(world, large, small, many, few, depth) for depth in (1, 100)}
    ratios = [a.cpu / b.cpu for a, b in pairs[1]]
    label = "10 M rows, cache a tenth, Zipf 1.0, 64 connections"
    beside = f"large: {costs('', [a for a, _ in pairs[1]])}; small:{costs('', [b for _, b in pairs[1]])}"
    deep = [a.cpu for a, _ in pairs[100]]
    return [
        Result(f"{label}, unpipelined", "× 100 K rows", ratios, 1.6, note=beside),
        Result(f"{label}, 100 deep", "µs", deep, 3.0, note=costs("large:", [a for a, _ in pairs[100]])),
    ]


def zipf_pairs(world: World, large, small, many: int, few: int, depth: int):
    load = {"distribution": "zipf:1.0", "connections": 64, "depth": depth}
    load |= {"warmup": world.seconds / 3, "duration": world.seconds}
    return alternate(
        world.rounds,
        lambda: world.generator(large).run(keys=many, **load),
        lambda: world.generator(small).run(keys=few, **load),
    )


def warm(world: World, server, keys: int) -> None:
    """Fills the cache with what is asked for most."""
    load = {"distribution": "zipf:1.0", "connections": 64, "depth": 100}
    world.generator(server).run(keys=keys, requests=keys * 2, **load)


def cache_mib(entries: int) -> int:
    """The setting that holds so many entries; an entry is counted as 128 bytes."""
    return max(1, entries * 128 // 2**20)


def row(name: str, about: str, **load) -> Row:
    return Row(name, about, partial(against_redis, **load))


ROWS = [
    row("get-stream-64", "get-stream, unpipelined, 64 connections, against Redis",
        mode="get-stream", connections=64, depth=1, target=0.95),
    row("get-stream-256", "get-stream, unpipelined, 256 connections, against Redis",
        mode="get-stream", connections=256, depth=1, target=0.95),
    row("get-stream-64x16", "get-stream, 16 deep, 64 connections, against Redis",
        mode="get-stream", connections=64, depth=16, target=0.55),
    row("get-stream-64x100", "get-stream, 100 deep, 64 connections, against Redis",
        mode="get-stream", connections=64, depth=100, target=0.45),
    row("get-64", "get (JSON), 64 connections, against Redis",
        mode="get", connections=64, depth=1, target=1.2),
    Row("zipf", "10 M rows, cache a tenth, Zipf 1.0, against 100 K rows", larger_than_cache),
]
