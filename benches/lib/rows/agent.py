"""The agent: what faults of its server cost a build, and what it costs itself."""

import hashlib
import itertools
import random
import shutil
import subprocess
import threading
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median

from ..agents import Build, Linked, agent, hears, knows_all
from ..keys import METHOD, taskhash
from ..load import alternate
from ..results import Result
from ..row import Row
from ..world import World
from .lookups import costs, prime

LOOKUPS, REPORTS = 15_000, 500
MANY = 10_000
# What is there before a build begins, and is not asked for by those that are to find nothing.
ROWS_THERE = 20_000
ROUND_TRIP = 0.05
SNAPSHOT_SECONDS = 120
# Agents of a farm, its builds, and their tasks, of which so many of a hundred were built before.
HOSTS, BUILDS, TASKS, REUSED = 10, 100, 15_000, 95
# So many of a hundred that were built before were built since the snapshot, where there are so many.
LATELY = 40
CPU_KEYS = 100_000
IDLE_SECONDS = 20
FAULTS = {
    "black hole": "hang",
    "refusing": "refuse",
    "resetting": "reset",
    "garbage": "talk_garbage",
    "500": "fail",
}


def unknown(number: int) -> str:
    """A taskhash that no server has."""
    return hashlib.sha256(b"unknown %d" % number).hexdigest()


# Each build has tasks of its own: those of the one before are known to the server.
PARTS = itertools.count(1)


def url(port: int, scheme: str) -> str:
    return f"127.0.0.1:{port}" if scheme == "native" else f"{scheme}://localhost:{port}"


def port_of(server) -> int:
    return int(server.address.rpartition(":")[2])


@contextmanager
def serving(world: World, rows: int):
    """A server of a database of its own, with TLS and without."""
    database = world.scratch(world.database(rows))
    with world.fingerpost(database, *world.tls()) as server:
        yield server
    shutil.rmtree(database.parent)


def faults(world: World) -> list[Result]:
    """A build whose server fails when half of its look-ups are asked, and all that follow."""
    from faults import Link

    results = []
    with serving(world, ROWS_THERE) as server:
        for scheme, name in [(s, n) for s in ("https", "native") for n in FAULTS] + [("http", "500")]:
            # Within TLS, and where lines are spoken, nobody hears a 500.
            if (name == "500") != (scheme == "http"):
                continue
            pairs = []
            for _ in range(min(world.rounds, 3)):
                plain = one_build(world, server, scheme, Link, None)
                failing = one_build(world, server, scheme, Link, FAULTS[name])
                pairs.append((plain, failing))
            label = "BitBake's protocol" if scheme == "native" else scheme
            note = f"in all {median(b for _, b in pairs):.3g} s, without it {median(a for a, _ in pairs):.3g} s"
            what = f"{name} in mid-build, {LOOKUPS:,} look-ups and {REPORTS} reports, {label}: added"
            results.append(Result(what, "s", [max(0.0, b - a) for a, b in pairs], 5, note=note))
    return results


