"""Clones and pulls while `hg` writes to the repository."""

import random
import threading
import time
from urllib.parse import urlsplit

from hg import NEW, OLD, Hg, HgError, Session
from recorder import Recorder
from torture import HIDDEN, SECRET, SETTINGS
from variants import SLOW_PATHS, forbidden, publish

from . import case, check

SECONDS = 20
CLIENTS = 2
WRITER = SETTINGS | SLOW_PATHS | {"extensions.strip": "", "ui.origbackuppath": ".hg/originals"}
IDENTITY = {"experimental.httppeer.v2-encoder-order": "identity"}
# What the client may say when a changeset that it was told of has gone before it asked: the request fails as a whole, and
# the client keeps nothing of it.
GONE = (b"unknown", b"no node", b"filtered", b"changed", b"not found")


@case(OLD, NEW)
def clones_are_whole_while_hg_writes(world, version):
    """A writer commits, amends, strips, moves phases and bookmarks as fast as it can, while clients clone and pull. Every
    clone verifies; nothing secret or hidden is in any clone or any answer."""
    repository = world.place("busy")
    hg = Hg(version, settings=WRITER)
    hg.run("init", repository)
    publish(repository, "no")
    with Session(hg, repository) as run:
        writer = Writer(repository, run)
        for _ in range(10):
            writer.commit()
        with world.serving(repository) as server:
            clones = clone_while_writing(world, server, writer)
            clone = world.clone(server.url(repository))
    clone.check_same(world.reference(repository))
    if clones < CLIENTS:
        raise AssertionError(f"{clones} clones and pulls in {SECONDS} s are too few to show anything")


def clone_while_writing(world, server, writer):
    """Runs clients in threads of their own and the writer in this one; gives how many clones and pulls there were."""
    target = urlsplit(server.base)
    end = time.monotonic() + SECONDS
    failures, counts = [], []
    with Recorder((target.hostname, target.port), forbidden()) as recorder:

        def clients(number):
            try:
                counts.append(clone_and_pull(world, recorder.url, end, random.Random(number)))
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=clients, args=(number,)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads) and time.monotonic() < end:
            writer.step()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
    check(recorder.found, [])
    return sum(counts)


def clone_and_pull(world, url, end, chance):
    """Clones, and pulls into the clone a few times; each time it is looked through."""
    client = world.client.configured(IDENTITY)
    count = 0
    while time.monotonic() < end:
        place = world.place("clone")
        done = client.run("clone", "--noupdate", url, place, expect=None)
        for _ in range(chance.randrange(4)):
            if done.status == 0:
                done = client.run("pull", "--quiet", "-R", place, url, expect=None)
        if done.status == 0:
            world.sound(place)
            count += 1
        elif b"Traceback" in done.err or not any(word in done.err for word in GONE):
            raise HgError(f"the client ended with {done.status}:\n{done.err.decode(errors='replace')[-3000:]}")
    return count


class Writer:
    """Does at random what people do to a repository."""

    def __init__(self, path, run):
        self.path, self.run = path, run
        self.chance = random.Random(1)
        self.count = 0

    def step(self):
        often = [self.commit, self.commit, self.commit_secret, self.amend, self.branch]
        self.chance.choice([*often, self.strip, self.publish, self.hide, self.bookmark])()

    def commit(self, message="commit", *options):
        self.count += 1
        self.write(message)
        self.run("commit", "--quiet", "--addremove", "--message", f"{message} {self.count}", *options)

    def write(self, word):
        # Large enough for the revlogs to be split before long.
        lines = [f"{word} {self.count} line {number} {self.chance.random()}" for number in range(200)]
        for name in (f"file-{self.count % 7}", "every"):
            (self.path / name).write_text("\n".join(lines))

    def commit_secret(self):
        """A secret changeset, and work goes on from its parent."""
        self.commit(SECRET, "--secret")
        self.update(".^")

    def amend(self):
        """A secret changeset that is hidden as soon as it is amended; the new one is served."""
        self.commit(f"{SECRET} {HIDDEN}", "--secret")
        self.write("amended")
        self.run("commit", "--quiet", "--amend", "--message", f"amended {self.count}", "--secret")
        self.run("phase", "--draft", ".")

    def strip(self):
        """Takes away a draft head that has company."""
        self.run("strip", "--quiet", "--no-backup", "--rev", "last(draft() and head())", expect=(0, 1, 255))

    def publish(self):
        self.run("phase", "--public", "first(draft())", expect=(0, 1, 255))

    def hide(self):
        """Makes a draft secret that was served before; its contents say nothing."""
        self.run("phase", "--secret", "--force", "last(draft() and head())", expect=(0, 1, 255))
        self.update("last(not secret())")

    def bookmark(self):
        name = f"bookmark-{self.chance.randrange(5)}"
        if self.chance.random() < 0.3:
            self.run("bookmark", "--delete", name, expect=(0, 255))
        else:
            self.run("bookmark", "--force", "--inactive", "--rev", "last(not secret())", name)

    def branch(self):
        """Work goes on from an older changeset, and is joined with the rest now and then."""
        self.update(f"last(not secret(), {self.chance.randrange(2, 9)})")
        self.commit("branch")

    def update(self, revision):
        self.run("update", "--quiet", "--clean", revision)
