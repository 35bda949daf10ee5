"""The units, as systemd reads them."""

import re
import tempfile
from pathlib import Path

from world import DEPLOY, faults, missing

# Tenths. What remains is what a server needs: the network, the users of the machine.
EXPOSURE_MAX = 20


def copied(directory, binary):
    """The units with the program that was built, since the real one is not installed here."""
    for unit in sorted((DEPLOY / "systemd").iterdir()):
        text = unit.read_text().replace("ExecStart=/usr/bin/fingerpost ", f"ExecStart={binary} ")
        (directory / unit.name).write_text(text)
        yield directory / unit.name


def stop_time():
    """The time to stop must be longer than what the program promises."""
    text = (DEPLOY / "systemd" / "fingerpost.service").read_text()
    seconds = int(re.search(r"^TimeoutStopSec=(\d+)s$", text, re.MULTILINE).group(1))
    return [] if seconds > 5 else [f"TimeoutStopSec is {seconds} s, and a stop may take 5"]


def cases(options):
    absent = missing("systemd-analyze")
    with tempfile.TemporaryDirectory(prefix="units-") as directory:
        units = list(copied(Path(directory), options.binary))
        service = next(unit for unit in units if unit.suffix == ".service")
        security = ["systemd-analyze", "security", "--no-pager", "--offline=yes"]
        security += [f"--threshold={EXPOSURE_MAX}", service]
        yield "systemd understands the units", absent or faults("systemd-analyze", "verify", "--man=no", *units)
        yield f"the service is exposed at most {EXPOSURE_MAX / 10}", absent or faults(*security)
    yield "the service has time to stop", stop_time()
