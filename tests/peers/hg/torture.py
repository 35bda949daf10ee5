"""A repository with everything in it that a server can get wrong.

All of it is deterministic: users, dates and contents, so node ids are the same in every run. Every secret changeset has
`SECRET` in its description and in a file of its own, every hidden one `HIDDEN`: neither word may ever leave the server.
"""

import hashlib
import os
from pathlib import Path
from random import Random

from hg import Session

SECRET, HIDDEN = "SECRET-MARKER", "HIDDEN-MARKER"
BIG_BYTES = 8 * 2**20
CHAIN = 110
HEADS = 3000

SETTINGS = {
    "experimental.evolution": "all",
    "phases.publish": "no",
    "ui.portablefilenames": "ignore",
    "ui.merge": "internal:merge",
    "ui.origbackuppath": ".hg/originals",
    "extensions.rebase": "",
    # Markers hold the time of the command otherwise.
    "devel.default-date": "1000 0",
}

# Paths that try every rule of the store's encoding; the long ones are hashed.
PATHS = [
    b"UPPER/Case_and_under__score",
    b".leading/.dots/. spaces ",
    b"trailing./dot. /space ",
    b"aux/con.txt/prn/com1.c/lpt9/nul",
    b"AUX/Com1",
    b"index.i/data.d/x.hg/y.i",
    b"tilde~7e/star*/quest?/pipe|/colon:/back\\slash/lt<gt>",
    "unicode/žluťoučký kůň/日本語.txt".encode(),
    b"latin1/caf\xe9/\x80\xff",
    b"control/\x01\x1f\x7f",
    b"long/" + b"/".join(b"directory-%d" % n for n in range(12)) + b"/file.txt",
    b"Long/" + b"Name" * 40 + b".tar.gz",
    "long/".encode() + ("ř" * 30).encode() + b"/" + b"." * 20 + b"/aux",
    b"long/" + b"a" * 110 + b".",
    b"long/" + b"a" * 110 + b".i",
]


