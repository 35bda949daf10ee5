"""The processes and files of a measurement, all of them temporary."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from .load import Generator
from .process import Process

START_SECONDS = 60
STOP_SECONDS = 30
FILL_SECONDS = 1800
NEED = Path(__file__).resolve().parent.parent.parent / "scripts" / "need"


class Server(Process):
    """A running server: where it listens and which process it is."""

    def __init__(self, process: subprocess.Popen, address: str, protocol: str):
        self.process = process
        self.pid = process.pid
        self.address = address
        self.protocol = protocol


class World:
    """Hands out servers and databases; removes everything at its end."""

    def __init__(self, binary: Path, work: Path | None, rounds: int, quick: bool):
        self.binary = binary.resolve()
        self.rounds = min(rounds, 3) if quick else rounds
        # Sizes are divided by this.
        self.scale = 10 if quick else 1
        self.seconds = 1.0 if quick else 3.0
        self._work = work
        self._databases: dict[tuple, Path] = {}
        self._certificate: Path | None = None

    def __enter__(self):
        self._directory = tempfile.TemporaryDirectory(prefix="fingerpost-bench-", dir=self._work)
        self.path = Path(self._directory.name)
        return self

    def __exit__(self, *_):
        self._directory.cleanup()

    def generator(self, server: Server) -> Generator:
        return Generator(self.binary, server)

    def run(self, *words, seconds: float = FILL_SECONDS) -> None:
        """Runs a subcommand of the program to its end."""
        command = [self.binary, *map(str, words)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=seconds)

    def output(self, *words, seconds: float = FILL_SECONDS) -> str:
        """What a subcommand of the program prints."""
        command = [self.binary, *map(str, words)]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=seconds).stdout

    def database(self, rows: int) -> Path:
        """A database of so many rows, made once. Servers may read it; what
        writes takes a copy."""
        path = self._databases.get((rows,))
        if path is None:
            path = self.path / f"rows-{rows}.db"
            if rows:
                self.run("bench", "fill", path, "--rows", rows)
            self._databases[(rows,)] = path
        return path

    def scratch(self, of: Path | None = None) -> Path:
        """The path of a database to write to, a copy of another or new."""
        path = Path(tempfile.mkdtemp(dir=self.path)) / "scratch.db"
        if of:
            shutil.copyfile(of, path)
        return path

    def certificate(self) -> tuple[Path, Path]:
        """A certificate for `localhost`, made once, and its key."""
        if self._certificate is None:
            subprocess.run([NEED, "openssl"], check=True)
            made = self.path / "tls.crt"
            words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
            words += ["-days", "2", "-subj", "/CN=bench", "-addext", "subjectAltName=DNS:localhost"]
            words += ["-addext", "basicConstraints=critical,CA:FALSE", "-out", made, "-keyout", made.with_suffix(".key")]
            subprocess.run(list(map(str, words)), check=True, capture_output=True, timeout=60)
            self._certificate = made
        return self._certificate, self._certificate.with_suffix(".key")

    def tls(self) -> list[str]:
        """The options of a server that speaks TLS on its port beside what it speaks anyway."""
        certificate, key = self.certificate()
        settings = {"tls.certificate": certificate, "tls.key": key, "server.tls": "optional"}
        return [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]

    @contextmanager
    def fingerpost(self, database: Path, *options: str):
        """A server on a database, with default settings but for `options`."""
        port = free_port()
        address = f"127.0.0.1:{port}"
        command = [self.binary, "serve", "--bind", address, "--metrics", "", "--log", "error"]
        command += ["--database", str(database), *options]
        log = (self.path / "server.log").open("w+")
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)
        with log, stopped(process):
            try:
                await_port(process, port)
            except RuntimeError as error:
                log.seek(0)
                raise RuntimeError(f"{error}: {log.read()}") from None
            server = Server(process, address, "hashequiv")
            server.database = str(database)
            yield server

    @contextmanager
    def postgresql(self):
        """A PostgreSQL that keeps what it answered, with memory for a million rows."""
        # One way to start PostgreSQL: that of the tests.
        sys.path.insert(0, str(NEED.parent.parent / "tests" / "peers"))
        from postgresql import Cluster

        options = ["fsync=on", "synchronous_commit=on", "shared_buffers=1GB", "max_wal_size=8GB"]
        with Cluster(*options, "checkpoint_timeout=30min", "wal_compression=on") as cluster:
            yield cluster

    @contextmanager
    def redis(self, keys: int):
        """Redis that keeps nothing on disk, with so many keys."""
        subprocess.run([NEED, "redis-server"], check=True)
        port = free_port()
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
        command += ["--appendonly", "no", "--dir", str(self.path)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        with stopped(process):
            await_port(process, port)
            server = Server(process, f"127.0.0.1:{port}", "redis")
            self.generator(server).run(mode="store", keys=keys, connections=4, depth=100)
            yield server


@contextmanager
def stopped(process: subprocess.Popen):
    """Ends the process, as an operator would, however the block ends."""
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def await_port(process: subprocess.Popen, port: int) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args[0]} ended with {process.returncode} at its start")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.005)
    raise TimeoutError(f"{process.args[0]} does not listen after {START_SECONDS} s")


def forget_pages(path: Path) -> None:
    """Takes a file out of the operating system's cache."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
