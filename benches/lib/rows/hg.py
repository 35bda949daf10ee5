"""Mercurial over version 2 of the wire protocol, beside `hg serve` 6.0.3."""

import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from ..hg import plan, synthetic
from ..hg.servers import HG, ROOT, hg, ours, reference
from ..hg.wire import Connection
from ..results import Result
from ..row import Row
from ..world import World

MIB = 2**20
# Repeats of ours; the reference takes seconds for each clone.
CLONES, REFERENCE_CLONES = 20, 3
PULLS = 500
AT_ONCE = 16
MEMORY_MIB = 150
HISTORY_SECONDS = 6 * 3600


@dataclass(frozen=True)
class Cost:
    """What one run cost the server: processor seconds, peak memory, bytes that it sent."""

    cpu: float
    peak: int
    sent: int
    seconds: float


def history(world: World, name: str) -> Path:
    """The repository of a history; made if it is not in the cache, which takes its time."""
    if not HG.exists():
        raise FileNotFoundError(f"{HG} is missing; `make prepare` installs it")
    command = [sys.executable, ROOT / "tests" / "peers" / "hg" / "make-history", name]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=HISTORY_SECONDS)
    return Path(done.stdout.strip())


def messages(server, make) -> list[bytes]:
    """A plan's requests as they are sent."""
    with Connection(server.address) as connection:
        return [request.message("") for request in make(connection, "")]


def send(server, requests: list[bytes]) -> int:
    """Sends all requests on a connection of their own; gives the bytes of the answers."""
    with Connection(server.address) as connection:
        return sum(connection.ask(request, keep=False).length for request in requests)


def one_clone(world: World, start, repository: Path, requests: list[bytes]) -> Cost:
    """A clone from a server that was just started: nothing of the repository was opened yet."""
    with start(world, repository) as server:
        before, began = server.settled_cpu(), time.monotonic()
        sent = send(server, requests)
        seconds = time.monotonic() - began
        return Cost(server.settled_cpu() - before, server.memory("VmHWM"), sent, seconds)


def full_clone(world: World, *, name: str, label: str, fraction: float) -> list[Result]:
    repository = history(world, f"{name}-kept")
    found = {}
    for start, repeats in ((ours, CLONES), (reference, REFERENCE_CLONES)):
        repeats = min(repeats, world.rounds) if world.scale > 1 else repeats
        with start(world, repository) as server:
            requests = messages(server, plan.clone)
        found[start] = [one_clone(world, start, repository, requests) for _ in range(repeats)]
    real_clone(world, repository)
    real_clone(world, history(world, name))
    base = median(cost.cpu for cost in found[reference])
    note = f"ours {said(found[ours])}; hg serve 6.0.3 {said(found[reference])}"
    peaks = [cost.peak / MIB for cost in found[ours]]
    beside = f"hg serve {max(cost.peak for cost in found[reference]) / MIB:.0f} MiB"
    times = [base / cost.cpu for cost in found[ours]]
    return [
        Result(f"full clone, {label}: server CPU", "× less than hg serve", times, fraction, at_least=True, note=note),
        Result("the same: peak memory", "MiB", peaks, MEMORY_MIB, note=beside),
    ]


def said(costs: list[Cost]) -> str:
    cpu = [cost.cpu for cost in costs]
    text = f"{median(cpu):.3g} s ({min(cpu):.3g}–{max(cpu):.3g}, n = {len(cpu)})"
    return f"{text}, {median(cost.sent for cost in costs) / MIB:.3g} MiB sent"


def real_clone(world: World, repository: Path) -> None:
    """A clone by the real client has to pass its own verification."""
    with tempfile.TemporaryDirectory(dir=world.path) as directory, ours(world, repository) as server:
        clone = Path(directory) / "clone"
        option = "experimental.httppeer.advertise-v2=true"
        hg("clone", "--quiet", "--noupdate", "--config", option, server.url, clone)
        hg("verify", "--quiet", "--repository", clone)


