"""What the unit forbids, held against what the program does: systemd itself does not run where tests run."""

import re
import shlex
import tempfile
from pathlib import Path

from world import DEPLOY, Skipped, free_port, missing, run, serves

UNIT = DEPLOY / "systemd" / "fingerpost.service"
# The filter begins after the program was started. And SQLite keeps owners when root runs it, as tests may be.
NOT_IN_SERVICE = {"execve", "fchown"}


def values(key):
    """Everything that the unit says for a key, in its order."""
    return [line.split("=", 1)[1] for line in UNIT.read_text().splitlines() if line.startswith(f"{key}=")]


def expanded(name):
    """The system calls of a set of systemd, with those of the sets in it."""
    if not name.startswith("@"):
        return {name}
    _, output = run("systemd-analyze", "syscall-filter", "--no-pager", name)
    inner = [line.strip() for line in output.splitlines()[1:] if line.strip() and not line.strip().startswith("#")]
    return set().union(*map(expanded, inner)) if inner else set()


def allowed():
    calls = set()
    for words in values("SystemCallFilter"):
        denied = words.startswith("~")
        named = set().union(*map(expanded, words.removeprefix("~").split()))
        calls = calls - named if denied else calls | named
    return calls


def forbidden(trace):
    """Lines of a trace whose call the unit would refuse."""
    calls, families = allowed(), set(shlex.split(values("RestrictAddressFamilies")[-1]))
    seen = set()
    for line in trace.splitlines():
        called = re.match(r"(?:\d+ +)?([a-z_0-9]+)\(", line)
        if called is None:
            continue
        name = called.group(1)
        seen.add(name)
        family = re.search(r"\bsocket\((AF_\w+)", line)
        writes_and_runs = name in ("mmap", "mprotect", "pkey_mprotect") and "PROT_WRITE|PROT_EXEC" in line
        is_unknown = family is not None and family.group(1) not in families
        if name not in calls | NOT_IN_SERVICE or writes_and_runs or is_unknown:
            yield line
    if len(seen) < 20:
        yield f"the trace has hardly a call: {sorted(seen)}"


def cases(options):
    absent = missing("strace", "systemd-analyze")
    if absent is None and run("strace", "-o", "/dev/null", "true")[0] != 0:
        absent = Skipped("nothing can be traced here")
    if absent:
        yield "the program does what the unit allows", absent
        return
    with tempfile.TemporaryDirectory(prefix="sandbox-") as directory:
        trace = Path(directory) / "trace"
        port, probes = free_port(), free_port()
        command = ["strace", "-D", "-f", "-qq", "--seccomp-bpf", "-o", trace, options.binary, "serve"]
        command += ["--bind", f"127.0.0.1:{port}", f"--metrics=127.0.0.1:{probes}"]
        environment = {"STATE_DIRECTORY": directory, "PATH": "/usr/bin"}
        yield "the program serves while it is watched", serves(command, port, probes, environment)
        yield "the program does what the unit allows", list(forbidden(trace.read_text()))[:20]
