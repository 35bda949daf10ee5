"""A hash equivalence client on BitBake's own transport library.

`bb.asyncrpc` is what every BitBake brings along: connecting, the handshake, lines, pieces, timeouts and
the four tries. What the commands are called and how streams work is written here, from the description
of the protocol.
"""

import asyncio
import logging

import bb.asyncrpc

PROTOCOL = ("OEHASHEQUIV", "1.1")
TIMEOUT_SECONDS = 30
LOG = logging.getLogger("peers.client")


class HashClient(bb.asyncrpc.AsyncClient):
    """One connection to a server; opened at the first call, and again whenever it is lost."""

    def __init__(self, address, login=None, needs_headers=False, timeout=TIMEOUT_SECONDS):
        super().__init__(*PROTOCOL, LOG, timeout, needs_headers)
        self.address = address
        self.login = login
        self.stream = None
        self.connections = 0

    async def setup_connection(self):
        await super().setup_connection()
        self.stream = None
        self.connections += 1
        if self.login:
            username, token = self.login
            await self.socket.send_message({"auth": {"username": username, "token": token}})
            self.check_invoke_error(await self.socket.recv_message())

    async def open(self):
        """Says where to connect; nothing is sent before the first call."""
        if self.address.startswith("unix://"):
            await self.connect_unix(self.address.removeprefix("unix://"))
        elif self.address.startswith(("ws://", "wss://")):
            await self.connect_websocket(self.address)
        else:
            host, port = self.address.rsplit(":", 1)
            await self.connect_tcp(host.strip("[]"), int(port))
        return self

    async def call(self, command, argument=None):
        """One request and its answer. Leaves a stream first."""

        async def exchange():
            await self.leave_stream()
            await self.socket.send_message({command: argument})
            return await self.socket.recv_message()

        answer = await self._send_wrapper(exchange)
        self.check_invoke_error(answer)
        return answer

    async def leave_stream(self):
        if self.stream is not None:
            await self.socket.send("END")
            answer = await self.socket.recv()
            if answer != "ok":
                raise ConnectionError(f"the stream was not left: {answer!r}")
            self.stream = None

    async def enter_stream(self, name):
        if self.stream == name:
            return
        await self.leave_stream()
        await self.socket.send_message({name: None})
        answer = await self.socket.recv_message()
        self.check_invoke_error(answer)
        if answer != "ok":
            raise ConnectionError(f"the stream was not entered: {answer!r}")
        self.stream = name

    async def batch(self, name, lines):
        """Sends all lines of a stream without waiting, and gives their answers in order."""
        answers = []

        async def exchange():
            await self.enter_stream(name)
            sender = asyncio.ensure_future(self.send_lines(lines[len(answers) :]))
            try:
                while len(answers) < len(lines):
                    answers.append(await self.socket.recv())
                await sender
            finally:
                sender.cancel()

        await self._send_wrapper(exchange)
        return answers

    async def send_lines(self, lines):
        for line in lines:
            await self.socket.send(line)

    # The commands, in the order of the protocol's description.

    async def ping(self):
        return await self.call("ping", {})

    async def get(self, method, taskhash, everything=False):
        return await self.call("get", {"method": method, "taskhash": taskhash, "all": everything})

    async def get_outhash(self, method, outhash, taskhash, with_unihash=True):
        argument = {"method": method, "outhash": outhash, "taskhash": taskhash, "with_unihash": with_unihash}
        return await self.call("get-outhash", argument)

    async def unihashes(self, keys):
        answers = await self.batch("get-stream", [f"{method} {taskhash}" for method, taskhash in keys])
        return [answer or None for answer in answers]

    async def exist(self, unihashes):
        answers = await self.batch("exists-stream", unihashes)
        return [{"true": True, "false": False}[answer] for answer in answers]

    async def report(self, method, taskhash, outhash, unihash, **metadata):
        fields = {"method": method, "taskhash": taskhash, "outhash": outhash, "unihash": unihash}
        return (await self.call("report", {**metadata, **fields}))["unihash"]

    async def report_equivalent(self, method, taskhash, unihash):
        argument = {"method": method, "taskhash": taskhash, "unihash": unihash}
        return (await self.call("report-equiv", argument))["unihash"]

    async def remove(self, where):
        return (await self.call("remove", {"where": where}))["count"]

    async def gc_mark(self, mark, where):
        return (await self.call("gc-mark", {"mark": mark, "where": where}))["count"]

    async def gc_sweep(self, mark):
        return (await self.call("gc-sweep", {"mark": mark}))["count"]

    async def clean_unused(self, seconds):
        return (await self.call("clean-unused", {"max_age_seconds": seconds}))["count"]


class BlockingClient(bb.asyncrpc.Client):
    """The way in which BitBake's tasks call: each from a process of its own, without a loop at hand."""

    def __init__(self, address):
        self.address = address
        super().__init__()
        self._add_methods("open", "get", "report", "unihashes")

    def _get_async_client(self):
        return HashClient(self.address)
