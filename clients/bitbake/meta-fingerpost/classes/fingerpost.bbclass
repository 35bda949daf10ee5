# Checks the hash equivalence server before a build depends on it, starts Fingerpost's
# agent if that is wanted, and says at the end what was reused. For local.conf:
#
#   INHERIT += "fingerpost"
#
# docs/bitbake.md of Fingerpost tells the rest.

# "1" starts an agent for this build and stops it at the end.
FINGERPOST_AGENT ??= ""
# What that agent asks: Fingerpost's URL, or any address that BB_HASHSERVE may have.
FINGERPOST_SERVER ??= "${BB_HASHSERVE}"
# Where it listens. BitBake's own sockets are in this directory too.
FINGERPOST_AGENT_SOCKET ??= "${TOPDIR}/fingerpost-agent.sock"
# More options for it: one that lives for one build has no time for a snapshot.
FINGERPOST_AGENT_OPTIONS ??= "--snapshots=false"
# The program; looked up in the PATH that bitbake was called with.
FINGERPOST_PROGRAM ??= "fingerpost"

# What is switched must not be part of the configuration's hash, or each switch would
# have every recipe parsed again. OE-Core ignores BB_HASHSERVE only.
BB_HASHCONFIG_IGNORE_VARS:append = " BB_HASHSERVE BB_HASHSERVE_UPSTREAM BB_HASHSERVE_DB_DIR \
    BB_HASHSERVE_USERNAME BB_HASHSERVE_PASSWORD FINGERPOST_AGENT FINGERPOST_SERVER \
    FINGERPOST_AGENT_SOCKET FINGERPOST_AGENT_OPTIONS FINGERPOST_PROGRAM"

addhandler fingerpost_eventhandler
fingerpost_eventhandler[eventmask] = "bb.event.ConfigParsed bb.event.BuildStarted bb.event.BuildCompleted \
    bb.runqueue.runQueueTaskCompleted bb.runqueue.sceneQueueTaskCompleted bb.cooker.CookerExit"
python fingerpost_eventhandler() {
    import sys
    # On kirkstone a handler within a handler sees the outer one's d.
    data = e.data
    lib = data.getVar("FINGERPOST_LIB")
    if lib not in sys.path:
        sys.path.append(lib)
    try:
        import fingerpost.events
    except ImportError as error:
        # An exception would end the build.
        if e.__class__.__name__ == "ConfigParsed":
            bb.warn("fingerpost: the hash equivalence server is not checked, since %s cannot be read: %s" % (lib, error))
        return
    fingerpost.events.handle(e, data)
}
