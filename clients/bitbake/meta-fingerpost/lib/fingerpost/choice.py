"""Which hash equivalence server a build uses.

The configured one, if it answers; else BitBake's own, which it starts for BB_HASHSERVE = "auto" after the event
ConfigParsed. What is decided is a dictionary of variables to set; it is empty when everything stays as it is.

SPDX-License-Identifier: MIT OR Apache-2.0
"""

import netrc
import re
import time

import bb
import bb.asyncrpc
import bb.siggen
import bb.utils

from . import agent, memory, mounts, probe
from .deadline import Absent, Deadline, Unchecked

# Together less than a second: the server has the first part to answer, the rest is for a
# file system that has to say what it is.
SERVER_SECONDS = 0.75
ALL_SECONDS = 0.9
# BitBake parses its configuration again when it changes while that is read, and some
# releases do so at the start of a build. It is one build, and needs one answer.
SAME_PARSE_SECONDS = 10
# What belongs to the server that is given up. A login would end the build, because the
# local server knows no users.
CLEARED = ("BB_HASHSERVE_UPSTREAM", "BB_HASHSERVE_USERNAME", "BB_HASHSERVE_PASSWORD")


def apply(d):
    """Decides, or takes what was decided in this parse, and sets it in the data store of one multiconfig."""
    if d.getVar("BB_WORKERCONTEXT"):
        return
    if is_main(d):
        remembered = memory.of("choice")
        question = _question(d)
        fresh = time.monotonic() - remembered.get("at", -SAME_PARSE_SECONDS) < SAME_PARSE_SECONDS
        if not fresh or remembered.get("question") != question:
            # What an earlier parse decided must not reach the others if this one fails.
            remembered.clear()
            remembered.update(question=question, changes=decide(d), at=time.monotonic())
    for variable, value in memory.of("choice").get("changes", {}).items():
        d.setVar(variable, value)


def is_main(d):
    """Whether this is the first data store of a parse, which BitBake decides by; kirkstone calls it "default"."""
    return d.getVar("BB_CURRENT_MC") in (None, "", "default")


def _question(d):
    names = ("BB_HASHSERVE", "BB_SIGNATURE_HANDLER", "BB_HASHSERVE_DB_DIR", "FINGERPOST_AGENT", "FINGERPOST_SERVER")
    return [d.getVar(name) for name in names]


def decide(d):
    """Returns the variables to set."""
    address = d.getVar("BB_HASHSERVE")
    if not address or address == "auto" or not handler_asks_server(d):
        return {}
    everything = Deadline(ALL_SECONDS)
    deadline = Deadline(SERVER_SECONDS)
    try:
        if bb.utils.to_boolean(d.getVar("FINGERPOST_AGENT")):
            configured, address = address, "the agent for %s" % d.getVar("FINGERPOST_SERVER")
            socket = agent.start(d, deadline)
            tell_lost_login(d, configured, socket, everything)
            return {"BB_HASHSERVE": socket}
        require_client(address)
        probe.ping(address, deadline, client_environment(d))
        return {}
    except Unchecked as reason:
        text = "fingerpost: whether the hash equivalence server %s answers is not known: %s"
        bb.note(text % (_without_password(address), reason))
        return {}
    except Absent as reason:
        return _local(d, _without_password(address), reason, everything)


def tell_lost_login(d, configured, socket, deadline):
    """Warns of a login in .netrc for a hash server in whose place the agent is: BitBake looks for the socket there."""
    if d.getVar("BB_HASHSERVE_USERNAME") and d.getVar("BB_HASHSERVE_PASSWORD"):
        return
    try:
        logins = deadline.run(netrc.netrc).hosts
    except Exception:
        # BitBake goes on without as well.
        return
    if configured in logins and socket not in logins and "default" not in logins:
        text = (
            "fingerpost: the login for %s in .netrc is not used, since this build asks its agent. "
            "It also needs an entry with the same login and \"machine %s\"."
        )
        bb.warn(text % (_without_password(configured), socket))


def _without_password(address):
    # A password that holds a slash makes an address that nobody understands, and is not to be shown either.
    return re.sub(r"//.*@", "//", address)


def _local(d, address, reason, deadline):
    changes = dict.fromkeys(CLEARED, "")
    changes["BB_HASHSERVE"] = "auto"
    text = (
        "fingerpost: the hash equivalence server does not answer (%s: %s). This build goes on with a local one, "
        "and may build again what others have built already." % (address, reason)
    )
    directory = d.getVar("BB_HASHSERVE_DB_DIR")
    if directory and refuses_directory(directory, deadline):
        changes["BB_HASHSERVE_DB_DIR"] = ""
        text += " The local one does not use BB_HASHSERVE_DB_DIR, since %s is on NFS." % directory
    bb.warn(text)
    return changes


def refuses_directory(directory, deadline):
    """Whether BitBake would end the build because of this directory for the database.

    Where that cannot be found out as BitBake does, within the deadline, the kernel's list of mounts has to do: a host
    that is busy is no reason to lose what is in the directory. Releases that cannot ask do not know the variable.
    """
    on_nfs = getattr(bb.utils, "is_path_on_nfs", None)
    if on_nfs is None:
        return False
    try:
        return deadline.run(on_nfs, directory)
    except Exception:
        return mounts.is_on_nfs(directory)


def handler_asks_server(d):
    """Whether the signature handler of this build asks a hash server, as OE-Core's OEEquivHash does."""
    name = d.getVar("BB_SIGNATURE_HANDLER")
    known = [bb.siggen.SignatureGeneratorUniHashMixIn]
    for handler in known:
        known.extend(handler.__subclasses__())
    return any(getattr(handler, "name", "") == name for handler in known if name)


def require_client(address):
    """Raises `Absent` when this BitBake has no client for such an address: it would end the build, or each look-up."""
    if not address.startswith(("ws://", "wss://")):
        return
    if not hasattr(bb.asyncrpc.AsyncClient, "connect_websocket"):
        raise Absent("this release of BitBake does not speak WebSocket")
    oldest = getattr(bb.asyncrpc.client, "WEBSOCKETS_MIN_VERSION", (9, 1))
    try:
        import websockets

        version = tuple(int(part) for part in websockets.__version__.split(".")[: len(oldest)])
    except (ImportError, ValueError):
        raise Absent("Python's package websockets is not installed") from None
    if version < oldest:
        raise Absent("Python's package websockets is older than %s" % ".".join(map(str, oldest)))


def client_environment(d):
    """The variables that BitBake sets while its client connects."""
    original = d.getVar("BB_ORIGENV", False)
    environment = {}
    for name in getattr(bb.siggen, "HASHSERV_ENVVARS", ()):
        value = d.getVar(name) or (original.getVar(name) if original else None)
        if value:
            environment[name] = value
    return environment
