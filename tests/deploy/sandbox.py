"""What the unit forbids, held against what the program does: systemd itself does not run where tests run."""

import re
import shlex
import tempfile
from pathlib import Path

from world import DEPLOY, Skipped, free_port, missing, run, serves, tells

# The filter begins after the program was started. And SQLite keeps owners when root runs it, as tests may be.
NOT_IN_SERVICE = {"execve", "fchown"}


def values(unit, key):
    """Everything that the unit says for a key, in its order."""
    lines = (DEPLOY / "systemd" / unit).read_text().splitlines()
    return [line.split("=", 1)[1] for line in lines if line.startswith(f"{key}=")]


def expanded(name):
    """The system calls of a set of systemd, with those of the sets in it."""
    if not name.startswith("@"):
        return {name}
    _, output = run("systemd-analyze", "syscall-filter", "--no-pager", name)
    inner = [line.strip() for line in output.splitlines()[1:] if line.strip() and not line.strip().startswith("#")]
    return set().union(*map(expanded, inner)) if inner else set()


def allowed(unit):
    calls = set()
    for words in values(unit, "SystemCallFilter"):
        denied = words.startswith("~")
        named = set().union(*map(expanded, words.removeprefix("~").split()))
        calls = calls - named if denied else calls | named
    return calls


def forbidden(unit, trace):
    """Lines of a trace whose call the unit would refuse."""
    calls, families = allowed(unit), set(shlex.split(values(unit, "RestrictAddressFamilies")[-1]))
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
        watched = ["strace", "-D", "-f", "-qq", "--seccomp-bpf", "-o", trace]
        command = [*watched, options.binary, "serve", "--bind", f"127.0.0.1:{port}", f"--metrics=127.0.0.1:{probes}"]
        environment = {"STATE_DIRECTORY": directory, "PATH": "/usr/bin"}
        yield "the program serves while it is watched", serves(command, port, probes, environment)
        yield "the program does what the unit allows", list(forbidden("fingerpost.service", trace.read_text()))[:20]
        # Nobody listens at the server's address: that is what an agent is for.
        program = options.binary.with_name("fingerpost-agent")
        agent = [*watched, program, f"--server=127.0.0.1:{free_port()}", f"--metrics=127.0.0.1:{probes}"]
        environment = {**environment, "RUNTIME_DIRECTORY": directory}
        status = [program, "status", "--json"]
        yield "the agent serves while it is watched", tells(agent, status, probes, environment)
        yield "the agent does what its unit allows", list(forbidden("fingerpost-agent.service", trace.read_text()))[:20]
