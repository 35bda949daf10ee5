"""Fingerpost's agent for the time of a build.

It lives as long as BitBake's server process, which may serve several builds, and not longer: a shell between the two
ends it when that process ends, however it does.

SPDX-License-Identifier: MIT OR Apache-2.0
"""

import json
import os
import shlex
import shutil
import subprocess
import time

import bb

from . import memory, probe
from .deadline import Absent

STOP_SECONDS = 5
STATUS_SECONDS = 1
PAUSE_SECONDS = 0.005
# The end of standard input is the end of BitBake: whoever holds the other end of that
# pipe is gone then. SIGTERM says the same while a child of BitBake still holds it.
KEEPER = """
exec 3<&0
agent=
trap 'test -n "$agent" && kill "$agent" 2>/dev/null' TERM
"$@" 3<&- </dev/null &
agent=$!
{ trap - TERM; read -r nothing; kill "$agent" 2>/dev/null; } <&3 3<&- &
watch=$!
exec 3<&- </dev/null
while :; do wait "$agent"; code=$?; kill -0 "$agent" 2>/dev/null || break; done
kill "$watch" 2>/dev/null
exit "$code"
"""


def start(d, deadline):
    """Starts an agent, unless it runs already; returns its address when it answers. Raises `Absent` if it does not."""
    path = os.path.abspath(d.getVar("FINGERPOST_AGENT_SOCKET"))
    command = _command(d, path)
    running = memory.of("agent")
    if running.get("command") != command or running["process"].poll() is not None:
        stop(deadline.left())
        # The file of an agent that was killed would be taken for the new one's.
        _remove(path)
        running.update(command=command, path=path, process=_spawn(command, path, environment(d)))
    _wait(running["process"], path, deadline)
    return "unix://" + path


def stop(seconds=STOP_SECONDS):
    """Ends the agent, if one was started, and waits until it has put away what it holds."""
    running = memory.of("agent")
    process = running.get("process")
    running.clear()
    if process is None:
        return
    process.stdin.close()
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        bb.debug(1, "fingerpost: the agent is still busy and is left to itself")


def status(d, path):
    """What the agent that listens at `path` says of itself, or an empty dictionary."""
    original = environment(d)
    program = _program(d, original)
    if program is None:
        return {}
    command = [*_agent(program), "status", "--socket", path, "--json"]
    try:
        answer = subprocess.run(
            command,
            env=original,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=STATUS_SECONDS,
            check=True,
        )
        told = json.loads(answer.stdout.decode())
    except (OSError, ValueError, subprocess.SubprocessError):
        return {}
    return told if isinstance(told, dict) else {}


def environment(d):
    """The environment that bitbake was called with: BitBake drops most of it, tokens of CI systems and proxies too."""
    original = d.getVar("BB_ORIGENV", False)
    if not original:
        return dict(os.environ)
    values = ((name, original.getVar(name, False)) for name in original.keys())
    return {name: value for name, value in values if isinstance(value, str)}


def _program(d, original):
    return shutil.which(d.getVar("FINGERPOST_PROGRAM") or "fingerpost", path=original.get("PATH"))


def _command(d, path):
    program = _program(d, environment(d))
    if program is None:
        raise Absent("there is no program %s to start" % d.getVar("FINGERPOST_PROGRAM"))
    server = d.getVar("FINGERPOST_SERVER")
    if not server or server == "unix://" + path:
        raise Absent("FINGERPOST_SERVER does not say which server it should ask")
    options = shlex.split(d.getVar("FINGERPOST_AGENT_OPTIONS") or "")
    return [*_agent(program), "--server", server, "--socket", path, *options]


def _agent(program):
    """The program as an agent: the small one is nothing else."""
    return [program] if os.path.basename(program) == "fingerpost-agent" else [program, "agent"]


def _spawn(command, path, original):
    # Its own session: an interrupt of the build is none of the agent, tasks still report.
    try:
        with open(path + ".log", "wb") as log:
            return subprocess.Popen(
                ["/bin/sh", "-c", KEEPER, "fingerpost-agent", *command],
                env=original,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
    except OSError as error:
        raise Absent(str(error)) from error


def _wait(process, path, deadline):
    try:
        while True:
            try:
                return probe.ping("unix://" + path, deadline)
            except Absent:
                if process.poll() is not None:
                    raise Absent("it ended at once: %s" % _last_line(path)) from None
            time.sleep(min(PAUSE_SECONDS, deadline.left()))
    except Absent:
        stop(0)
        raise


def _last_line(path):
    try:
        with open(path + ".log", "rb") as log:
            lines = log.read().decode(errors="replace").splitlines()
    except OSError:
        lines = []
    return lines[-1] if lines else "without a word"


def _remove(path):
    try:
        os.unlink(path)
    except OSError:
        pass