def one_build(world: World, server, scheme: str, link_of, fault: str | None) -> float:
    """Seconds of a build of an agent that was just started."""
    with Linked(lambda: link_of(server.address)) as link:
        with agent(world, url(link.port(), scheme)) as asked, Build(asked.path) as build:
            asked.await_status(hears)
            known = [taskhash(number) for number in range(20)]
            before = build.unihashes(METHOD, known)
            part = next(PARTS)
            tasks = [unknown(part * 10**6 + number) for number in range(LOOKUPS)]
            began = time.monotonic()
            found = build.unihashes(METHOD, tasks[: LOOKUPS // 2])
            beginning = threading.Thread(target=link.do, args=(fault,)) if fault else None
            if beginning:
                beginning.start()
            found += build.unihashes(METHOD, tasks[LOOKUPS // 2 :])
            for number, task in enumerate(tasks[:REPORTS]):
                outhash = unknown(-part * 10**6 - number - 1)
                if build.report(METHOD, task, outhash, task) != task:
                    raise RuntimeError("a report is answered with another unihash")
            seconds = time.monotonic() - began
            if beginning:
                beginning.join()
            if any(found) or None in before or build.unihashes(METHOD, known) != before:
                raise RuntimeError("a wrong answer")
            return seconds


def no_answer(world: World) -> list[Result]:
    """Builds whose server never says anything that is believed."""
    from faults import Link

    results = []
    count = min(world.rounds, 3)
    expired = expired_certificate(world)
    with serving(world, ROWS_THERE) as server:
        # A server does not start with it.
        with Linked(lambda: Link(server.address, expired, expired.with_suffix(".key"))) as link:
            figures = [unheard_build(world, url(link.port(), "https")) for _ in range(count)]
    what = f"expired certificate, {LOOKUPS:,} look-ups and {REPORTS} reports: all of it"
    results.append(Result(what, "s", figures, 5))
    results.append(wrong_signatures(world))
    return results + [login(world, scheme, own) for own in (True, False) for scheme in ("https", "native")]


def wrong_signatures(world: World) -> Result:
    """A build whose server knows all that it asks for, signed by somebody who is not believed."""
    ours, theirs, public = (world.path / f"{name}.ring" for name in ("ours", "theirs", "public"))
    for name, ring in (("ours", ours), ("theirs", theirs)):
        world.run("key", "new", "--ring", ring, "--name", name)
    world.run("key", "export-public", "--ring", ours, "--output", public)
    database = world.scratch(world.database(ROWS_THERE))
    world.run("key", "sign-existing", "--ring", theirs, "--database", database)
    judging = ("--snapshots=false", "--signatures", "require", "--ring", str(public))
    known = [taskhash(number) for number in range(LOOKUPS)]
    pairs = []
    with world.fingerpost(database, *world.tls()) as server:
        address = url(port_of(server), "https")
        for _ in range(min(world.rounds, 3)):
            nothing = [unknown(next(PARTS) * 10**6 + number) for number in range(LOOKUPS)]
            plain = unheard_build(world, address, "--snapshots=false", tasks=nothing)
            pairs.append((plain, unheard_build(world, address, *judging, tasks=known)))
    shutil.rmtree(database.parent)
    note = f"in all {median(b for _, b in pairs):.3g} s, of tasks that nobody knows {median(a for a, _ in pairs):.3g} s"
    what = f"wrong signatures, {LOOKUPS:,} look-ups and {REPORTS} reports, https: added"
    return Result(what, "s", [max(0.0, b - a) for a, b in pairs], 5, note=note)


def unheard_build(world: World, address: str, *options: str, tasks: list[str] | None = None) -> float:
    part = next(PARTS)
    with agent(world, address, *options) as asked, Build(asked.path) as build:
        if options:
            asked.await_status(hears)
        began = time.monotonic()
        found = build.unihashes(METHOD, tasks or [taskhash(number) for number in range(LOOKUPS)])
        for number in range(REPORTS):
            task = unknown(part * 10**6 + number)
            if build.report(METHOD, task, unknown(-part * 10**6 - number - 1), task) != task:
                raise RuntimeError("a report is answered with another unihash")
        if any(found):
            raise RuntimeError("an answer of a server that nobody vouches for")
        return time.monotonic() - began


def expired_certificate(world: World) -> Path:
    """One that is believed in all but its time."""
    made, _ = world.certificate()
    expired = world.path / "expired.crt"
    if not expired.exists():
        request = world.path / "expired.csr"
        words = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        words += ["-subj", "/CN=bench", "-addext", "subjectAltName=DNS:localhost"]
        words += ["-addext", "basicConstraints=critical,CA:FALSE", "-out", request, "-keyout", expired.with_suffix(".key")]
        subprocess.run(list(map(str, words)), check=True, capture_output=True, timeout=60)
        words = ["openssl", "x509", "-req", "-in", request, "-signkey", expired.with_suffix(".key"), "-days", "-1"]
        words += ["-copy_extensions", "copy", "-out", expired]
        subprocess.run(list(map(str, words)), check=True, capture_output=True, timeout=60)
        made.write_text(made.read_text() + expired.read_text())
    return expired


def login(world: World, scheme: str, own: bool) -> Result:
    """Tasks that log in at a server which hangs, through an agent with a login of its `own` or none."""
    from faults import Link

    password = world.path / "password"
    password.write_text("secret")
    figures = []
    with serving(world, ROWS_THERE) as server:
        for _ in range(min(world.rounds, 3)):
            options = ("--username", "builder", "--password-file", str(password)) if own else ()
            with Linked(lambda: Link(server.address)) as link:
                with agent(world, url(link.port(), scheme), *options) as asked:
                    link.do("hang")
                    figures.append(logged_in_builds(asked))
    label = "BitBake's protocol" if scheme == "native" else scheme
    whose = "" if own else ", an agent without a login"
    what = f"user and password, black hole{whose}, {LOOKUPS:,} look-ups and {REPORTS} reports of 50 tasks, {label}: all of it"
    return Result(what, "s", figures, 5)


def logged_in_builds(asked) -> float:
    each, part = LOOKUPS // 50, next(PARTS)
    began = time.monotonic()
    for number in range(50):
        with Build(asked.path) as build:
            build.ask({"auth": {"username": "builder", "token": "secret"}})
            tasks = [unknown(part * 10**6 + number * each + task) for task in range(each)]
            if any(build.unihashes(METHOD, tasks)):
                raise RuntimeError("a wrong answer")
            for task in tasks[: REPORTS // 50]:
                if build.report(METHOD, task, unknown(-int(task[:12], 16) - 1), task) != task:
                    raise RuntimeError("a report is answered with another unihash")
    return time.monotonic() - began


def slow_link(world: World) -> list[Result]:
    """What nobody knows, over a link of 50 ms."""
    from faults import SlowLink

    found = {}
    with serving(world, 1) as server:
        for scheme in ("https", "native"):
            for _ in range(min(world.rounds, 3)):
                with Linked(lambda: SlowLink(server.address, ROUND_TRIP)) as link:
                    with agent(world, url(link.port(), scheme), "--snapshots=false") as asked, Build(asked.path) as build:
                        for together, name in ((True, "pipelined"), (False, "one at a time, without a snapshot")):
                            seconds = timed(build, [unknown(together * 10**6 + n) for n in range(MANY)], together)
                            found.setdefault((scheme, name), []).append(seconds)
    with snapshotted(world, ROWS_THERE) as server:
        for _ in range(min(world.rounds, 3)):
            with Linked(lambda: SlowLink(server.address, ROUND_TRIP)) as link:
                with agent(world, url(link.port(), "https")) as asked, Build(asked.path) as build:
                    asked.await_status(knows_all(ROWS_THERE))
                    seconds = timed(build, [unknown(n) for n in range(MANY)], False)
                    found.setdefault(("https", "one at a time, with a snapshot"), []).append(seconds)
    targets = {"pipelined": 1, "one at a time, without a snapshot": 5, "one at a time, with a snapshot": 2}
    labels = {"native": "BitBake's protocol", "https": "https"}
    return [
        Result(f"{MANY:,} unknown over 50 ms, {name}, {labels[scheme]}", "s", seconds, targets[name])
        for (scheme, name), seconds in found.items()
    ]


def timed(build: Build, tasks: list[str], together: bool) -> float:
    began = time.monotonic()
    found = (build.unihashes if together else build.singly)(METHOD, tasks)
    seconds = time.monotonic() - began
    if any(found):
        raise RuntimeError("a wrong answer")
    return seconds


@contextmanager
def snapshotted(world: World, rows: int):
    """A server that has just made a snapshot of all its rows."""
    database = world.scratch(world.database(rows))
    directory = database.parent / "snapshots"
    config = database.parent / "snapshots.toml"
    config.write_text(f"[snapshots]\ndirectory = '{directory}'\nevery_hours = 1\npublished_only = false\n")
    with world.fingerpost(database, "--config", str(config), *world.tls()) as server:
        end = time.monotonic() + SNAPSHOT_SECONDS
        while not any(directory.glob("snapshot-default-*/manifest.json")):
            if time.monotonic() > end:
                raise RuntimeError(f"no snapshot after {SNAPSHOT_SECONDS} s")
            time.sleep(0.05)
        yield server
    shutil.rmtree(database.parent)


def from_snapshot(world: World) -> list[Result]:
    """What a fresh snapshot has."""
    figures, singly = [], []
    with snapshotted(world, ROWS_THERE) as server:
        for _ in range(world.rounds):
            with agent(world, url(port_of(server), "https")) as asked, Build(asked.path) as build:
                asked.await_status(knows_all(ROWS_THERE))
                for seconds, ask, first in ((figures, build.unihashes, 0), (singly, build.singly, MANY)):
                    tasks = [taskhash(first + number) for number in range(MANY)]
                    began = time.monotonic()
                    found = ask(METHOD, tasks)
                    seconds.append((time.monotonic() - began) * 1e3)
                    if None in found:
                        raise RuntimeError("the snapshot lacks a row")
                questions = asked.status()["counts"]["asked"]
                if questions:
                    raise RuntimeError(f"the server was asked for {questions}")
    return [
        Result(f"{MANY:,} look-ups, all in a fresh snapshot, pipelined", "ms", figures, 100, note="the server was asked for none"),
        Result("the same one at a time", "ms", singly),
    ]


def farm(world: World) -> list[Result]:
    """Builds of several hosts, most of whose tasks were built before; the others are reported and built upon."""
    tasks, builds = TASKS // world.scale, BUILDS // world.scale
    there = [taskhash(number) for number in range(TASKS * 2 // world.scale)]
    with snapshotted(world, len(there)) as server:
        before = server.settled_cpu()
        hosts = Farm(world, server, there, tasks, builds)
        found = hosts.run()
        cpu = server.settled_cpu() - before
    missed = 100 * found["missed"] / found["again"]
    note = f"{found['asked']:,} of {found['looked_up']:,}; {found['reports']:,} reports; "
    note += f"{missed:.2g} % of what others had reported was not known yet; server {cpu:.3g} s of processor time"
    what = f"{HOSTS} hosts, {builds} builds of {tasks:,} tasks, {REUSED} % built before: keys asked of the server"
    return [Result(what, "% of keys looked up", [100 * found["asked"] / found["looked_up"]], 5, note=note)]


class Farm:
    """Hosts with an agent each, which build at the same time."""

    def __init__(self, world: World, server, there: list[str], tasks: int, builds: int):
        self.world, self.server, self.there = world, server, there
        self.tasks, self.builds = tasks, builds
        self.lock = threading.Lock()
        # What builds reported, by anybody.
        self.lately: list[str] = []
        self.next = 0
        self.counts = dict.fromkeys(("asked", "looked_up", "reports", "missed", "again"), 0)
        self.errors: list[BaseException] = []

    def run(self) -> dict:
        hosts = [threading.Thread(target=self.host, args=(number,)) for number in range(HOSTS)]
        for host in hosts:
            host.start()
        for host in hosts:
            host.join()
        if self.errors:
            raise self.errors[0]
        return self.counts

    def host(self, number: int) -> None:
        try:
            with agent(self.world, url(port_of(self.server), "https")) as asked:
                asked.await_status(knows_all(len(self.there)))
                chance = random.Random(number)
                for _ in range(self.builds // HOSTS or 1):
                    with Build(asked.path) as build:
                        self.build(build, chance)
                counted = asked.status()["counts"]["asked"]
            self.add(asked=counted)
        except BaseException as error:
            self.errors.append(error)

    def build(self, build: Build, chance: random.Random) -> None:
        again = self.tasks * REUSED // 100
        with self.lock:
            count = min(len(self.lately), again * LATELY // 100)
            wanted = chance.sample(self.lately, count)
            first = self.next
            self.next += self.tasks - again
        wanted += chance.sample(self.there, again - count)
        new = [unknown(number) for number in range(first, first + self.tasks - again)]
        asked = wanted + new
        chance.shuffle(asked)
        found = dict(zip(asked, build.unihashes(METHOD, asked)))
        # What is not known is built, be it for the second time.
        for number, task in enumerate(task for task, unihash in found.items() if unihash is None):
            build.report(METHOD, task, unknown(-int(task[:12], 16) - 1), task)
        missed = sum(found[task] is None for task in wanted)
        with self.lock:
            self.lately += new
        self.add(looked_up=len(asked), reports=len(new) + missed, missed=missed, again=len(wanted))

    def add(self, **counts: int) -> None:
        with self.lock:
            for name, count in counts.items():
                self.counts[name] += count


def remembered(world: World, *, scheme: str) -> list[Result]:
    """What memory has, of an agent and of a server, both by a Unix socket."""
    keys = CPU_KEYS // world.scale
    load = {"mode": "get-stream", "connections": 64, "depth": 100, "keys": keys}
    load |= {"warmup": world.seconds / 3, "duration": world.seconds}
    path = world.path / f"server-{scheme}.sock"
    with world.fingerpost(world.database(keys), "--bind", f"unix://{path}", *world.tls()) as server:
        prime(world, server, keys)
        address = url(port_of(server), scheme)
        server.address = f"unix://{path}"
        its = world.generator(server)
        pairs = alternate(world.rounds, lambda: its.run(**load), lambda: fresh_agent_run(world, address, load))
    label = "BitBake's protocol" if scheme == "native" else scheme
    note = f"{costs('server', [a for a, _ in pairs])}; {costs('agent', [b for _, b in pairs])}"
    what = f"agent, remembered, 64 connections, 100 deep, Unix socket, {label}: processor time"
    return [Result(what, "× the server's", [b.cpu / a.cpu for a, b in pairs], 1.1, note=note)]


def fresh_agent_run(world: World, address: str, load: dict):
    """A run against an agent that was just told all keys: over BitBake's protocol it asks again after ten seconds."""
    with agent(world, address, "--snapshots=false", "--memory-mib", "64") as asked:
        asked.await_status(hears)
        prime(world, asked, load["keys"])
        before = asked.status()["counts"]["asked"]
        run = world.generator(asked).run(**load)
        if questions := asked.status()["counts"]["asked"] - before:
            raise RuntimeError(f"the server was asked for {questions}: that is no look-up from memory")
    return run


def light(world: World) -> list[Result]:
    """What an agent takes of its host that has no snapshot: when it follows a server, and when it has served a build."""
    small = world.binary.with_name("fingerpost-agent")
    program, name = ((small,), small.name) if small.exists() else (None, "fingerpost agent")
    starts, at_first, after, idle = [], [], [], []
    with serving(world, ROWS_THERE) as server:
        address = url(port_of(server), "https")
        for _ in range(world.rounds):
            with agent(world, address, "--snapshots=false", program=program) as asked, Build(asked.path) as build:
                starts.append(asked.seconds * 1e3)
                asked.await_status(hears)
                at_first.append(asked.memory("VmHWM") / 2**20)
                part = next(PARTS)
                if None in build.unihashes(METHOD, [taskhash(number) for number in range(LOOKUPS)]):
                    raise RuntimeError("a wrong answer")
                for number in range(REPORTS):
                    task = unknown(part * 10**6 + number)
                    build.report(METHOD, task, unknown(-part * 10**6 - number - 1), task)
                before, began = asked.settled_cpu(), time.monotonic()
                time.sleep(IDLE_SECONDS / world.scale)
                idle.append((asked.cpu() - before) * 1e3 / (time.monotonic() - began))
                after.append(asked.memory("VmHWM") / 2**20)
    label = f"{name} without a snapshot"
    return [
        Result(f"{label}, while it follows a server: memory", "MiB", at_first, 30),
        Result(f"{label}, after {LOOKUPS:,} look-ups and {REPORTS} reports: memory at its peak", "MiB", after, 30),
        Result(f"{label}: from its start to the first connection", "ms", starts, 50),
        Result(f"{label}, idle, while it follows a server: processor time", "ms a second", idle, 2),
    ]


ROWS = [
    Row("agent-light", "what an agent takes without a snapshot: memory, start, processor time", light),
    Row("agent-faults", "a build whose server fails in the middle of it", faults),
    Row("agent-unheard", "builds whose server says nothing that counts, and builds that log in", no_answer),
    Row("agent-slow-link", "10,000 unknown look-ups over a round trip of 50 ms", slow_link),
    Row("agent-snapshot", "10,000 look-ups from a fresh snapshot", from_snapshot),
    Row("agent-farm", "10 hosts, 100 builds, a snapshot: what is asked of the server", farm),
    Row("agent-64x100", "the agent's remembered look-ups against the server's", partial(remembered, scheme="https")),
    Row("agent-native-64x100", "the same over BitBake's protocol", partial(remembered, scheme="native")),
]
