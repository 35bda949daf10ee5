"""A repository of very many changesets, written directly: `hg` would take minutes."""

import hashlib
import struct
from pathlib import Path

NULL_MANIFEST = b"0" * 40
REQUIREMENTS = "dotencode\nfncache\ngeneraldelta\nrevlogv1\nsparserevlog\nstore\n"
# Version 1, not inline, in the first four bytes of the index.
HEADER = struct.pack(">I", 1)


def repository(path: Path, count: int) -> None:
    """So many changesets in a row, without files."""
    store = path / ".hg" / "store"
    store.mkdir(parents=True)
    (path / ".hg" / "requires").write_text(REQUIREMENTS)
    with (store / "00changelog.i").open("wb") as index, (store / "00changelog.d").open("wb") as data:
        parent, offset = bytes(20), 0
        for revision in range(count):
            text = NULL_MANIFEST + b"\nTester\n%d 0\n\nchangeset %d" % (1_500_000_000 + revision, revision)
            node = hashlib.sha1(bytes(20) + parent + text).digest()
            entry = struct.pack(
                ">Qiiiiii20s12x", offset << 16, len(text) + 1, len(text), revision, revision, revision - 1, -1, node
            )
            index.write(HEADER + entry[4:] if revision == 0 else entry)
            # The marker of a chunk that is stored as it is.
            data.write(b"u" + text)
            parent, offset = node, offset + len(text) + 1
