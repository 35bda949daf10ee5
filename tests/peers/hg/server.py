"""The server under test, as `fingerpost hg serve` starts it."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

START_SECONDS = 30
STOP_SECONDS = 15
CACHE_MIB = 64
URL = re.compile(r"https?://[^\s'\"]+")


class Server:
    """A process that serves these repositories; a single one at `/`, several each under its name."""

    def __init__(self, binary, directory, repositories, name="server"):
        self.repositories = [Path(path) for path in repositories]
        self.log_path = Path(directory) / f"{name}.log"
        self.out_path = Path(directory) / f"{name}.out"
        self.pid_path = Path(directory) / f"{name}.pid"
        self.command = [binary, "hg", "serve", "--bind", "127.0.0.1:0", "--pid-file", self.pid_path]
        # Every case asks more than once for some answers, so that it is told from memory as well.
        self.command += ["--cache-mib", CACHE_MIB]
        self.command += self.repositories
        self.process = None
        self.base = None

    def __enter__(self):
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("FINGERPOST_", "HG"))}
        with open(self.out_path, "wb") as out, open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                list(map(str, self.command)), stdin=subprocess.DEVNULL, stdout=out, stderr=log, env=kept
            )
        try:
            self.base = self.await_url()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def await_url(self):
        """The URL that it prints once it listens."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            found = URL.search(self.printed())
            if found and self.pid_path.exists():
                return found.group().rstrip("/") + "/"
            if self.process.poll() is not None:
                break
            time.sleep(0.01)
        raise RuntimeError(f"the server does not listen:\n{self.printed()}{self.log()}")

    def url(self, repository):
        """Where a repository is served."""
        root = self.base[: self.base.index("/", self.base.index("//") + 2) + 1]
        return root if len(self.repositories) == 1 else f"{root}{Path(repository).name}"

    def printed(self):
        return self.out_path.read_text(errors="replace")

    def log(self):
        return self.log_path.read_text(errors="replace")
