"""Asks a hash equivalence server whether it is there: connect, open the session, ping.

Addresses are those of BB_HASHSERVE. Whatever goes wrong is `Absent`.

SPDX-License-Identifier: MIT OR Apache-2.0
"""

import json
import os
import re
import socket
import time

from . import websocket
from .deadline import Absent, receive

GREETING = ("OEHASHEQUIV 1.1", "needs-headers: false", "")
PING = '{"ping": {}}'
# The longest line of the protocol; an answer to a ping has about 15 bytes.
LINE_BYTES_MAX = 65536
# Between two tries of a full backlog.
PAUSE_SECONDS = 0.01
# sun_path on Linux, with the byte that ends it.
UNIX_PATH_BYTES_MAX = 108


def ping(address, deadline, environment=None):
    """Returns when the server at `address` has answered a ping; raises `Absent` when it has not by the deadline,
    and `Unchecked` when that cannot be told.

    `environment` has the variables that BitBake gives its client: `SSL_CERT_FILE`, `HTTPS_PROXY` and the like.
    """
    try:
        deadline.run(_ping, address, deadline, environment or {})
    except OSError as error:
        raise Absent(error.strerror or str(error) or type(error).__name__) from error
    except ValueError as error:
        raise Absent(str(error)) from error


def _ping(address, deadline, environment):
    if address.startswith(("ws://", "wss://")):
        with websocket.connect(address, deadline, environment, connect_tcp) as channel:
            for message in (*GREETING, PING):
                channel.send(message)
            answer = channel.receive()
            channel.part()
    else:
        with _connect(address, deadline) as connection:
            connection.sendall("\n".join((*GREETING, PING, "")).encode())
            answer = _line(connection, deadline)
    _check(answer)


def _connect(address, deadline):
    if address.startswith("unix://"):
        return connect_unix(address[len("unix://") :], deadline)
    return connect_tcp(*host_and_port(address), deadline)


def host_and_port(address):
    """`HOST:PORT` or `[V6]:PORT`, as BitBake takes it: one colon exactly, or brackets."""
    match = re.fullmatch(r"(?:\[(?P<v6>[^\]]*)\]|(?P<host>[^:\[\]]+)):(?P<port>[0-9]+)", address)
    if match is None:
        raise Absent("not an address that BitBake understands")
    return match.group("v6") or match.group("host"), int(match.group("port"))


def connect_tcp(host, port, deadline):
    """Connects to the first address of `host` that accepts, in the resolver's order.

    An address that swallows packets uses up the time, and that is right: BitBake would wait for it too, for minutes.
    """
    failure = Absent("the name has no address")
    for family, kind, protocol, _, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(deadline.left())
            connection.connect(place)
            # What follows are small pieces, each of which would wait for the one before.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
        except OSError as error:
            connection.close()
            failure = error
        except Absent:
            connection.close()
            raise
    raise failure


def connect_unix(path, deadline):
    """Connects to a socket in the file system, tries again while its backlog is full.

    A plain connect would wait for a place in the backlog without any limit. With a time limit the kernel refuses at
    once, and a server that is only busy has made room a moment later.
    """
    directory = None
    try:
        name = path
        if len(os.fsencode(path)) >= UNIX_PATH_BYTES_MAX:
            directory = os.open(os.path.dirname(path) or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            name = "/proc/self/fd/%d/%s" % (directory, os.path.basename(path))
        while True:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.settimeout(deadline.left())
                connection.connect(name)
                return connection
            except BlockingIOError:
                connection.close()
                _pause(deadline)
            except Exception:
                connection.close()
                raise
    finally:
        if directory is not None:
            os.close(directory)


def _pause(deadline):
    if deadline.left() <= PAUSE_SECONDS:
        raise Absent("it has not accepted in time; its backlog is full")
    time.sleep(PAUSE_SECONDS)


def _line(connection, deadline):
    received = b""
    while b"\n" not in received:
        if len(received) > LINE_BYTES_MAX:
            raise Absent("its answer is not one of a hash equivalence server")
        received += receive(connection, deadline)
    return received.split(b"\n", 1)[0]


def _check(answer):
    """What the reference answers is `{"alive": true}`; a told error is no answer that a build could use."""
    try:
        alive = json.loads(answer)["alive"] is True
    except (ValueError, TypeError, KeyError):
        alive = False
    if not alive:
        raise Absent("its answer is not one of a hash equivalence server")
