"""What goes wrong between an agent and its server."""

import asyncio
import socket
import ssl
import struct

# No protocol begins so.
GARBAGE = bytes(range(128, 256)) * 32
# Whoever closes with this set resets the connection.
AT_ONCE = struct.pack("ii", 1, 0)
BUSY = b"HTTP/1.1 500 Internal Server Error\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>"
TOO_LONG = b"HTTP/1.1 413 Content Too Large\r\nconnection: close\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>"


class Listening:
    """Serves each connection with `serve`, on a free port; within TLS if it has a certificate."""

    tls = None

    async def __aenter__(self):
        self.tasks = set()
        await self.listen(0)
        self.address = "127.0.0.1:%d" % self.listener.sockets[0].getsockname()[1]
        return self

    async def listen(self, port):
        self.listener = await asyncio.start_server(self.attend, "127.0.0.1", port, ssl=self.tls)

    async def attend(self, near, near_out):
        self.tasks.add(asyncio.current_task())
        try:
            await self.serve(near, near_out)
        except (OSError, asyncio.CancelledError):
            # Nobody waits for this task but the end.
            pass
        finally:
            self.tasks.discard(asyncio.current_task())
            near_out.close()

    async def __aexit__(self, *_):
        self.listener.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


class SlowLink(Listening):
    """Between an agent and its server: each way takes half of the round trip."""

    def __init__(self, address, seconds):
        self.host, self.port = address.rsplit(":", 1)
        self.delay = seconds / 2

    async def serve(self, near, near_out):
        far, far_out = await asyncio.open_connection(self.host, int(self.port))
        await asyncio.gather(self.carry(near, far_out), self.carry(far, near_out), return_exceptions=True)

    async def carry(self, source, sink):
        loop, under_way = asyncio.get_running_loop(), asyncio.Queue(1000)

        async def deliver():
            while (due_and_data := await under_way.get()) is not None:
                due, data = due_and_data
                await asyncio.sleep(max(0, due - loop.time()))
                sink.write(data)
                await sink.drain()
            sink.close()

        delivering = asyncio.ensure_future(deliver())
        try:
            while data := await source.read(1 << 16):
                await under_way.put((loop.time() + self.delay, data))
            await under_way.put(None)
            await delivering
        finally:
            delivering.cancel()


class OddServer(Listening):
    """Answers each line with what `answer` makes of it: a line, or nothing at all. A peer that closes is let go."""

    def __init__(self, answer):
        self.answer = answer

    async def serve(self, lines, out):
        while line := await lines.readline():
            answer = self.answer(line.decode().rstrip("\n"))
            if answer is not None:
                out.write(f"{answer}\n".encode())
                await out.drain()
        out.close()


class Link(Listening):
    """Carries connections to a server, until a fault is chosen, and again after it."""

    def __init__(self, address, certificate=None, key=None):
        host, _, port = address.split("://")[-1].rpartition(":")
        self.host, self.port = host, int(port)
        if certificate:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(certificate, key)
        self.flows = asyncio.Event()
        self.flows.set()
        self.fault = None
        self.outs = set()

    async def __aexit__(self, *_):
        await super().__aexit__()
        self.break_off()

    def url(self, scheme):
        """Where it is, over HTTP; without a scheme over BitBake's protocol."""
        return f"{scheme}://{self.address}" if scheme else self.address

    async def serve(self, near, near_out):
        self.outs.add(near_out)
        try:
            if self.fault:
                await self.fault(near, near_out)
            else:
                await self.carry_both(near, near_out)
        finally:
            self.outs.discard(near_out)

    async def carry_both(self, near, near_out):
        await self.flows.wait()
        far, far_out = await asyncio.open_connection(self.host, self.port)
        try:
            await asyncio.gather(self.carry(near, far_out), self.carry(far, near_out))
        finally:
            far_out.close()

    async def carry(self, source, sink):
        while data := await source.read(1 << 16):
            await self.flows.wait()
            sink.write(data)
            await sink.drain()
        sink.close()

    def break_off(self):
        for out in list(self.outs):
            reset(out)

    def hang(self):
        """Connections are taken from now on and nothing goes through, also not on those that are there."""
        self.flows.clear()

    def reset(self):
        """All connections are reset, and each new one is."""
        self.fault = answer_with_reset
        self.break_off()

    def talk_garbage(self):
        self.fault = answer_with_garbage
        self.break_off()

    def fail(self):
        """Each request over HTTP/1.1 is answered with 500."""
        self.fault = answer_with_500
        self.break_off()

    def limit(self, most):
        """As a proxy that lets no request through whose body has more bytes; over HTTP/1.1."""
        self.stop_some(lambda body: len(body) > most, TOO_LONG)

    def take_offence(self, word):
        """As one that answers every request with an error in which this is."""
        self.stop_some(lambda body: word in body, BUSY)

    def stop_some(self, is_stopped, answer):
        async def let_through(near, out):
            head = await head_of(near)
            body = await near.readexactly(body_bytes(head))
            if is_stopped(body):
                out.write(answer)
                return await out.drain()
            far, far_out = await asyncio.open_connection(self.host, self.port)
            far_out.write(head.replace(b"\r\n", b"\r\nconnection: close\r\n", 1) + body)
            await self.carry(far, out)

        self.fault = let_through
        self.break_off()

    async def refuse(self):
        """Nobody listens any more."""
        self.listener.close()
        self.break_off()

    async def go_on(self):
        """All goes through, on the same port."""
        if self.fault:
            self.fault = None
            self.break_off()
        self.flows.set()
        if not self.listener.is_serving():
            port = int(self.address.rpartition(":")[2])
            await self.listen(port)


def reset(out):
    if out.is_closing():
        return
    out.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
    out.transport.abort()


async def answer_with_reset(_, out):
    reset(out)


async def answer_with_garbage(near, out):
    await near.read(1)
    out.write(GARBAGE)
    await out.drain()
    await near.read()


async def answer_with_500(near, out):
    while head := await head_of(near):
        await near.readexactly(body_bytes(head))
        out.write(BUSY)
        await out.drain()


def body_bytes(head):
    lengths = [line.split(b":")[1] for line in head.lower().splitlines() if line.startswith(b"content-length:")]
    return int(lengths[0]) if lengths else 0


async def head_of(near):
    """The head of the next request; nothing if there is none."""
    try:
        return await near.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""
