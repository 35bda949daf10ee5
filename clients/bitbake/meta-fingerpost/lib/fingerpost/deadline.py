"""Doing something for a limited time.

SPDX-License-Identifier: MIT OR Apache-2.0
"""

import queue
import socket
import threading
import time

# How much longer we listen to what runs: when its own waits end, it knows best why.
REASON_SECONDS = 0.05


class Absent(Exception):
    """Says why a server counts as absent."""


class Unchecked(Exception):
    """Says why it cannot be told whether a server is absent."""


class Deadline:
    """A point in time by which everything has to be done."""

    def __init__(self, seconds):
        self._end = time.monotonic() + seconds

    def left(self):
        """Returns the seconds that are left; raises `Absent` when there are none."""
        seconds = self._end - time.monotonic()
        if seconds <= 0:
            raise Absent("no answer in time")
        return seconds

    def run(self, function, *arguments):
        """Returns what `function` returns, or raises what it raises; raises `Absent` when it takes too long.

        Name resolution has no time limit, and neither has a file name on a network file system that is away. So the
        function runs in a thread, which is left behind when it takes too long: it ends by itself, and does not keep
        the process.
        """
        outcomes = queue.Queue()

        def work():
            try:
                outcomes.put((function(*arguments), None))
            except Exception as error:
                outcomes.put((None, error))

        threading.Thread(target=work, name="fingerpost", daemon=True).start()
        try:
            value, error = outcomes.get(timeout=self.left() + REASON_SECONDS)
        except queue.Empty:
            raise Absent("no answer in time") from None
        if error is not None:
            raise error
        return value


def receive(connection, deadline):
    """What comes next, at least a byte."""
    connection.settimeout(deadline.left())
    try:
        some = connection.recv(4096)
    except socket.timeout:
        raise Absent("it accepts connections and does not answer") from None
    if not some:
        raise Absent("it closed the connection")
    return some