def no_op_pull(world: World) -> list[Result]:
    repository = history(world, "linear-kept")
    repeats = PULLS // world.scale
    costs = {}
    for start in (ours, reference):
        with start(world, repository) as server:
            requests = messages(server, plan.no_op_pull)
            send(server, requests)
            before = server.settled_cpu()
            for _ in range(repeats):
                sent = send(server, requests)
            costs[start] = (server.settled_cpu() - before) / repeats
            note = f"{sent} bytes"
    note = f"ours {costs[ours] * 1e3:.3g} ms, hg serve {costs[reference] * 1e3:.3g} ms, of {repeats} pulls each; {note}"
    ratio = costs[reference] / costs[ours]
    return [Result("no-op pull, 10,000 changesets: server CPU", "× less than hg serve", [ratio], 20, at_least=True, note=note)]


def sixteen(world: World) -> list[Result]:
    repository = history(world, "linear-kept")
    ratios, memory = [], []
    for _ in range(min(world.rounds, 5)):
        with ours(world, repository) as server:
            requests = messages(server, plan.clone)
        one = one_clone(world, ours, repository, requests).cpu
        with ours(world, repository) as server:
            before, idle = server.settled_cpu(), server.memory("VmRSS")
            together(AT_ONCE, partial(send, server, requests))
            ratios.append((server.settled_cpu() - before) / one)
            memory.append((server.memory("VmHWM") - idle) / MIB)
    return [
        Result("16 clones at once, 10,000 linear: server CPU", "× one clone", ratios, 16.5),
        Result("the same: peak memory above idle", "MiB", memory, 300),
    ]


def together(count: int, work) -> None:
    """Runs the same so many times at once; the first failure is raised."""
    failures = []

    def guarded():
        try:
            work()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def first_byte(world: World) -> list[Result]:
    """Of every kind of request of a clone, from a repository that was opened already."""
    repository = history(world, "linear-kept")
    with ours(world, repository) as server, Connection(server.address) as connection:
        requests = plan.clone(connection, "")
        firsts = {}
        for _ in range(world.rounds):
            for request in requests:
                answer = connection.ask(request.message(""), keep=False)
                firsts.setdefault(request.name, []).append(answer.first * 1e3)
    slowest = max(firsts, key=lambda name: median(firsts[name]))
    note = ", ".join(f"{name} {median(values):.3g} ms" for name, values in firsts.items())
    label = "first byte of a response, 10,000 changesets, opened already"
    return [Result(f"{label}: {slowest}, the slowest", "ms", firsts[slowest], 30, note=note)]


def opening(world: World) -> list[Result]:
    """From the first request for a repository to its answer, which tells the heads."""
    count = 200_000 // world.scale
    repository = world.path / "many"
    synthetic.repository(repository, count)
    index = (repository / ".hg" / "store" / "00changelog.i").stat().st_size
    times, read = [], []
    for _ in range(world.rounds):
        with ours(world, repository) as server, Connection(server.address) as connection:
            request = plan.Request("heads", (("heads", {}),)).message("", "identity")
            before = server.bytes_read()
            answer = connection.ask(request)
            times.append(answer.last * 1e3)
            read.append(server.bytes_read() - before)
    label = f"opening a repository of {count:,} changesets, to the first answer"
    once = "once the changelog's index and hardly more: no revision data, no other index"
    return [
        Result(label, "ms", times, 300),
        Result("the same: bytes read", "× the changelog's index", [bytes_read / index for bytes_read in read], 1.1, note=once),
    ]


def row(name: str, label: str, fraction: float) -> Row:
    measure = partial(full_clone, name=name, label=label, fraction=fraction)
    return Row(f"hg-{name}", f"full clone of {label}, against hg serve 6.0.3", measure)


ROWS = [
    row("linear", "10,000 linear changesets", 10),
    row("merges", "20,000 changesets, a quarter merges", 40),
    row("wide", "100,000 files × 1,000 changesets", 60),
    Row("hg-pull", "no-op pull, 500 times, against hg serve 6.0.3", no_op_pull),
    Row("hg-sixteen", "16 clones at once", sixteen),
    Row("hg-first-byte", "time to the first byte of each response of a clone", first_byte),
    Row("hg-open", "opening a repository of 200,000 changesets", opening),
]
