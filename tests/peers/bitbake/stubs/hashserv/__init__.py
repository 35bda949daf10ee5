"""Stands for BitBake's `hashserv`, which the package of BitBake's library lacks.

The server is the library's own, and knows the one command `ping`. What the cooker asked for stands in `STARTED`, so
that a test can see with which upstream the local server would run.
"""

import logging
import re

import bb.asyncrpc

UNIX = "unix://"
STARTED = []


def is_valid_unihash(unihash):
    return re.fullmatch("[0-9a-f]{64}", unihash) is not None


class Connection(bb.asyncrpc.AsyncServerConnection):
    def __init__(self, socket, logger):
        super().__init__(socket, "OEHASHEQUIV", logger)

    def validate_proto_version(self):
        return (1, 0) < self.proto_version <= (1, 1)


class Server(bb.asyncrpc.AsyncServer):
    def __init__(self, address):
        super().__init__(logging.getLogger("hashserv"))
        if address.startswith(UNIX):
            self.start_unix_server(address[len(UNIX) :])
        elif address.startswith("ws://"):
            self.start_websocket_server(address[len("ws://") :].rpartition(":")[0], 0)
        else:
            self.start_tcp_server(address.rpartition(":")[0], 0)

    def accept_client(self, socket):
        return Connection(socket, self.logger)


def create_server(address, database, *, upstream=None, **_):
    STARTED.append({"address": address, "database": database, "upstream": upstream})
    return Server(address)


def create_client(address, **_):
    raise ConnectionError(f"a test asked {address}")
