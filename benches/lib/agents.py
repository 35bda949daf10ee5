"""Agents, links to their server that fail, and builds that ask them."""

import asyncio
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from .process import Process
from .world import NEED, World, stopped

# One kind of faults: that of the tests.
sys.path.insert(0, str(NEED.parent.parent / "tests" / "peers"))

START_SECONDS = 60
ANSWER_SECONDS = 120
HELLO = b"OEHASHEQUIV 1.1\nneeds-headers: false\n\n"


class Agent(Process):
    """A running agent of one build host."""

    protocol = "hashequiv"

    def __init__(self, process: subprocess.Popen, path: Path, seconds: float):
        # From its start to the first connection that it took.
        self.seconds = seconds
        self.process = process
        self.pid = process.pid
        self.path = path
        self.address = f"unix://{path}"

    def status(self) -> dict:
        connection = http.client.HTTPConnection("localhost", timeout=ANSWER_SECONDS)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self.path))
        connection.request("GET", "/agent/status")
        found = json.loads(connection.getresponse().read())
        connection.close()
        return found

    def await_status(self, wanted, seconds: float = START_SECONDS) -> None:
        """Until `wanted` holds of what it tells of itself."""
        end = time.monotonic() + seconds
        while not wanted(status := self.status()):
            if time.monotonic() > end:
                raise TimeoutError(f"the agent is not as it should be: {status}")
            time.sleep(0.05)


@contextmanager
def agent(world: World, url: str, *options: str, program: tuple | None = None):
    """An agent with a state directory of its own, which hears of deletions if it can; by the program of everything if
    no other is named."""
    directory = Path(tempfile.mkdtemp(prefix="agent-", dir=world.path))
    path = directory / "agent.sock"
    certificate, _ = world.certificate()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FINGERPOST_")}
    environment["SSL_CERT_FILE"] = str(certificate)
    command = [*(program or (world.binary, "agent")), "--server", url, "--socket", path, "--log", "error"]
    command += ["--state-directory", directory / "state", *options]
    log = (directory / "agent.log").open("w+")
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    with log, stopped(process):
        end = began + START_SECONDS
        while True:
            try:
                Build(path).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > end:
                    log.seek(0)
                    raise RuntimeError(f"the agent does not listen: {log.read()}") from None
                time.sleep(0.001)
        yield Agent(process, path, time.monotonic() - began)


def hears(status: dict) -> bool:
    """Whether an agent hears of deletions, if it can."""
    followed = status["followed"]
    return followed is None or followed["current_seconds"] is not None


def knows_all(rows: int):
    """Whether an agent has a snapshot of so many rows, and all that came since."""

    def wanted(status: dict) -> bool:
        followed = status["followed"] or {}
        return followed.get("snapshot_rows") == rows and followed.get("knows_all")

    return wanted


class Build:
    """A connection of a build: BitBake's protocol, without the time that BitBake's library takes."""

    def __init__(self, path: Path):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(ANSWER_SECONDS)
        self._socket.connect(str(path))
        self._socket.sendall(HELLO)
        self._file = self._socket.makefile("rb")
        self._streams = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def ask(self, message: dict):
        """One message and its answer, outside of a stream."""
        if self._streams:
            self._exchange(b"END\n")
            self._streams = False
        return json.loads(self._exchange(json.dumps(message).encode() + b"\n"))

    def _exchange(self, line: bytes) -> bytes:
        self._socket.sendall(line)
        return self._line()

    def _line(self) -> bytes:
        line = self._file.readline()
        if not line.endswith(b"\n"):
            raise ConnectionError("the agent closed the connection")
        return line[:-1]

    def _stream(self) -> None:
        if not self._streams:
            if self.ask({"get-stream": None}) != "ok":
                raise RuntimeError("no stream")
            self._streams = True

    def unihashes(self, method: str, taskhashes: list[str]) -> list[str | None]:
        """Asks for all at once."""
        self._stream()
        lines = "".join(f"{method} {taskhash}\n" for taskhash in taskhashes).encode()
        sending = threading.Thread(target=self._socket.sendall, args=(lines,))
        sending.start()
        answers = [self._line().decode() or None for _ in taskhashes]
        sending.join()
        return answers

    def singly(self, method: str, taskhashes: list[str]) -> list[str | None]:
        """Asks for one after the other."""
        self._stream()
        return [self._exchange(f"{method} {taskhash}\n".encode()).decode() or None for taskhash in taskhashes]

    def report(self, method: str, taskhash: str, outhash: str, unihash: str) -> str:
        fields = {"method": method, "taskhash": taskhash, "outhash": outhash, "unihash": unihash}
        return self.ask({"report": fields})["unihash"]


class Linked:
    """A link of the tests, which needs a loop, in a thread of its own."""

    def __init__(self, make):
        self._make = make
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self):
        self._thread.start()
        self._link = self._run(self._entered())
        self.address = self._link.address
        return self

    async def _entered(self):
        return await self._make().__aenter__()

    def __exit__(self, *_):
        self._run(self._link.__aexit__())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self, awaitable):
        return asyncio.run_coroutine_threadsafe(awaitable, self._loop).result(ANSWER_SECONDS)

    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def do(self, fault: str) -> None:
        """Lets the link fail in one of its ways."""

        async def begin():
            done = getattr(self._link, fault)()
            if done is not None:
                await done

        self._run(begin())
