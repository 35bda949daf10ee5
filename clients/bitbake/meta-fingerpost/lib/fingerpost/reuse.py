"""What a build reused, in one line.

SPDX-License-Identifier: MIT OR Apache-2.0
"""

import bb
import bb.parse

from . import agent, memory

UNIX = "unix://"


def begin():
    """A build begins."""
    memory.of("reuse").clear()


def count(kind):
    """A task ended well: "restored" from shared state, or "run"."""
    counts = memory.of("reuse")
    counts[kind] = counts.get(kind, 0) + 1


def tell(d):
    """Prints the line; nothing if no task was needed."""
    counts = memory.of("reuse")
    restored, run = counts.get("restored", 0), counts.get("run", 0)
    if restored + run == 0:
        return
    text = "fingerpost: %d tasks came from shared state, %d were run" % (restored, run)
    shared = with_other_unihash(getattr(bb.parse, "siggen", None))
    if shared:
        text += "; %d have the unihash of another taskhash" % shared
    bb.note(text + of_agent(d) + ".")


def with_other_unihash(siggen):
    """How many tasks are known by an equivalent one: what hash equivalence has brought."""
    taskhashes, unihashes = getattr(siggen, "taskhash", {}), getattr(siggen, "unihash", {})
    pairs = ((unihashes.get(tid), taskhash) for tid, taskhash in taskhashes.items())
    return sum(1 for unihash, taskhash in pairs if unihash and unihash != taskhash)


def of_agent(d):
    """What the agent adds, if this build asked one and it tells."""
    address = d.getVar("BB_HASHSERVE") or ""
    if not address.startswith(UNIX) or address == "%s%s/hashserve.sock" % (UNIX, d.getVar("TOPDIR")):
        return ""
    told = agent.status(d, address[len(UNIX) :])
    lookups, local = told.get("lookups"), told.get("answered_locally")
    if not isinstance(lookups, int) or not isinstance(local, int) or not lookups:
        return ""
    return "; the agent answered %d of %d look-ups itself" % (local, lookups)
