"""TLS: what it adds to look-ups, and what connections that wait keep."""

import resource
import time
from contextlib import ExitStack, contextmanager

from ..load import alternate
from ..results import Result
from ..row import Row
from ..world import World
from .lookups import costs, prime

KEYS = 100_000
IDLE = 10_000
# Connections of one generator, which opens all of them before it speaks on any.
IDLE_EACH = 500
OPEN_SECONDS = 120
MIB = 2**20
# What processes have open beside connections.
OTHER_FILES = 500


def added(world: World) -> list[Result]:
    """The same server on the same port, with and without."""
    keys = KEYS // world.scale
    load = {"mode": "get-stream", "connections": 64, "depth": 100, "keys": keys}
    load |= {"warmup": world.seconds / 3, "duration": world.seconds}
    certificate, _ = world.certificate()
    with world.fingerpost(world.database(keys), *world.tls()) as server:
        prime(world, server, keys)
        generator = world.generator(server)
        pairs = alternate(world.rounds, lambda: generator.run(**load), lambda: generator.run(**load, tls=certificate))
    note = f"{costs('without', [a for a, _ in pairs])}; {costs('with', [b for _, b in pairs])}"
    what = "get-stream, 64 connections, 100 deep, within TLS: processor time"
    return [Result(what, "× without TLS", [b.cpu / a.cpu for a, b in pairs], 1.6, note=note)]


def idle(world: World) -> list[Result]:
    """Connections that look something up once in minutes, and others beside them."""
    keys, count = KEYS // world.scale, IDLE // world.scale
    allow_files(count + OTHER_FILES)
    beside = {"mode": "get-stream", "connections": 16, "keys": keys, "rate": 400}
    beside |= {"duration": 30 / world.scale, "warmup": 1}
    with world.fingerpost(world.database(keys), *world.tls()) as server:
        others = server.open_files()
        prime(world, server, keys)
        alone = world.generator(server).run(**beside)
        before = server.memory("VmRSS")
        began = time.monotonic()
        with opened(world, server, count, others, keys):
            seconds = time.monotonic() - began
            among = world.generator(server).run(**beside)
            memory = server.memory("VmRSS")
    each = (memory - before) / count / 1024
    note = f"{before / MIB:.0f} MiB before them, {each:.3g} KiB each; opened in {seconds:.0f} s"
    p99 = f"without them {alone.p99 / 1000:.3g} ms"
    return [
        Result(f"{count:,} idle TLS connections: server memory", "MiB", [memory / MIB], 300, note=note),
        Result("400 look-ups/s beside them: p99", "ms", [among.p99 / 1000], note=p99),
    ]


@contextmanager
def opened(world: World, server, count: int, others: int, keys: int):
    """So many connections within TLS, each in the middle of a get-stream, of a server that has `others` open."""
    certificate, _ = world.certificate()
    options = {"mode": "get-stream", "keys": keys, "tls": certificate, "rate": 0.5, "patience": 600}
    with ExitStack() as stack:
        for begun in range(0, count, IDLE_EACH):
            now = min(IDLE_EACH, count - begun)
            finish = stack.enter_context(world.generator(server).running(**options, connections=now))
            await_files(server, others + begun + now)
            stack.callback(finish)
        yield


def await_files(server, wanted: int) -> None:
    end = time.monotonic() + OPEN_SECONDS
    while server.open_files() < wanted:
        if time.monotonic() > end:
            raise TimeoutError(f"{server.open_files()} of {wanted} files are open")
        time.sleep(0.05)


def allow_files(count: int) -> None:
    """Raises the limit of open files, which processes inherit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))


ROWS = [
    Row("tls-64x100", "get-stream, 100 deep, within TLS against without", added),
    Row("tls-idle", "memory of 10,000 idle TLS connections", idle),
]
