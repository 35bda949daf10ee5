"""Look-ups over JSON: one by one against nginx, and by the thousand."""

import http.client
import json
import socket
import tempfile
import threading
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median

from ..hg.servers import nginx
from ..keys import METHOD, taskhash
from ..load import alternate
from ..results import Result
from ..row import Row
from ..world import Server, World
from .lookups import costs, prime

KEYS = 100_000
BATCH = 10_000
# Batches of a round.
BATCHES = 20
ANSWER_SECONDS = 60
NDJSON = "application/x-ndjson"


def against_nginx(world: World, *, depth: int, target: float) -> list[Result]:
    """nginx has one answer as a file; Fingerpost is asked for keys at random."""
    keys = KEYS // world.scale
    load = {"mode": "get", "connections": 64, "depth": depth, "keys": keys}
    load |= {"warmup": world.seconds / 3, "duration": world.seconds}
    with world.fingerpost(world.database(keys)) as native:
        prime(world, native, keys)
        ours = over_http(native, native.address)
        path = f"/v1/unihashes/{METHOD}/{taskhash(0)}"
        head, body = answer(ours.address, path)
        with file_server(world, body) as peer:
            beside, _ = answer(peer.address, "/answer")
            pairs = alternate(
                world.rounds,
                lambda: world.generator(peer).run(**load, http_path="/answer"),
                lambda: world.generator(ours).run(**load),
            )
    label = "unpipelined" if depth == 1 else f"{depth} deep"
    note = f"{costs('nginx', [a for a, _ in pairs])}; {costs('ours', [b for _, b in pairs])}; "
    note += f"body of {len(body)} bytes, heads of {beside} and {head}"
    what = f"JSON look-up of one, 64 connections, {label}: processor time"
    return [Result(what, "× nginx, a file", [b.cpu / a.cpu for a, b in pairs], target, note=note)]


def over_http(server, address: str) -> Server:
    return Server(server.process, address, "http")


@contextmanager
def file_server(world: World, body: bytes):
    """nginx that has `body` as /answer."""
    with tempfile.TemporaryDirectory(dir=world.path) as directory:
        # Workers of nginx as root are another user.
        Path(directory).chmod(0o755)
        (Path(directory) / "answer").write_bytes(body)
        with nginx(world, Path(directory)) as server:
            host, port = server.address
            yield over_http(server, f"{host}:{port}")


def answer(address: str, path: str) -> tuple[int, bytes]:
    """The bytes of an answer's head, and its body."""
    connection = http.client.HTTPConnection(address, timeout=ANSWER_SECONDS)
    connection.request("GET", path)
    found = connection.getresponse()
    body = found.read()
    connection.close()
    if found.status != 200:
        raise RuntimeError(f"{path} is answered with {found.status}")
    lines = [f"HTTP/1.1 {found.status} {found.reason}", *(f"{name}: {value}" for name, value in found.getheaders())]
    return sum(len(line) + 2 for line in lines) + 2, body


def batches(world: World) -> list[Result]:
    """10,000 questions in one request, all of them known to memory."""
    keys = KEYS // world.scale
    repeats = max(2, BATCHES // world.scale)
    with world.fingerpost(world.database(keys)) as server:
        prime(world, server, keys)
        questions = [{"method": METHOD, "taskhash": taskhash(number % keys)} for number in range(BATCH)]
        texts = [json.dumps(question) for question in questions]
        forms = {"array": f"[{','.join(texts)}]".encode(), "NDJSON": "\n".join([*texts, ""]).encode()}
        media = {"array": "application/json", "NDJSON": NDJSON}
        found = {name: [] for name in forms}
        for _ in range(world.rounds):
            for name, body in forms.items():
                found[name].append(each_us(server, media[name], body, repeats))
        native = world.generator(server).run(keys=keys, depth=100, connections=1, duration=world.seconds)
        firsts = [first_answer(server, texts) for _ in range(world.rounds)]
    note = f"a get-stream 100 deep on one connection {native.cpu:.3g} µs"
    return [
        *(
            Result(f"batch look-up of {BATCH:,}, {name}: processor time each", "µs", figures, 2, note=note)
            for name, figures in found.items()
        ),
        Result("NDJSON: first answer while the other questions are not sent", "ms", firsts),
    ]


def each_us(server, media_type: str, body: bytes, repeats: int) -> float:
    """Microseconds of one of several batches' questions."""
    request = head(media_type, f"content-length: {len(body)}") + body
    with Exchange(server.address) as exchange:
        before = server.settled_cpu()
        for _ in range(repeats):
            exchange.send(request)
            known = exchange.body().count(b'"unihash":"')
            if known != BATCH:
                raise RuntimeError(f"{known} of {BATCH} are answered")
        return (server.settled_cpu() - before) / repeats / BATCH * 1e6


def first_answer(server, texts: list[str]) -> float:
    """Milliseconds from the first question to its answer, when the rest is sent only then."""
    lines = [f"{text}\n".encode() for text in texts]
    with Exchange(server.address) as exchange:
        began = time.monotonic()
        exchange.send(head(NDJSON, "transfer-encoding: chunked") + chunk(lines[0]))
        pieces = exchange.pieces()
        first = next(pieces)
        seconds = time.monotonic() - began
        exchange.send(chunk(b"".join(lines[1:])) + chunk(b""))
        count = first.count(b"\n") + sum(piece.count(b"\n") for piece in pieces)
        if count != len(lines):
            raise RuntimeError(f"{count} of {len(lines)} are answered")
        return seconds * 1e3


def head(media_type: str, length: str) -> bytes:
    return f"POST /v1/lookups HTTP/1.1\r\nhost: localhost\r\ncontent-type: {media_type}\r\n{length}\r\n\r\n".encode()


def chunk(piece: bytes) -> bytes:
    return f"{len(piece):x}\r\n".encode() + piece + b"\r\n"


class Exchange:
    """A connection on which an answer may come while the request is sent."""

    def __init__(self, address: str):
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS)
        self._file = self._socket.makefile("rb")
        self._sending: threading.Thread | None = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()
        self._socket.close()
        if self._sending:
            self._sending.join()

    def send(self, data: bytes) -> None:
        """Begins to send, after what is being sent."""
        if self._sending:
            self._sending.join()
        self._sending = threading.Thread(target=self._socket.sendall, args=(data,))
        self._sending.start()

    def body(self) -> bytes:
        return b"".join(self.pieces())

    def pieces(self):
        """The body of the next answer as it comes."""
        status = self._file.readline()
        if b" 200 " not in status:
            raise RuntimeError(f"answered with {status!r}: {self._file.read(500)!r}")
        headers = http.client.parse_headers(self._file)
        if "content-length" in headers:
            yield self._file.read(int(headers["content-length"]))
            return
        while length := int(self._file.readline(), 16):
            yield self._file.read(length)
            self._file.readline()
        self._file.readline()


ROWS = [
    Row("json-64", "JSON look-up of one, 64 connections, against nginx with a file of that size",
        partial(against_nginx, depth=1, target=1.2)),
    Row("json-64x16", "the same, 16 deep", partial(against_nginx, depth=16, target=0.5)),
    Row("json-batch", "10,000 look-ups in one request, array and NDJSON", batches),
]
