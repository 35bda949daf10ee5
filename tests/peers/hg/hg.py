"""Running the installed releases of Mercurial.

`Hg` runs one command in a process of its own, as a user does. `Session` keeps one process for many commands (Mercurial's
command server), which is how fixtures are made quickly.
"""

import os
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
RUN_SECONDS = 120
# The last release with version 2 of the wire protocol, and a current one without it.
OLD, NEW = "6.0.3", "7.2.4"

# What a user has to switch on to speak version 2.
V2 = {"experimental.httppeer.advertise-v2": "true"}


class HgError(Exception):
    """A command ended with another status than was expected."""


@dataclass(frozen=True)
class Done:
    """How a command ended and what it printed."""

    status: int
    out: bytes
    err: bytes


def environment():
    """Nothing of the user's settings or language; messages are those of the source."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(("HG", "LC_", "LANG"))}
    plain = {"HGRCPATH": "", "HGPLAIN": "1", "HGENCODING": "utf-8", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    return kept | plain | {"HGUSER": "Tester <tester@example.org>", "PYTHONDONTWRITEBYTECODE": "1"}


class Hg:
    """One release with settings that every command gets."""

    def __init__(self, version=OLD, settings=None):
        self.version = version
        self.program = ROOT / f".venv-hg-{version}" / "bin" / "hg"
        self.settings = settings or {}
        if not self.program.exists():
            raise HgError(f"{self.program} does not exist; `make prepare` installs it")

    def configured(self, settings):
        """The same release with more settings."""
        return Hg(self.version, settings={**self.settings, **settings})

    def command(self, *words):
        options = [f"--config={name}={value}" for name, value in self.settings.items()]
        return [str(self.program), *options, *map(os.fspath, map(plain, words))]

    def run(self, *words, cwd=None, expect=(0,), seconds=RUN_SECONDS):
        """Runs a command to its end; a status that is not expected is an error. Expecting None takes any."""
        done = subprocess.run(
            self.command(*words), cwd=cwd, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds
        )
        if expect is not None and done.returncode not in expect:
            said = (done.stdout[-2000:] + done.stderr[-4000:]).decode(errors="replace")
            raise HgError(f"hg {self.version} {' '.join(map(str, words))} ended with {done.returncode}:\n{said}")
        return Done(done.returncode, done.stdout, done.stderr)

    def out(self, *words, **options):
        return self.run(*words, **options).out


def plain(word):
    return word if isinstance(word, (bytes, os.PathLike)) else str(word)


class Session:
    """A command server in a repository."""

    def __init__(self, hg, repository):
        self.version = hg.version
        command = hg.command("serve", "--cmdserver", "pipe", "-R", repository)
        self.process = subprocess.Popen(
            command, cwd=repository, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.receive()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            self.process.wait(RUN_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def __call__(self, *words, expect=(0,)):
        """Runs a command; gives what it printed."""
        arguments = b"\0".join(os.fsencode(plain(word)) for word in words)
        self.process.stdin.write(b"runcommand\n" + struct.pack(">I", len(arguments)) + arguments)
        self.process.stdin.flush()
        out, err = [], []
        while True:
            channel, data = self.receive()
            if channel == b"o":
                out.append(data)
            elif channel == b"e":
                err.append(data)
            elif channel == b"r":
                break
            elif channel.isupper():
                # It asks for input, and there is none.
                self.process.stdin.write(struct.pack(">I", 0))
                self.process.stdin.flush()
        (status,) = struct.unpack(">i", data)
        if expect is not None and status not in expect:
            said = b"".join(out + err)[-4000:].decode(errors="replace")
            raise HgError(f"hg {self.version} {' '.join(map(str, words))} ended with {status}:\n{said}")
        return b"".join(out)

    def receive(self):
        header = self.process.stdout.read(5)
        if len(header) < 5:
            raise HgError("the command server ended")
        channel, length = header[:1], struct.unpack(">I", header[1:])[0]
        return channel, b"" if channel.isupper() else self.process.stdout.read(length)
