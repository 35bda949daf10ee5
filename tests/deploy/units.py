"""The units, as systemd reads them."""

import re
import tempfile
from pathlib import Path

from world import DEPLOY, faults, missing

# Tenths. What remains is what a server needs: the network, the users of the machine.
EXPOSURE_MAX = 20


def copied(directory, binary, of=""):
    """The units with the programs that were built, since the real ones are not installed here."""
    directory.mkdir(exist_ok=True)
    for unit in sorted((DEPLOY / "systemd" / of).glob("*.*")):
        text = unit.read_text().replace("ExecStart=/usr/bin/", f"ExecStart={binary.parent}/")
        (directory / unit.name).write_text(text)
        yield directory / unit.name


def stop_times():
    """The time to stop must be longer than what the program promises."""
    for unit in sorted((DEPLOY / "systemd").rglob("*.service")):
        seconds = int(re.search(r"^TimeoutStopSec=(\d+)s$", unit.read_text(), re.MULTILINE).group(1))
        if seconds <= 5:
            yield f"TimeoutStopSec of {unit} is {seconds} s, and a stop may take 5"


def sockets_are_kept():
    """The directory of the agent's socket outlives the service: the socket unit's socket lies in it, and containers
    have it mounted. The units of the system agree about its mode and its group."""
    socket, service = ((DEPLOY / "systemd" / f"fingerpost-agent.{kind}").read_text() for kind in ("socket", "service"))
    needed = {
        "socket": (socket, ["ListenStream=/run/fingerpost-agent/agent.sock", "DirectoryMode=0755", "SocketMode=0660"]),
        "service": (service, ["RuntimeDirectory=fingerpost-agent", "RuntimeDirectoryMode=0755"]),
        "kept": (service, ["RuntimeDirectoryPreserve=yes"]),
        "group": (socket, ["SocketGroup=fingerpost-agent"]),
    }
    return [f"{name}: no {line}" for name, (text, lines) in needed.items() for line in lines if line not in text]


def cases(options):
    absent = missing("systemd-analyze")
    with tempfile.TemporaryDirectory(prefix="units-") as directory:
        verify = ["systemd-analyze", "verify", "--man=no"]
        units = list(copied(Path(directory), options.binary))
        yield "systemd understands the units", absent or faults(*verify, *units)
        users = list(copied(Path(directory) / "user", options.binary, "user"))
        # A manager of a user wants a place for what runs.
        environment = {"XDG_RUNTIME_DIR": directory}
        yield "and those of users", absent or faults(*verify, "--user", *users, environment=environment)
        security = ["systemd-analyze", "security", "--no-pager", "--offline=yes", f"--threshold={EXPOSURE_MAX}"]
        for service in (unit for unit in units if unit.suffix == ".service"):
            yield f"{service.stem} is exposed at most {EXPOSURE_MAX / 10}", absent or faults(*security, service)
    yield "services have time to stop", list(stop_times())
    yield "the agent's socket outlives it", sockets_are_kept()
