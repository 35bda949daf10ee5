"""Releases as trees: what is in an archive or below a directory."""

import os
import stat
import tarfile
from dataclasses import dataclass
from pathlib import Path

REGULAR, EXECUTABLE, LINK = "100644", "100755", "120000"
# Compiled files depend on the machine.
LEFT_OUT = (".pyc", ".so", ".pyd", ".exe")


@dataclass(frozen=True)
class Entry:
    """A file of a tree: its mode as git writes it, and its bytes; a link's are its target."""

    mode: str
    data: bytes


def read(path):
    """The tree of an archive or a directory, {path below its root: entry}."""
    tree = from_directory(path) if path.is_dir() else from_archive(path)
    if not tree:
        raise ValueError(f"{path} holds no files")
    return tree


def from_archive(path):
    """Reads a .tar.gz; the one directory at its root is taken off."""
    tree = {}
    with tarfile.open(path) as archive:
        for member in archive:
            name = member.name.partition("/")[2]
            if not wanted(name):
                continue
            if member.issym():
                tree[name] = Entry(LINK, member.linkname.encode())
            elif member.isreg():
                mode = EXECUTABLE if member.mode & stat.S_IXUSR else REGULAR
                tree[name] = Entry(mode, archive.extractfile(member).read())
    return tree


def from_directory(path):
    tree = {}
    for directory, _, names in os.walk(path):
        for name in names:
            file = Path(directory, name)
            below = str(file.relative_to(path))
            if wanted(below) and not file.is_symlink():
                mode = EXECUTABLE if os.access(file, os.X_OK) else REGULAR
                tree[below] = Entry(mode, file.read_bytes())
    return tree


def wanted(name):
    """Whether both git and Mercurial can keep a file of this name."""
    parts = name.split("/")
    taken = any(part in ("", ".", "..") or part.lower() in (".git", ".hg") for part in parts)
    return not (taken or name.endswith(LEFT_OUT) or "\n" in name or '"' in name)
