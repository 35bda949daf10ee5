"""The torture repository in every form that Mercurial can store it in."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from hg import NEW, OLD, Hg
from torture import HIDDEN, SECRET, SETTINGS, Torture, add_heads

# For builds without Rust, which the packages are.
SLOW_PATHS = {
    "storage.revlog.persistent-nodemap.slow-path": "allow",
    "storage.dirstate-v2.slow-path": "allow",
}
# What Mercurial wants to read before it makes a store in an unfinished format.
UNSTABLE = "enable-unstable-format-and-corrupt-my-data"
EVERYTHING = {
    "experimental.evolution.bundle-obsmarker": "yes",
    "experimental.bundle-phases": "yes",
}


@dataclass(frozen=True)
class Variant:
    """How one form is made: by which release, with which settings at its creation.

    `heads` adds thousands of heads, which also makes the changelog too long to stay inline. `requires` are
    requirements that have to come out, so that a variant cannot silently become the default one.
    """

    name: str
    version: str = OLD
    settings: dict = field(default_factory=dict)
    heads: bool = False
    requires: tuple = ()
    lacks: tuple = ()


def formatted(name, requires=(), lacks=(), version=OLD, **settings):
    named = {f"format.{key.replace('_', '-')}": value for key, value in settings.items()}
    return Variant(name, version, named, requires=tuple(requires), lacks=tuple(lacks))


SERVED = [
    Variant("default", heads=True, requires=("generaldelta", "dotencode", "revlog-compression-zstd")),
    Variant("inline"),
    Variant("new", NEW, heads=True, requires=("share-safe",)),
    Variant("new-inline", NEW, requires=("share-safe",)),
    formatted("no-dotencode", lacks=["dotencode"], dotencode="no"),
    formatted("no-fncache", lacks=["fncache"], usefncache="no"),
    formatted("no-generaldelta", lacks=["generaldelta"], usegeneraldelta="no"),
    formatted("no-sparserevlog", lacks=["sparserevlog"], sparse_revlog="no"),
    formatted("zlib", lacks=["revlog-compression-zstd"], revlog_compression="zlib"),
    formatted("share-safe", ["share-safe"], use_share_safe="yes"),
    formatted("nodemap", ["persistent-nodemap"], use_persistent_nodemap="yes"),
    formatted("nodemap-new", ["persistent-nodemap"], version=NEW, use_persistent_nodemap="yes"),
    formatted("bookmarks-in-store", ["bookmarksinstore"], bookmarks_in_store="yes"),
    formatted("dirstate-v2", ["dirstate-v2"], use_dirstate_v2="yes"),
]
# Forms that are not revlog version 1 as documented, or not complete.
REFUSED = [
    formatted("compression-none", ["exp-compression-none"], revlog_compression="none"),
    formatted("changelog-v2", ["exp-changelog-v2"], exp_use_changelog_v2=UNSTABLE),
    formatted(
        "copies-in-changesets",
        ["exp-copies-sidedata-changeset", "exp-changelog-v2"],
        exp_use_copies_side_data_changeset="yes",
    ),
    Variant("revlog-v2", settings={"experimental.revlogv2": UNSTABLE}, requires=("exp-revlogv2.2",)),
]
VARIANTS = {variant.name: variant for variant in (*SERVED, *REFUSED)}


class Fixtures:
    """Makes each repository once. The torture repository itself is `natural`: with its working directory, undo files,
    caches and local tags; `bundles` hold all of it, secret and hidden changesets too."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self.old = Hg(OLD, settings=SETTINGS | SLOW_PATHS | EVERYTHING)

    def natural(self):
        path = self.directory / "natural"
        self.old.run("init", path)
        Torture(self.old, path).build()
        publish(path, "no")
        return path

    def bundle(self, natural, heads):
        """All changesets of the repository, without or with thousands of heads."""
        source, bundle = natural, self.directory / ("heads.hg" if heads else "lean.hg")
        if heads:
            source = self.directory / "natural-heads"
            shutil.copytree(natural, source, symlinks=True)
            add_heads(self.old, source)
        command = ("bundle", "--quiet", "--hidden", "--base", "null", "--rev", "all()", "--type", "none-v2")
        self.old.run(*command, "-R", source, bundle)
        return bundle

    def make(self, variant, bundle, natural, path=None):
        """A repository in the form of a variant."""
        path = path or self.directory / variant.name
        hg = Hg(variant.version, settings=SETTINGS | SLOW_PATHS | EVERYTHING | variant.settings)
        hg.run("init", path)
        hg.run("unbundle", "--quiet", "-R", path, bundle)
        copy_bookmarks(natural, path)
        publish(path, "no")
        found = requirements(path)
        if not (set(variant.requires) <= found and not set(variant.lacks) & found):
            raise AssertionError(f"{variant.name} has the requirements {sorted(found)}")
        return path


def copy_bookmarks(source, path):
    in_store = "bookmarksinstore" in requirements(path)
    shutil.copyfile(source / ".hg" / "bookmarks", path / ".hg" / ("store/bookmarks" if in_store else "bookmarks"))


def publish(path, value):
    """Says in the repository's own settings whether it is a publishing one."""
    (path / ".hg" / "hgrc").write_text(f"[phases]\npublish = {value}\n")


def requirements(path):
    """What a repository requires, of a reader of its store and of its working directory."""
    files = (path / ".hg" / "requires", path / ".hg" / "store" / "requires")
    return {line for file in files if file.exists() for line in file.read_text().split()}


def forbidden():
    """What may never leave a server."""
    return [SECRET.encode(), HIDDEN.encode()]