class Torture:
    """Builds the repository in a directory that `hg init` made."""

    def __init__(self, hg, path):
        self.path = Path(path)
        self.hg = hg.configured(SETTINGS)
        self.clock = 0

    def build(self):
        with Session(self.hg, self.path) as self.run:
            self.names()
            self.contents()
            self.copies()
            self.removals()
            self.kinds()
            self.chain()
            self.merges()
            self.branches()
            self.empty_manifest()
            self.dates()
            self.tags()
            self.phases()
            self.obsolete()
            self.bookmarks()

    # Tools.

    def write(self, name, data):
        path = os.path.join(os.fsencode(self.path), os.fsencode(name))
        if os.path.islink(path):
            os.unlink(path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data if isinstance(data, bytes) else data.encode())

    def commit(self, message, *options, **files):
        """Writes the files, adds what is new, notes what is gone; gives the node."""
        for name, data in files.items():
            self.write(name, data)
        self.clock += 61
        date = f"{1_600_000_000 + self.clock} {(-3600, 0, 19800)[self.clock % 3]}"
        self.run("addremove", "--quiet", "--similarity", "0")
        self.run("commit", "--message", message, "--date", date, *options)
        return self.node(".")

    def node(self, revision):
        return self.run("log", "--hidden", "--rev", revision, "--template", "{node}").decode()

    def update(self, revision):
        self.run("update", "--quiet", "--clean", revision)

    def merge(self, other, message, **files):
        self.run("merge", "--quiet", other, expect=(0, 1))
        for name, data in files.items():
            self.write(name, data)
        self.run("resolve", "--quiet", "--mark", "--all")
        return self.commit(message)

    # What is in it.

    def names(self):
        for number, name in enumerate(PATHS):
            self.write(name, b"file %d\n" % number)
        self.commit("every kind of name")
        for number, name in enumerate(PATHS):
            self.write(name, b"file %d\nsecond\n" % number)
        self.trunk = self.commit("every kind of name, changed")

    def contents(self):
        self.write("empty", b"")
        self.write("metadata", b"\x01\nlooks: like metadata\n\x01\nand is not\n")
        self.write("metadata-start", b"\x01\n")
        self.write("nul", bytes(range(256)) * 40)
        self.write("no-newline", b"no newline")
        self.commit("kinds of contents")
        big = noise(b"big", BIG_BYTES)
        self.write("big", big)
        self.commit("eight mebibytes")
        self.write("big", big[:100] + b"inserted" + big[100:])
        self.commit("eight mebibytes, near the start")
        self.write("big", big[: BIG_BYTES // 2] + noise(b"middle", 5000) + big[BIG_BYTES // 2 + 3000 :])
        self.write("empty", b"not any more\n")
        self.write("nul", b"")
        self.commit("eight mebibytes, in the middle; empty becomes full and full empty")

    def copies(self):
        text = "".join(f"line {n}\n" for n in range(200))
        self.commit("a file to be copied", source=text)
        self.run("copy", "source", "copied")
        self.commit("copied, unchanged")
        self.run("copy", "source", "copied-changed")
        self.commit("copied and changed", **{"copied-changed": text + "more\n"})
        self.run("rename", "copied", "directory/renamed")
        self.commit("renamed")
        self.run("rename", "directory/renamed", "directory/again")
        self.commit("renamed again and changed", **{"directory/again": text.replace("line 7\n", "line seven\n")})
        self.run("copy", "--force", "source", "directory/again")
        self.trunk = self.commit("copied over an existing file")

    def removals(self):
        self.commit("to be removed", gone="gone\n", returns="returns\n", **{"dir/a": "a\n", "dir/b": "b\n"})
        self.run("remove", "gone", "returns")
        self.commit("removed")
        self.commit("added again as it was", returns="returns\n")
        self.run("remove", "returns", "dir/a")
        self.commit("removed again")
        self.commit("added again, other contents", returns="otherwise\n")
        self.run("remove", "dir/b")
        self.commit("a file where a directory was", dir="file\n")
        self.run("remove", "dir")
        self.run("remove", "big")
        self.trunk = self.commit("a directory again", **{"dir/a": "a\n"})

    def kinds(self):
        script = self.path / "script"
        self.write("script", "#!/bin/sh\n")
        script.chmod(0o755)
        self.commit("executable")
        script.chmod(0o644)
        self.commit("not executable")
        script.chmod(0o755)
        (self.path / "link").symlink_to("script")
        (self.path / "dangling").symlink_to("../ž/nowhere")
        self.commit("executable again, and links")
        self.commit("a link becomes a file", link="script")
        (self.path / "script").unlink()
        (self.path / "script").symlink_to("link")
        self.trunk = self.commit("a file becomes a link")

    def chain(self):
        """So many revisions of a file that its delta chain is cut."""
        lines = [hashlib.sha256(b"%d" % n).hexdigest() for n in range(400)]
        for number in range(CHAIN):
            lines[(number * 7) % 400] = f"changed by {number}"
            self.trunk = self.commit(f"chain {number}", chain="\n".join(lines))

    def merges(self):
        base = self.commit("base of merges", left="l\n" * 9, right="r\n" * 9, both="".join(f"{n}\n" for n in range(40)))
        self.write("left", "l\n" * 8 + "left\n")
        self.run("rename", "both", "both-moved")
        one = self.commit("left side: changed and renamed")
        self.update(base)
        self.run("remove", "right")
        two = self.commit("right side: removed and changed", both="changed\n" + "".join(f"{n}\n" for n in range(1, 40)))
        merged = self.merge(one, "merge: rename, change and removal come together")
        self.update(one)
        other = self.merge(two, "criss-cross: the same the other way round", **{"left": "conflict resolved\n"})
        self.update(merged)
        merged = self.merge(other, "merge of the merges")
        self.update(base)
        side = self.commit("a side that only adds", added="added\n")
        self.update(merged)
        self.merge(side, "a merge without a file of its own")
        self.update(base)
        self.commit("conflicting", left="completely\nother\n")
        self.trunk = self.merge(merged, "conflict, resolved to neither", left="neither\n")

    def branches(self):
        self.run("branch", "stable")
        self.commit("only a branch name")
        stable = self.commit("stable", stable="1\n")
        self.run("branch", "větev")
        self.commit("a branch name that is not ASCII", branch="1\n")
        self.run("commit", "--close-branch", "--message", "closed", "--date", "1600100000 0")
        self.update(stable)
        self.run("branch", "reopened")
        self.commit("to be closed", branch="2\n")
        self.run("commit", "--close-branch", "--message", "closed", "--date", "1600100060 0")
        self.commit("open again", branch="3\n")
        self.update(stable)
        self.commit("one head of stable", stable="2\n")
        self.update(stable)
        self.commit("another head of stable", stable="3\n")
        self.run("commit", "--close-branch", "--message", "a closed head of stable", "--date", "1600100120 0")
        self.run("graft", "--rev", "desc('to be closed')", "--date", "1600100180 0")
        self.update(self.trunk)

    def empty_manifest(self):
        self.update("null")
        self.commit("a second root", other="root\n")
        self.run("remove", "other")
        self.commit("nothing is left")
        self.commit("and something again", other="root again\n")
        self.run("merge", "--quiet", self.trunk)
        self.trunk = self.commit("roots joined")

    def dates(self):
        for date in ("-86400 0", "0 0", "2147483647 -50400", "1 43200"):
            self.write("date", f"{date}\n")
            self.run("addremove", "--quiet")
            message = f"date {date}\n\n  second line \n\nlast: ž"
            self.run("commit", "--message", message, "--date", date, "--user", "Jméno Ž <ž@example.org>")
        self.trunk = self.node(".")

    def tags(self):
        self.run("tag", "--rev", "desc('renamed again')", "v1.0", "verze-ž", "--date", "1600200000 0")
        self.run("tag", "--remove", "verze-ž", "--date", "1600200060 0")
        self.run("tag", "--force", "--rev", "desc('conflicting')", "v1.0", "--date", "1600200120 0")
        self.run("tag", "--local", "--rev", "desc('criss-cross')", "only-here")
        self.trunk = self.node(".")
        self.run("phase", "--public", self.trunk)

    def phases(self):
        draft = self.commit("draft", draft="1\n")
        secret = self.commit(f"{SECRET} one", "--secret", secret=f"{SECRET}\n")
        self.commit(f"{SECRET} child", secret=f"{SECRET} child\n", **{f"{SECRET}-name": "x\n"})
        self.update(draft)
        # The same file and the same manifest, first by a secret changeset: their link leads to it.
        shared = {"shared": "the same bytes\n"}
        self.commit(f"{SECRET} introduces what a draft has too", "--secret", **shared)
        self.update(draft)
        self.after_secret = self.commit("draft that has the same manifest", **shared)
        self.update(secret)
        self.run("merge", "--quiet", self.after_secret)
        self.commit(f"{SECRET} merge")
        self.update(draft)
        self.trunk = self.commit("more draft", draft="2\n")

    def obsolete(self):
        self.commit(f"{HIDDEN} before amending", amended=f"{HIDDEN}\n")
        self.commit("amended", "--amend", amended="fine\n")
        parent = self.node(".")
        self.commit(f"{HIDDEN} same contents", same="same\n")
        self.commit("amended in its description only", "--amend")
        self.update(parent)
        pruned = self.commit(f"{HIDDEN} pruned", pruned=f"{HIDDEN}\n")
        self.commit(f"{HIDDEN} pruned too", pruned=f"{HIDDEN} too\n")
        self.update(parent)
        for node in (pruned, self.node("desc('pruned too')")):
            self.run("debugobsolete", "--record-parents", "--date", "1000 0", node)
        obsolete = self.commit("obsolete with a child that is not", orphan="1\n")
        self.commit("orphan", orphan="2\n")
        self.update(parent)
        successor = self.commit("its successor", orphan="1, better\n")
        self.run("debugobsolete", "--date", "1000 0", obsolete, successor)
        # A marker on a public changeset counts for nothing.
        self.run("debugobsolete", "--date", "1000 0", self.node("public() and desc('renamed again')"))
        self.update(parent)
        pinned = self.commit("obsolete and bookmarked", pinned="1\n")
        self.run("bookmark", "--rev", pinned, "pin")
        self.run("debugobsolete", "--date", "1000 0", pinned)
        self.update(self.trunk)

    def bookmarks(self):
        self.run("bookmark", "--inactive", "--rev", self.trunk, "@")
        self.run("bookmark", "--inactive", "--rev", "desc('chain 50')", "feature/old", "záložka")
        self.run("bookmark", "--inactive", "--rev", "desc('more draft')", "diverged@elsewhere")
        self.run("bookmark", "--inactive", "--rev", f"desc('{SECRET} one')", "on-a-secret")
        self.update(self.trunk)


def add_heads(hg, path, count=HEADS):
    """Adds so many unrelated heads, none of which holds a file."""
    heads = Path(f"{path}-heads")
    hg.run("init", heads)
    hg.run("debugbuilddag", "-R", heads, "+1:root" + "<root+1" * count)
    hg.configured(SETTINGS).run("pull", "--quiet", "--force", "-R", path, heads)


def noise(seed, length):
    """Bytes half of which do not compress."""
    random = Random(seed)
    return b"".join(random.randbytes(32) + b"=" * 32 for _ in range(length // 64 + 1))[:length]
