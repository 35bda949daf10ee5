"""Which file system a path is on, by what the kernel lists: no file system is asked, so that none can keep us waiting.

SPDX-License-Identifier: MIT OR Apache-2.0
"""

import os
import re

TABLE = "/proc/self/mountinfo"


def is_on_nfs(path, table=TABLE):
    """Whether a path is below a mount of NFS. One that leads elsewhere by a link is not looked through."""
    try:
        with open(table, encoding="utf-8", errors="surrogateescape") as lines:
            mounts = [mount for mount in map(_mount, lines) if mount]
    except OSError:
        return False
    path = os.path.abspath(path)
    above = [(len(point), kind) for point, kind in mounts if _is_below(path, point)]
    # Of two on one place the later one is seen.
    _, kind = max(reversed(above), key=lambda mount: mount[0], default=(0, ""))
    return kind.startswith("nfs")


def _mount(line):
    """Where a line of the table is mounted, and what; proc(5)."""
    before, dash, after = line.partition(" - ")
    fields = before.split(" ")
    if not dash or len(fields) < 5:
        return None
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal.group(1), 8)), fields[4]), after.split(" ")[0]


def _is_below(path, point):
    return path == point or path.startswith(point.rstrip("/") + "/")
