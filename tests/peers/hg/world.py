"""What a case gets: repositories that are made once for all cases, servers, clients, and comparisons."""

import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path

from hg import NEW, OLD, V2, Hg, Session
from server import Server
from variants import VARIANTS, Fixtures, forbidden

# One line for each changeset: everything that a clone has to carry over. A manifest's node stands for its contents, which
# `hg verify` has compared with it.
LOG = (
    "{node} {p1node} {p2node} {branch|json} {author|json} {date|hgdate} {desc|json} {extras|json} {phase}"
    " {bookmarks|json} {files|json} {manifest % '{node}'} {file_copies|json}\n"
)


class World:
    """Shared by all cases; they run side by side."""

    def __init__(self, binary, directory):
        self.binary = binary
        self.directory = Path(directory)
        self.old, self.new = Hg(OLD), Hg(NEW)
        self.client = Hg(OLD, settings=V2)
        self.fixtures = Fixtures(self.directory)
        self._made = {}
        self._locks = {}
        self._lock = threading.Lock()

    def once(self, key, make):
        """What `make` gives, made by the first who asks; others wait."""
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self._made:
                self._made[key] = make()
            return self._made[key]

    def natural(self):
        return self.once("natural", self.fixtures.natural)

    def bundle(self, heads):
        natural = self.natural()
        return self.once(("bundle", heads), lambda: self.fixtures.bundle(natural, heads))

    def variant(self, name):
        """A repository that all cases may read."""
        variant = VARIANTS[name]
        return self.once(("variant", name), lambda: self.fixtures.make(variant, self.bundle(variant.heads), self.natural()))

    def own_variant(self, name):
        """A repository that one case may change."""
        variant = VARIANTS[name]
        return self.fixtures.make(variant, self.bundle(variant.heads), self.natural(), self.place(name))

    def place(self, name):
        """A path of which nothing exists yet."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.directory)) / name

    @contextmanager
    def serving(self, *repositories):
        directory = tempfile.mkdtemp(prefix="server-", dir=self.directory)
        with Server(self.binary, directory, repositories) as server:
            yield server

    def clone(self, url, *options, client=None):
        """Clones over version 2 of the protocol; gives the clone, looked through."""
        path = self.place("clone")
        (client or self.client).run("clone", *options, url, path)
        return self.sound(path)

    def pull(self, clone, url, *options):
        """Pulls over version 2 of the protocol; gives the clone, looked through."""
        self.client.run("pull", "--quiet", "-R", clone.path, *options, url)
        return self.sound(clone.path)

    def sound(self, path):
        """Verifies that a clone is whole, and that nothing secret or hidden is in it: all of its texts are searched,
        uncompressed. Gives what is in it."""
        with Session(self.old, path) as run:
            run("verify")
            texts = Path(f"{path}-texts")
            # Ends with 1 if there is nothing to bundle.
            run("bundle", "--quiet", "--all", "--type", "none-v2", texts, expect=(0, 1))
            contents = Contents(path, run)
        if texts.exists():
            data = texts.read_bytes()
            texts.unlink()
            leaks = [word for word in forbidden() if word in data]
            if leaks:
                raise AssertionError(f"{path} contains {leaks}")
        return contents

    def node(self, repository, revset):
        """The node of the one changeset that the set names, hidden ones too."""
        command = ("log", "--hidden", "-R", repository, "--rev", revset, "--template", "{node}\n")
        (node,) = self.old.out(*command).decode().split()
        return node

    def reference(self, repository, *options):
        """What is in a clone that the same client makes without a server."""

        def make():
            path = self.place("reference")
            self.old.run("clone", "--pull", *options, repository, path)
            with Session(self.old, path) as run:
                return Contents(path, run)

        return self.once(("reference", repository, options), make)


class Contents:
    """What is in a repository: changesets with all fields and phases, bookmarks, the state of the working copy."""

    def __init__(self, path, run):
        self.path = path
        self.log = sorted(run("log", "--template", LOG).splitlines())
        self.bookmarks = sorted(run("bookmarks", "--template", "{bookmark} {node} {active}\n").splitlines())
        self.status = run("status").splitlines()

    def check_same(self, other):
        """Fails with the first lines that are only on one side."""
        first_difference(self.log, other.log)
        first_difference(self.bookmarks, other.bookmarks)
        first_difference(self.status, other.status)


def first_difference(found, expected):
    """Fails with the first lines that are only on one side."""
    if found == expected:
        return
    extra, missing = sorted(set(found) - set(expected)), sorted(set(expected) - set(found))
    raise AssertionError(
        f"{len(extra)} lines too many, {len(missing)} missing; found {shown(extra)}, expected {shown(missing)}"
    )


def shown(lines):
    return (b"\n" + lines[0][:1000]).decode(errors="replace") if lines else "nothing"

