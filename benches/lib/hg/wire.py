"""Requests and responses of version 2 of the wire protocol, over a socket that we time ourselves."""

import socket
import struct
import time
from dataclasses import dataclass

from . import cbor

MEDIA = "application/mercurial-exp-framing-0006"
API = "/api/exp-http-v2-0003/ro/"
# What a client lists; the server takes the first that it knows in its own order.
ENCODINGS = {"as a client": [b"zstd-8mb", b"zlib", b"identity"], "identity": [b"identity"]}
PAYLOAD_MAX = 32768
ANSWER_SECONDS = 900
REDIRECT_BYTES_MAX = 4096

REQUEST, RESPONSE, ERROR, SETTINGS = 1, 3, 5, 8
NEW, CONTINUES, MORE = 1, 2, 4
END = 2


@dataclass(frozen=True)
class Request:
    """What one HTTP request carries: commands with their arguments."""

    name: str
    commands: tuple

    def message(self, prefix: str, encoding: str = "as a client", targets: tuple[bytes, ...] = ()) -> bytes:
        """The request as it is sent; `prefix` is the path of the repository without the slash at its end, `targets` are those that redirects are followed to."""
        redirect = {b"redirect": {b"targets": list(targets), b"hashes": []}} if targets else {}
        if self.name == "handshake":
            headers = "accept: application/mercurial-0.1\r\nx-hgproto-1: cbor\r\nx-hgupgrade-1: exp-http-v2-0003\r\n"
            return f"GET {prefix}/?cmd=capabilities HTTP/1.1\r\nhost: bench\r\n{headers}\r\n".encode()
        body = frame(1, SETTINGS, END, cbor.encode({b"contentencodings": ENCODINGS[encoding]}), begin=True)
        for number, (name, arguments) in enumerate(self.commands):
            command = {b"name": name.encode()} | ({b"args": arguments} if arguments else {}) | redirect
            body += b"".join(request_frames(1 + 2 * number, cbor.encode(command)))
        where = "multirequest" if len(self.commands) > 1 else self.commands[0][0]
        headers = f"accept: {MEDIA}\r\ncontent-type: {MEDIA}\r\ncontent-length: {len(body)}\r\n"
        return f"POST {prefix}{API}{where} HTTP/1.1\r\nhost: bench\r\n{headers}\r\n".encode() + body


def request_frames(number: int, data: bytes):
    for start in range(0, len(data), PAYLOAD_MAX):
        flags = CONTINUES if start else NEW
        if start + PAYLOAD_MAX < len(data):
            flags |= MORE
        yield frame(number, REQUEST, flags, data[start : start + PAYLOAD_MAX])


def frame(number: int, kind: int, flags: int, payload: bytes, begin: bool = False) -> bytes:
    head = struct.pack("<I", len(payload))[:3] + struct.pack("<HBBB", number, 1, int(begin), kind << 4 | flags)
    return head + payload


@dataclass
class Answer:
    """A response: its body without the chunks' headings, and when it came, in seconds after the request."""

    body: bytes
    length: int
    first: float
    last: float

    def objects(self) -> dict:
        """The objects of each command by request number, without the status; only of answers in identity encoding."""
        found = {number: list(cbor.Decoder(value)) for number, value in self.content().items()}
        for number, (status, *objects) in found.items():
            if status != {b"status": b"ok"}:
                raise RuntimeError(f"the server refused: {status}")
            found[number] = objects
        return found

    def redirect(self) -> str | None:
        """The URL that the first command was redirected to."""
        if len(self.body) > REDIRECT_BYTES_MAX:
            return None
        (status, *_) = cbor.Decoder(self.content()[1])
        return status[b"location"][b"url"].decode() if status[b"status"] == b"redirect" else None

    def content(self) -> dict:
        """The bytes of each command's answer by request number."""
        data, at = {}, 0
        while at < len(self.body):
            length = int.from_bytes(self.body[at : at + 3], "little")
            number, kind = int.from_bytes(self.body[at + 3 : at + 5], "little"), self.body[at + 7] >> 4
            payload = self.body[at + 8 : at + 8 + length]
            at += 8 + length
            if kind == ERROR:
                raise RuntimeError(f"the server failed: {list(cbor.Decoder(payload))}")
            if kind == RESPONSE:
                data[number] = data.get(number, b"") + payload
        return data


class Connection:
    """A connection that is kept, as the client keeps its own."""

    def __init__(self, address: tuple[str, int]):
        self.socket = socket.create_connection(address, timeout=ANSWER_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def ask(self, message: bytes, keep: bool = True) -> Answer:
        """Sends a request and reads its answer; without `keep` the body is only counted."""
        began = time.monotonic()
        self.socket.sendall(message)
        reader = Reader(self.socket, keep)
        reader.read()
        if reader.status != 200:
            raise RuntimeError(f"HTTP status {reader.status}: {reader.rest[:300]!r}")
        return Answer(b"".join(reader.kept), reader.length, reader.first - began, time.monotonic() - began)


class Reader:
    """Reads one HTTP response without looking at each byte of it twice."""

    def __init__(self, source: socket.socket, keep: bool):
        self.source, self.keep = source, keep
        self.rest = b""
        self.kept, self.length, self.first, self.status = [], 0, 0.0, 0

    def read(self) -> None:
        head = self.line_until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        self.status = int(head[0].split()[1])
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        if headers.get("transfer-encoding", "").lower() != "chunked":
            self.take(int(headers["content-length"]))
            return
        while size := int(self.line_until(b"\r\n").split(b";")[0], 16):
            self.take(size)
            self.line_until(b"\r\n")
        self.line_until(b"\r\n")

    def line_until(self, end: bytes) -> bytes:
        while (at := self.rest.find(end)) < 0:
            self.rest += self.receive()
        line, self.rest = self.rest[:at], self.rest[at + len(end) :]
        return line

    def take(self, size: int) -> None:
        while size:
            data = self.rest or self.receive()
            self.first = self.first or time.monotonic()
            part, self.rest = data[:size], data[size:]
            size -= len(part)
            self.length += len(part)
            if self.keep:
                self.kept.append(part)

    def receive(self) -> bytes:
        data = self.source.recv(1 << 18)
        if not data:
            raise ConnectionError("the server closed the connection in the middle of an answer")
        return data
