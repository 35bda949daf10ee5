"""What the cases share: tools, and a server that was installed somewhere."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
TOOL_SECONDS = 240
SERVER_SECONDS = 30
PATH = f"{ROOT}/.tools/bin:{os.environ['PATH']}:/usr/sbin:/sbin"


@dataclass
class Skipped:
    """A case that could not be run here."""

    why: str


def missing(*names):
    """Which of these tools are not here, as what is wrong with a case; nothing when all are."""
    absent = [name for name in names if shutil.which(name, path=PATH) is None]
    return [f"{', '.join(absent)} is missing; make prepare installs it"] if absent else None


def run(*words, environment=None, path=PATH, **options):
    """Runs a tool to its end; gives its exit code and everything that it wrote."""
    done = subprocess.run(
        [*map(str, words)],
        env={**os.environ, "PATH": path, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TOOL_SECONDS,
        **options,
    )
    return done.returncode, done.stdout


def faults(*words, **options):
    """What a tool has to say when it is not content; nothing is good."""
    code, output = run(*words, **options)
    return [] if code == 0 else [f"exit status {code}", *output.splitlines()]


def unlike(**pairs):
    """Names whose value is not the expected one: each is (value, expected)."""
    return [f"{name}: {value!r}, not {expected!r}" for name, (value, expected) in pairs.items() if value != expected]


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def answer(port, path, within=SERVER_SECONDS):
    """The text at a path of a server on this machine, which may still be starting."""
    deadline = time.monotonic() + within
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=within) as response:
                return response.read().decode()
        except urllib.error.HTTPError as error:
            return f"{error.code} {error.read().decode()}"
        except (OSError, urllib.error.URLError) as error:
            if time.monotonic() > deadline:
                return f"no answer: {error}"
            time.sleep(0.05)


def tells(command, status, probes, environment):
    """What is wrong with an agent that is started so, asked how it is, and stopped."""
    agent = subprocess.Popen(
        [*map(str, command)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        ready = answer(probes, "/readyz")
        code, told = run(*status, environment=environment)
        agent.send_signal(signal.SIGTERM)
        output, _ = agent.communicate(timeout=SERVER_SECONDS)
    finally:
        if agent.poll() is None:
            agent.kill()
    wrong = unlike(ready=(ready, "ready\n"), status=(agent.returncode, 0), told=(code, 0))
    if code == 0 and json.loads(told)["lookups"] != 0:
        wrong.append(told)
    return wrong and [*wrong, told, *output.splitlines()]


def serves(command, port, probes, environment):
    """What is wrong with a server that is started so, asked and stopped."""
    server = subprocess.Popen(
        [*map(str, command)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        asked = {path: answer(port, path) for path in ("/healthz", "/v1/statistics")}
        ready = answer(probes, "/readyz")
        server.send_signal(signal.SIGTERM)
        output, _ = server.communicate(timeout=SERVER_SECONDS)
    finally:
        if server.poll() is None:
            server.kill()
    wrong = unlike(health=(asked["/healthz"], "ok\n"), ready=(ready, "ready\n"), status=(server.returncode, 0))
    if not asked["/v1/statistics"].startswith("{"):
        wrong.append(f"statistics: {asked['/v1/statistics']}")
    return wrong and [*wrong, *output.splitlines()]
