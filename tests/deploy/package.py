"""The Debian package: built, installed into a directory, upgraded, removed, purged."""

import os
import re
import tempfile
from pathlib import Path

from world import ROOT, faults, free_port, missing, run, serves, unlike

# Nothing of it is enabled or started.
ON_INSTALLATION = ["adduser fingerpost", "adduser fingerpost-agent", "systemctl daemon-reload"]
ON_UPGRADE = [*ON_INSTALLATION, "deb-systemd-invoke try-restart fingerpost.service fingerpost-agent.service"]
ON_REMOVAL = [
    "deb-systemd-invoke stop fingerpost.socket fingerpost.service fingerpost-agent.socket fingerpost-agent.service",
    "systemctl daemon-reload",
]
UNITS = [
    f"{place}/{name}.{kind}"
    for place, name in (
        ("lib/systemd/system", "fingerpost"),
        ("lib/systemd/system", "fingerpost-agent"),
        ("usr/lib/systemd/user", "fingerpost-agent"),
    )
    for kind in ("service", "socket")
]
FORCED = "--force-script-chrootless,depends,not-root,bad-path"


class Machine:
    """A directory that dpkg takes for a machine with systemd. Its scripts run outside of it, so what they call is
    written down instead of done."""

    def __init__(self, directory):
        self.root = Path(directory) / "root"
        self.called = Path(directory) / "called"
        self.tools = Path(directory) / "tools"
        for name in ("var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers", "run/systemd/system"):
            (self.root / name).mkdir(parents=True)
        (self.root / "var/lib/dpkg/status").touch()
        self.tools.mkdir()
        self.tool("getent", "exit 2")
        # What it is called with is Debian's; the user is what matters.
        self.tool("adduser", f'for user; do :; done; echo "adduser $user" >>{self.called}')
        for name in ("systemctl", "deb-systemd-invoke"):
            self.tool(name, f'echo "{name} $*" >>{self.called}')

    def tool(self, name, script):
        path = self.tools / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def dpkg(self, *words):
        """What dpkg has to say, and what the package's scripts called."""
        self.called.write_text("")
        path = f"{self.tools}:{os.environ['PATH']}:/usr/sbin:/sbin"
        wrong = faults("dpkg", f"--root={self.root}", FORCED, *words, path=path)
        return wrong, self.called.read_text().splitlines()


def version():
    text = (ROOT / "Cargo.toml").read_text()
    return re.search(r'\[workspace.package\]\nversion = "(.*)"', text).group(1).replace("-", "~")


def build(binary, directory):
    """The package, hardly compressed: more would take a minute."""
    environment = {"DPKG_DEB_COMPRESSOR_TYPE": "gzip", "DPKG_DEB_COMPRESSOR_LEVEL": "1"}
    code, output = run(ROOT / "scripts" / "deb", binary, directory, environment=environment)
    package = Path(output.strip().splitlines()[-1])
    return (package, []) if code == 0 else (None, output.splitlines())


def told(package):
    _, output = run("dpkg-deb", "--field", package, "Package", "Version", "Depends")
    fields = dict(line.split(": ", 1) for line in output.splitlines())
    wrong = unlike(name=(fields["Package"], "fingerpost"), version=(fields["Version"], version()))
    return wrong + ([] if re.search(r"\blibc6 \(", fields["Depends"]) else [f"depends on {fields['Depends']}"])


def installed(machine):
    config = machine.root / "etc" / "fingerpost" / "fingerpost.toml"
    wrong = [f"no {name}" for name in (*UNITS, "etc/fingerpost/agent.toml") if not (machine.root / name).exists()]
    programs = machine.root / "usr" / "bin"
    wrong += faults(programs / "fingerpost", "check-config", "--config", config)
    # It has read its example, and wants to know one thing.
    example = machine.root / "etc" / "fingerpost" / "agent.toml"
    code, output = run(programs / "fingerpost-agent", "--config", example)
    return wrong + unlike(agent=((code, output.split("?")[0]), (78, "which server")))


def serving(machine):
    """The installed program with the installed configuration."""
    port, probes = free_port(), free_port()
    program = machine.root / "usr" / "bin" / "fingerpost"
    config = machine.root / "etc" / "fingerpost" / "fingerpost.toml"
    # What systemd sets for `StateDirectory=`.
    environment = {"STATE_DIRECTORY": str(machine.root / "state")}
    command = [program, "serve", "--config", config, "--bind", f"127.0.0.1:{port}", f"--metrics=127.0.0.1:{probes}"]
    return serves(command, port, probes, environment)


def life(package, directory):
    machine = Machine(directory)
    wrong, called = machine.dpkg("--install", package)
    yield "dpkg installs it, and nothing is enabled or started", wrong or unlike(called=(called, ON_INSTALLATION))
    yield "its files are there, and the configuration is right", installed(machine)
    yield "the installed program serves", serving(machine)
    config = machine.root / "etc" / "fingerpost" / "fingerpost.toml"
    config.write_text("# changed\n")
    wrong, called = machine.dpkg("--install", package)
    changed = unlike(called=(called, ON_UPGRADE), configuration=(config.read_text(), "# changed\n"))
    yield "an upgrade restarts what runs and keeps the configuration", wrong or changed
    database = machine.root / "var" / "lib" / "fingerpost" / "fingerpost.db"
    database.parent.mkdir(parents=True)
    database.touch()
    wrong, called = machine.dpkg("--remove", "fingerpost")
    kept = unlike(called=(called, ON_REMOVAL), configuration=(config.exists(), True))
    yield "a removal stops it and keeps the configuration", wrong or kept
    wrong, _ = machine.dpkg("--purge", "fingerpost")
    kept = unlike(configuration=(config.exists(), False), database=(database.exists(), True))
    yield "a purge takes the configuration and leaves the database", wrong or kept


def cases(options):
    absent = missing("dpkg", "dpkg-deb", "dpkg-shlibdeps", "strip")
    with tempfile.TemporaryDirectory(prefix="package-") as directory:
        package, wrong = (None, absent) if absent else build(options.binary, directory)
        yield "the package is built", wrong
        if package is None:
            return
        yield "it says what it is and needs", told(package)
        # Its own words about running as root are no fault.
        lintian = ["lintian", "--allow-root", "--fail-on", "error,warning", package]
        yield "lintian is content", missing("lintian") or faults(*lintian)
        yield from life(package, directory)
