"""The real server in a directory of its own."""

import asyncio
import atexit
import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from client import HashClient

START_SECONDS = 30
STOP_SECONDS = 15
REFERENCE_PERMISSIONS = "@read,@report,@db-admin"
ADMIN = ("admin", "secret")


@functools.cache
def certificate():
    """A certificate that every client of this process trusts, as settings of the server."""
    directory = tempfile.mkdtemp(prefix="peers-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    certificate, key = f"{directory}/tls.crt", f"{directory}/tls.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=peers", "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE",
         "-out", certificate, "-keyout", key],
        check=True, capture_output=True,
    )  # fmt: skip
    os.environ["SSL_CERT_FILE"] = certificate
    return {"FINGERPOST_TLS__CERTIFICATE": certificate, "FINGERPOST_TLS__KEY": key}


class Farm:
    """A temporary directory, the servers in it, and the clients that a case opens. With a cluster of PostgreSQL each
    server has a database there, else a file."""

    def __init__(self, binary, transport, cluster=None):
        self.binary = binary
        self.cluster = cluster
        self.transport = transport
        self.directory = tempfile.TemporaryDirectory(prefix="peers-")
        self.servers = []
        self.clients = []

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        for client in self.clients:
            await client.close()
        for server in self.servers:
            await server.kill()
        self.directory.cleanup()

    async def server(self, **options):
        server = Server(self, len(self.servers), **options)
        self.servers.append(server)
        await server.start()
        return server

    async def agent(self, server, *options):
        """An agent of a server, on a Unix socket."""
        agent = Agent(self, len(self.servers), getattr(server, "address", server), options)
        self.servers.append(agent)
        await agent.start()
        return agent

    async def client(self, server, **options):
        client = await HashClient(server.address, **options).open()
        self.clients.append(client)
        return client

    async def pair(self, **options):
        """The usual world: one server, one client."""
        server = await self.server(**options)
        return server, await self.client(server)


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@dataclass
class Address:
    """Where a client finds somebody."""

    address: str


class Listening:
    """Serves each connection with `serve`, on a free port."""

    async def __aenter__(self):
        self.listener = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.address = "127.0.0.1:%d" % self.listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.listener.close()


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
        while data := await source.read(1 << 16):
            await under_way.put((loop.time() + self.delay, data))
        await under_way.put(None)
        await delivering


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


class Server:
    def __init__(self, farm, number, *, anonymous=REFERENCE_PERMISSIONS, admin=False, read_only=False, upstream=None):
        self.farm = farm
        self.path = Path(farm.directory.name) / f"server-{number}"
        self.process = None
        self.address = None
        database = farm.cluster.fresh_database() if farm.cluster else f"{self.path}.db"
        self.options = ["--database", database, f"--anon-perms={anonymous}"]
        if admin:
            self.options += ["--admin-user", ADMIN[0], "--admin-password", ADMIN[1]]
        if read_only:
            self.options += ["--read-only"]
        if upstream:
            self.options += ["--upstream", upstream.address]

    def free_address(self):
        return {
            "tcp": "127.0.0.1:0",
            "unix": f"unix://{self.path}.sock",
            "ws": "ws://127.0.0.1:0",
            "wss": "127.0.0.1:0",
        }[self.farm.transport]

    def bind_address(self):
        return (self.address or self.free_address()).removeprefix("wss://")

    async def start(self):
        """Starts it, the second time on the address of the first."""
        address_file = Path(f"{self.path}.address")
        address_file.unlink(missing_ok=True)
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("FINGERPOST_", "HASHSERVER_"))}
        environment |= {"FINGERPOST_SERVER__ADDRESS_FILE": str(address_file), "FINGERPOST_METRICS__BIND": ""}
        if self.farm.transport == "wss":
            environment |= certificate()
        with open(self.log_path, "ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                self.farm.binary, "serve", "--bind", self.bind_address(), *self.options,
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
            )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while not (address_file.exists() and address_file.read_text().endswith("\n")):
            if self.process.returncode is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server does not listen:\n{self.log()}")
            await asyncio.sleep(0.01)
        self.address = address_file.read_text().splitlines()[0]

    @property
    def log_path(self):
        return Path(f"{self.path}.log")

    def log(self):
        return self.log_path.read_text(errors="replace")

    async def stop(self):
        """Stops it politely; gives the seconds that it took."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        status = await asyncio.wait_for(self.process.wait(), STOP_SECONDS)
        if status != 0:
            raise RuntimeError(f"the server ended with {status}:\n{self.log()}")
        return time.monotonic() - began

    def hang(self):
        """It accepts connections from now on and answers nothing, until it goes on."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    async def kill(self):
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


class Agent(Server):
    """The agent of a build host."""

    def __init__(self, farm, number, server, options):
        self.farm = farm
        self.path = Path(farm.directory.name) / f"agent-{number}"
        self.process = None
        self.socket = Path(f"{self.path}.sock")
        self.address = f"unix://{self.socket}"
        self.options = ["--server", server, *options]

    async def start(self):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("FINGERPOST_")}
        with open(self.log_path, "ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                self.farm.binary, "agent", "--socket", self.socket, "--state-directory", f"{self.path}.state",
                *self.options, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
            )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while not await self.listens():
            if self.process.returncode is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the agent does not listen:\n{self.log()}")
            await asyncio.sleep(0.01)

    async def listens(self):
        try:
            _, out = await asyncio.open_unix_connection(self.socket)
        except OSError:
            return False
        out.close()
        return True
