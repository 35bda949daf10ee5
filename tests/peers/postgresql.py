"""A PostgreSQL of its own, in a directory that is gone afterwards; `make prepare` installs the programs."""

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

# What refuses to run as root runs as this account then.
ACCOUNT = "postgres"
SECONDS = 60
# Templates of benchmarks have some gigabytes.
COPY_SECONDS = 600


def programs():
    """The directory of the newest version's programs; Debian keeps them off the path."""
    versions = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.parent.name.isdigit()]
    if versions:
        return max(versions, key=lambda path: int(path.parent.name))
    found = shutil.which("initdb")
    if found is None:
        raise RuntimeError("PostgreSQL is missing; `make prepare` installs it")
    return Path(found).parent


class Cluster:
    """One server that runs while the `with` block does: fast and not durable, unless the options say otherwise."""

    def __init__(self, *options):
        self.options = options or ("fsync=off", "max_connections=400")

    def __enter__(self):
        self.programs = programs()
        self.directory = Path(tempfile.mkdtemp(prefix="peers-pg-"))
        self.count = 0
        self.is_root = os.geteuid() == 0
        if self.is_root:
            shutil.chown(self.directory, ACCOUNT, ACCOUNT)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        try:
            self.run("initdb", "--no-sync", f"--username={ACCOUNT}", "--auth=trust", "--encoding=UTF8", "--locale=C",
                     "--pgdata", self.data)  # fmt: skip
            options = f"-p {self.port} -h 127.0.0.1 -k {self.directory}" + "".join(f" -c {one}" for one in self.options)
            self.run("pg_ctl", "start", "--wait", "--pgdata", self.data, "--log", self.directory / "log", "-o", options)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        try:
            if (self.data / "postmaster.pid").exists():
                self.run("pg_ctl", "stop", "--mode=immediate", "--pgdata", self.data)
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def data(self):
        return self.directory / "data"

    def run(self, program, *words, seconds=SECONDS):
        who = {"user": ACCOUNT, "group": ACCOUNT, "extra_groups": []} if self.is_root else {}
        # The server that pg_ctl starts keeps what it was given: no pipes.
        with open(self.directory / "said", "w+b") as said:
            done = subprocess.run([self.programs / program, *map(str, words)], cwd=self.directory, timeout=seconds,
                                  stdin=subprocess.DEVNULL, stdout=said, stderr=said, **who)  # fmt: skip
            if done.returncode != 0:
                said.seek(0)
                raise RuntimeError(f"{program}: {said.read().decode(errors='replace')}")

    def fresh_database(self, template="template1"):
        """The URL of a new database, as SQLAlchemy writes it: a copy of another one, by name."""
        self.count += 1
        name = f"peers_{self.count}"
        # Files are copied, for a large template goes through the log otherwise.
        self.sql(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy", seconds=COPY_SECONDS)
        return f"postgresql+asyncpg://{ACCOUNT}@127.0.0.1:{self.port}/{name}"

    def sql(self, statement, database="postgres", seconds=SECONDS):
        words = ["--host", self.directory, "--port", self.port, "--username", ACCOUNT, "--no-psqlrc", "--quiet"]
        self.run("psql", *words, "--command", statement, database, seconds=seconds)
