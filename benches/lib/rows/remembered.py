"""Answers to Mercurial clients that were made before: from memory, from disk, and from where clients are sent."""

import http.client
import json
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from ..hg import plan
from ..hg.servers import configured, nginx, ours, reference
from ..hg.wire import Connection
from ..results import Result
from ..row import Row
from ..world import World
from .hg import CLONES, MIB, history, messages, one_clone, send, together

CROWD = 64
REMEMBERING = ("--cache-mib", "400")
# What a request may cost beside its bytes, in seconds.
REQUEST_SECONDS = 150e-6
TARGET = b"files"
PUBLISHED_SECONDS = 120
FILL_SECONDS = 3600


def remembered(world: World, *, name: str, label: str) -> list[Result]:
    """Clones that get from memory or disk what the first one made, and what the first one costs then."""
    repository = history(world, f"{name}-kept")
    with reference(world, repository) as server:
        requests = messages(server, plan.clone)
    base = one_clone(world, reference, repository, requests).cpu
    plain, cold, memory, disk = [], [], [], []
    for _ in range(world.rounds):
        # In turns: the machine is not as fast at all times.
        plain.append(one_clone(world, ours, repository, requests).cpu)
        with ours(world, repository, *REMEMBERING) as server:
            cold.append(cost(server, requests, 1))
            memory.append(cost(server, requests, CLONES))
        with on_disk(world, repository) as server:
            send(server, requests)
            disk.append(cost(server, requests, CLONES))
    off, on = static(world, repository, requests)
    with ours(world, repository) as server:
        sent = send(server, requests)
    beside = f"{sent / MIB:.3g} MiB; hg serve 6.0.3 {base:.3g} s, once"
    misses = f"cold {median(cold):.3g} s, without remembering {median(plain):.3g} s"
    return [
        less(f"clone from memory, {label}: server CPU", base, memory, 300, beside),
        less("clone from disk: server CPU", base, disk, 300, beside),
        against_nginx("clone from memory", memory, off, on, len(requests)),
        against_nginx("clone from disk", disk, off, on, len(requests)),
        Result("the same: cost of remembering on a miss", "× without", [c / p for c, p in zip(cold, plain)], 1.1, note=misses),
    ]


def cost(server, requests: list[bytes], repeats: int) -> float:
    """Processor seconds of one of several clones."""
    before = server.settled_cpu()
    for _ in range(repeats):
        send(server, requests)
    return (server.settled_cpu() - before) / repeats


def less(what: str, base: float, costs: list[float], target: float, beside: str) -> Result:
    note = f"ours {median(costs) * 1e3:.3g} ms; {beside}"
    return Result(what, "× less than hg serve", [base / cpu for cpu in costs], target, at_least=True, note=note)


def against_nginx(what: str, costs: list[float], off: float, on: float, requests: int) -> Result:
    """What is left of the costs without a fixed one for each request, against nginx with the same bytes."""
    beside = requests * REQUEST_SECONDS
    note = f"nginx {off * 1e3:.3g} ms without sendfile, {on * 1e3:.3g} ms with it; {requests} requests"
    ratios = [max(cpu - beside, 0) / off for cpu in costs]
    return Result(f"{what}, less 150 µs a request: server CPU", "× nginx without sendfile", ratios, 2, note=note)


@contextmanager
def on_disk(world: World, repository: Path):
    directory = Path(tempfile.mkdtemp(dir=world.path))
    text = f"[cache]\nmemory_mib = 0\ndisk_directory = '{directory}'\n"
    try:
        with configured(world, repository, text) as server:
            yield server
    finally:
        shutil.rmtree(directory)


def static(world: World, repository: Path, requests: list[bytes]) -> tuple[float, float]:
    """What nginx takes for files of the same bytes: without sendfile and with it."""
    directory = Path(tempfile.mkdtemp(dir=world.path))
    with ours(world, repository) as server, Connection(server.address) as connection:
        for number, request in enumerate(requests):
            (directory / str(number)).write_bytes(connection.ask(request).body)
    # Workers of nginx as root are another user.
    directory.chmod(0o755)
    gets = [f"GET /{number} HTTP/1.1\r\nhost: bench\r\n\r\n".encode() for number in range(len(requests))]
    found = []
    for sendfile in (False, True):
        with nginx(world, directory, sendfile) as server:
            send(server, gets)
            found.append(cost(server, gets, CLONES))
    shutil.rmtree(directory)
    return found[0], found[1]


