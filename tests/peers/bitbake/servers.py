"""Hash equivalence servers for tests: BitBake's own, and some that misbehave. Each ends with its `with` block."""

import asyncio
import atexit
import contextlib
import functools
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading

import hashserv

WAIT_SECONDS = 10


class Reference:
    """A server made of BitBake's library, in a process of its own. `where` is `unix://PATH`, `HOST:0` or `ws://HOST:0`."""

    def __init__(self, where):
        self._server = hashserv.Server(where)

    def __enter__(self):
        self._process = self._server.serve_as_process()
        self.address = self._server.address
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.join(WAIT_SECONDS)
        if self._process.is_alive():
            self._process.kill()


class Scripted:
    """Accepts, and does with each connection what `behaviour` says; counts them."""

    def __init__(self, behaviour, path=None):
        self._behaviour = behaviour
        family = socket.AF_UNIX if path else socket.AF_INET
        self._listener = socket.socket(family, socket.SOCK_STREAM)
        self._listener.bind(path or ("127.0.0.1", 0))
        self._listener.listen(64)
        self.address = f"unix://{path}" if path else "127.0.0.1:%d" % self._listener.getsockname()[1]
        self.accepted = []
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        # Closing alone does not wake the thread that accepts.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(WAIT_SECONDS)
        self._listener.close()
        for connection in self.accepted:
            connection.close()

    def _serve(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted.append(connection)
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection):
        try:
            self._behaviour(connection)
        except OSError:
            pass


def silent(_):
    """Never answers."""


def alive(connection):
    connection.recv(4096)
    connection.sendall(b'{"alive": true}\n')


def closing(connection):
    connection.recv(4096)
    connection.shutdown(socket.SHUT_RDWR)


def saying(answer):
    def behaviour(connection):
        connection.recv(4096)
        connection.sendall(answer)

    return behaviour


def endless(connection):
    """A line that never ends."""
    while True:
        connection.sendall(b"x" * 65536)


def dripping(connection):
    """A byte now and then: no single wait is long."""
    while True:
        connection.sendall(b" ")
        threading.Event().wait(0.01)


def proxying(connection):
    """An HTTP proxy that connects to where it is told, for one exchange each way at a time."""
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(4096)
    host, _, port = head.split()[1].decode().rpartition(":")
    target = socket.create_connection((host, int(port)), WAIT_SECONDS)
    connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
    threading.Thread(target=_pump, args=(target, connection), daemon=True).start()
    _pump(connection, target)


def _pump(source, sink):
    try:
        while True:
            some = source.recv(4096)
            if not some:
                break
            sink.sendall(some)
    except OSError:
        pass
    finally:
        # Also when the one was reset: the other waits for an end.
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


@functools.cache
def certificate():
    """The files of a certificate for 127.0.0.1 and its key."""
    directory = tempfile.mkdtemp(prefix="peers-bitbake-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    files = f"{directory}/tls.crt", f"{directory}/tls.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=peers", "-addext", "subjectAltName=IP:127.0.0.1", "-out", files[0], "-keyout", files[1]],
        check=True, capture_output=True,
    )  # fmt: skip
    return files


def trusted_directory(path):
    """Makes a directory one of authorities that has that of the certificate, under the name that OpenSSL looks for."""
    shutil.copy(certificate()[0], path)
    subprocess.run(["openssl", "rehash", path], check=True, capture_output=True)


class WebSocket:
    """A server by the package `websockets`, which also wants its own pings answered."""

    def __init__(self, tls=True, redirect=None):
        self._tls = tls
        self._redirect = redirect

    def __enter__(self):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._run(self._start())
        port = next(iter(self._server.sockets)).getsockname()[1]
        self.address = f"{'wss' if self._tls else 'ws'}://127.0.0.1:{port}/ws"
        return self

    def __exit__(self, *_):
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT_SECONDS)

    def _run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(WAIT_SECONDS)

    async def _start(self):
        import websockets

        context = None
        if self._tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate())
        return await websockets.serve(
            self._talk, "127.0.0.1", 0, ssl=context, process_request=self._answer, open_timeout=WAIT_SECONDS
        )

    async def _stop(self):
        self._server.close()
        await self._server.wait_closed()

    def _answer(self, connection, _):
        if self._redirect is None:
            return None
        response = connection.respond(307, "elsewhere")
        response.headers["Location"] = self._redirect
        return response

    async def _talk(self, channel):
        async for message in channel:
            if message == '{"ping": {}}':
                await asyncio.wait_for(await channel.ping(), WAIT_SECONDS)
                await channel.send('{"alive": true}')


def full_backlog(path):
    """A listening socket with no place left in its backlog, and the connections that fill it."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen(0)
    held = []
    while True:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.setblocking(False)
        held.append(connection)
        try:
            connection.connect(path)
        except BlockingIOError:
            return listener, held


def stale(path):
    """The file of a socket that nobody listens on."""
    left = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    left.bind(path)
    left.close()


def as_somebody_else(function):
    """What `function` returns as a user who owns nothing here; for root only, others own what they make."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            os.write(writer, function().encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader) as told:
        text = told.read()
    os.waitpid(child, 0)
    return text
