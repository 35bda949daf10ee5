"""What the class calls for each event.

SPDX-License-Identifier: MIT OR Apache-2.0
"""

import bb

from . import agent, choice, reuse


def handle(event, d):
    """Handles an event. Never raises: an exception from a handler ends the build."""
    try:
        _handle(type(event).__name__, d)
    except Exception as error:
        name = type(event).__name__
        # Without the choice a build waits for a server that is away, which somebody has to know.
        say = bb.warn if name == "ConfigParsed" else bb.note
        say("fingerpost: nothing is done at %s: %s: %s" % (name, type(error).__name__, error))


def _handle(name, d):
    if name == "ConfigParsed":
        choice.apply(d)
    elif name == "runQueueTaskCompleted":
        reuse.count("run")
    elif name == "sceneQueueTaskCompleted":
        reuse.count("restored")
    elif name == "CookerExit":
        agent.stop()
    elif not choice.is_main(d):
        # The beginning and the end of a build are told once for each multiconfig.
        return
    elif name == "BuildStarted":
        reuse.begin()
    elif name == "BuildCompleted":
        reuse.tell(d)
