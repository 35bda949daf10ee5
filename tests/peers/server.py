"""The real server in a directory of its own."""

import asyncio
import atexit
import contextlib
import functools
import json
import os
import resource
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
    settings = made_certificate()
    os.environ["SSL_CERT_FILE"] = settings["FINGERPOST_TLS__CERTIFICATE"]
    return settings


def made_certificate(days=2):
    """A certificate that nobody trusts yet, which ends in so many days, as settings of the server."""
    directory = tempfile.mkdtemp(prefix="peers-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    request, certificate, key = f"{directory}/tls.csr", f"{directory}/tls.crt", f"{directory}/tls.key"
    # Two steps: one alone makes none that is over.
    subprocess.run(
        ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=peers",
         "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE",
         "-out", request, "-keyout", key],
        check=True, capture_output=True,
    )  # fmt: skip
    subprocess.run(
        ["openssl", "x509", "-req", "-in", request, "-signkey", key, "-days", str(days), "-copy_extensions", "copy",
         "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
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
        self.others = contextlib.AsyncExitStack()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        for client in self.clients:
            await client.close()
        for server in self.servers:
            await server.kill()
        await self.others.aclose()
        self.directory.cleanup()

    async def server(self, **options):
        server = Server(self, len(self.servers), **options)
        self.servers.append(server)
        await server.start()
        return server

    async def agent(self, server, *options, **how):
        """An agent of a server, on a Unix socket."""
        agent = Agent(self, len(self.servers), getattr(server, "address", server), options, **how)
        self.servers.append(agent)
        await agent.start()
        return agent

    async def entered(self, other):
        """Whatever else a case needs until its end."""
        return await self.others.enter_async_context(other)

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


class Server:
    def __init__(
        self, farm, number, *, anonymous=REFERENCE_PERMISSIONS, admin=False, read_only=False, upstream=None,
        settings=None, config=None,
    ):  # fmt: skip
        self.farm = farm
        self.settings = settings or {}
        self.path = Path(farm.directory.name) / f"server-{number}"
        self.process = None
        self.address = None
        database = farm.cluster.fresh_database() if farm.cluster else f"{self.path}.db"
        self.options = ["--database", database, f"--anon-perms={anonymous}"]
        if admin:
            self.options += ["--admin-user", ADMIN[0], "--admin-password", ADMIN[1]]
        if read_only:
            self.options += ["--read-only"]
        if config:
            Path(f"{self.path}.toml").write_text(config)
            self.options += ["--config", f"{self.path}.toml"]
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
        environment |= self.settings
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
    def url(self):
        """Where it answers over HTTP, within TLS if it has a certificate."""
        scheme = "https" if self.farm.transport == "wss" else "http"
        return f"{scheme}://{self.address.split('://')[-1]}"

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

    def __init__(self, farm, number, server, options, environment=None, file_bytes=None, held=None):
        self.farm = farm
        self.path = Path(farm.directory.name) / f"agent-{number}"
        self.process = None
        self.socket = Path(f"{self.path}.sock")
        self.address = f"unix://{self.socket}"
        self.options = ["--server", server, *options]
        self.environment = environment or {}
        # No file of it grows beyond this: to a program that is a disk without room.
        self.file_bytes = file_bytes
        # A socket that is its starter's, as systemd passes them.
        self.held = held

    async def start(self):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("FINGERPOST_")} | self.environment
        # The shell becomes the agent, with the number that it named.
        begin = ["/bin/sh", "-c", 'LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" "$@"'] if self.held else []
        with open(self.log_path, "ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *begin, self.farm.binary, "agent", "--socket", self.socket, "--state-directory", f"{self.path}.state",
                *self.options, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
                # The signal of a file that is too long stays ignored, as in Python.
                restore_signals=False, preexec_fn=self.prepare, pass_fds=(3,) if self.held else (),
            )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while not await self.listens():
            if self.process.returncode is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the agent does not listen:\n{self.log()}")
            await asyncio.sleep(0.01)

    def prepare(self):
        """What the new process does before it is an agent."""
        if self.file_bytes:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.file_bytes, self.file_bytes))
        if self.held:
            os.dup2(self.held.fileno(), 3)

    async def listens(self):
        if self.held:
            return True
        try:
            _, out = await asyncio.open_unix_connection(self.socket)
        except OSError:
            return False
        out.close()
        return True

    async def status(self):
        """What it tells of itself."""
        answer, out = await asyncio.open_unix_connection(self.socket)
        out.write(b"GET /agent/status HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        head, _, body = (await answer.read()).partition(b"\r\n\r\n")
        out.close()
        if b" 200 " not in head.splitlines()[0]:
            raise RuntimeError(f"the agent answers {head!r}")
        return json.loads(body)
