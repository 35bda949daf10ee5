"""Tokens that are wrong, a thousand a second, and look-ups beside them."""

import base64
import hashlib
import shutil

from ..results import Result
from ..row import Row
from ..world import Server, World
from .lookups import prime

KEYS = 100_000
RATE = 1000
# An address may be wrong ten times a second before it is not looked at any more.
HOSTS = 200
ADMIN = ("admin", "0" * 64)


def bad_tokens(world: World) -> list[Result]:
    keys = KEYS // world.scale
    seconds = world.seconds * 3
    beside = {"mode": "get-stream", "connections": 16, "keys": keys, "rate": 400}
    bad = {"mode": "get", "connections": HOSTS, "rate": RATE, "keys": keys, "http_refused": True}
    options = ["--admin-user", ADMIN[0], "--admin-password", ADMIN[1]]
    results = []
    database = world.scratch(world.database(keys))
    with world.fingerpost(database, *options) as server:
        prime(world, server, keys)
        over_http = Server(server.process, server.address, "http")
        alone = world.generator(server).run(**beside, duration=seconds, warmup=1)
        results.append(known_beside(world, over_http, keys, seconds))
        for name, value in {"Bearer": bearer(), "Basic": basic()}.items():
            for hosts in (HOSTS, 1):
                asked = bad | {"http_header": f"authorization: {name} {value}", "hosts": hosts}
                shares, p99 = [], []
                for _ in range(min(world.rounds, 5)):
                    run = world.generator(over_http).run(**asked, duration=seconds, warmup=1)
                    shares.append(run.cpu * RATE / 1e4)
                    with world.generator(over_http).running(**asked):
                        p99.append(world.generator(server).run(**beside, duration=seconds, warmup=1).p99 / 1000)
                results += shown(name, hosts, shares, p99, alone.p99 / 1000)
    shutil.rmtree(database.parent)
    return results


def known_beside(world: World, server: Server, keys: int, seconds: float) -> Result:
    """What as many requests cost that are answered from memory: above all, to be woken for each."""
    shares = []
    for _ in range(min(world.rounds, 5)):
        run = world.generator(server).run(
            mode="get", connections=HOSTS, rate=RATE, keys=keys, duration=seconds, warmup=1
        )
        shares.append(run.cpu * RATE / 1e4)
    what = f"{RATE:,} known look-ups over HTTP a second, for comparison: server CPU"
    return Result(what, "% of a core", shares, None)


def shown(name: str, hosts: int, shares: list[float], p99: list[float], alone: float) -> list[Result]:
    looked_at = f"from {hosts} addresses" if hosts > 1 else "from one address, most not looked at"
    what = f"{RATE:,} bad {name} tokens a second, {looked_at}"
    return [
        Result(f"{what}: server CPU", "% of a core", shares, 5),
        Result("the same: p99 of 400 look-ups/s of others", "ms", p99, 10, note=f"without them {alone:.3g} ms"),
    ]


def bearer() -> str:
    """As the server makes them, and made by nobody."""
    text = "fp_" + "5" * 16 + "_" + "a" * 48
    return text + hashlib.sha256(text.encode()).hexdigest()[:8]


def basic() -> str:
    """A user that there is, with another's token."""
    return base64.b64encode(f"{ADMIN[0]}:{'1' * 64}".encode()).decode()


ROWS = [Row("bad-tokens", "1,000 wrong Bearer and Basic tokens a second", bad_tokens)]