def redirected(world: World, *, name: str, label: str) -> list[Result]:
    """Clones whose long answers are fetched from nginx."""
    repository = history(world, f"{name}-kept")
    with reference(world, repository) as server:
        requests = messages(server, plan.clone)
    base = one_clone(world, reference, repository, requests)
    directory = Path(tempfile.mkdtemp(dir=world.path))
    directory.chmod(0o755)
    with nginx(world, directory) as cdn, configured(world, repository, to_files(directory, cdn)) as server:
        with Connection(server.address) as connection:
            following = [request.message("", targets=(TARGET,)) for request in plan.clone(connection, "")]
        # Made, then found and put to the target.
        send(server, following)
        await_published(server, following)
        costs, shares, at_cdn = [], [], []
        for _ in range(world.rounds):
            before, cdn_before = server.settled_cpu(), cdn.cpu()
            for _ in range(CLONES):
                sent, fetched = follow(server, following)
            costs.append((server.settled_cpu() - before) / CLONES)
            at_cdn.append((cdn.cpu() - cdn_before) / CLONES)
            shares.append(100 * sent / base.sent)
    shutil.rmtree(directory)
    beside = (
        f"{sent / 1024:.3g} KiB from here, {fetched / MIB:.3g} MiB from nginx in {median(at_cdn) * 1e3:.3g} ms; "
        f"hg serve 6.0.3 {base.cpu:.3g} s and {base.sent / MIB:.3g} MiB, once"
    )
    return [
        less(f"redirected clone, {label}: server CPU", base.cpu, costs, 500, beside),
        Result("the same: bytes from the server", "% of hg serve's", shares, 1),
    ]


def to_files(directory: Path, cdn) -> str:
    store = Path(tempfile.mkdtemp(dir=directory.parent))
    return (
        f"[cache]\ndisk_directory = '{store}'\nsecret = 'a secret of the bench alone'\n"
        f"[cache.objects.files]\nurl = 'file://{directory}'\n"
        f"[redirect.targets.{TARGET.decode()}]\nstock_clients = true\nobjects = 'files'\npublic = true\n"
        f"url = '{cdn.url}answers/'\n"
    )


def follow(server, requests: list[bytes]) -> tuple[int, int]:
    """A clone that follows; gives the bytes that came from the server and from elsewhere."""
    sent = fetched = 0
    with Connection(server.address) as connection:
        for request in requests:
            answer = connection.ask(request)
            sent += answer.length
            url = answer.redirect() if request.startswith(b"POST") else None
            fetched += fetch(url) if url else 0
    return sent, fetched


def fetch(url: str) -> int:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    connection.request("GET", parts.path)
    answer = connection.getresponse()
    if answer.status != 200:
        raise RuntimeError(f"the target answers {answer.status}")
    length = 0
    while part := answer.read(1 << 18):
        length += len(part)
    connection.close()
    return length


def await_published(server, requests: list[bytes]) -> None:
    """Asks until what is sent from here does not get less any more."""
    end, least = time.monotonic() + PUBLISHED_SECONDS, None
    while time.monotonic() < end:
        sent, fetched = follow(server, requests)
        server.settled_cpu()
        if fetched and sent == least:
            return
        least = sent
    raise TimeoutError("nothing is redirected")


def crowd(world: World) -> list[Result]:
    """Clones at once of a repository that nobody asked for yet."""
    repository = history(world, "linear-kept")
    with ours(world, repository) as server:
        requests = messages(server, plan.clone)
    one = one_clone(world, ours, repository, requests).cpu
    ratios, memory = [], []
    for _ in range(min(world.rounds, 5)):
        with ours(world, repository, *REMEMBERING) as server:
            before, idle = server.settled_cpu(), server.memory("VmRSS")
            together(CROWD, partial(send, server, requests))
            ratios.append((server.settled_cpu() - before) / one)
            memory.append((server.memory("VmHWM") - idle) / MIB)
    return [
        Result(f"{CROWD} clones at once, remembered, 10,000 linear: server CPU", "× one clone", ratios, 3),
        Result("the same: peak memory above idle", "MiB", memory, 300),
    ]


def many_entries(world: World) -> list[Result]:
    """The store on disk with a million entries, most of which nobody asked for lately."""
    count = 1_000_000 // world.scale
    directory = Path(tempfile.mkdtemp(dir=world.path))
    command = [world.binary, "bench", "store", directory, "--entries", count]
    opened, median_us, p99 = [], [], []
    for _ in range(min(world.rounds, 5)):
        done = subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE, text=True, timeout=FILL_SECONDS)
        found = json.loads(done.stdout)
        opened.append(found["open_ms"])
        median_us.append(found["lookup_p50_us"])
        p99.append(found["lookup_p99_us"])
    shutil.rmtree(directory)
    note = f"99 of 100 below {median(p99):.3g} µs; looked up and read, in any order"
    return [
        Result(f"look-up among {count:,} entries on disk", "µs", median_us, 200, note=note),
        Result("the same: start, to the first entry", "ms", opened, 1000),
    ]


HISTORIES = {
    "linear": "10,000 linear",
    "merges": "20,000 with merges",
    "wide": "100,000 files",
}

ROWS = [
    *(
        Row(f"hg-remembered-{name}", f"clones from memory and disk, {label}", partial(remembered, name=name, label=label))
        for name, label in HISTORIES.items()
    ),
    *(
        Row(f"hg-redirected-{name}", f"clones redirected to nginx, {label}", partial(redirected, name=name, label=label))
        for name, label in HISTORIES.items()
    ),
    Row("disk-million", "a million entries in the store on disk", many_entries),
    Row("hg-crowd", "64 clones at once of a cold repository, remembered", crowd),
]
