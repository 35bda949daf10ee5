"""What a client asks for, step by step, to clone or to pull.

A plan is made once against a server by looking at its answers, in identity encoding; then it is sent as often as wanted.
"""

from . import cbor
from .wire import Connection, Request

NULL = bytes(20)
HANDSHAKE = Request("handshake", ())
# What a client takes when the server recommends nothing.
BATCHES = {b"manifestdata": 10_000, b"filesdata": 50_000}
CHANGESET_FIELDS = {b"bookmarks", b"parents", b"phase", b"revision"}
FIELDS = {b"parents", b"revision"}


def clone(connection: Connection, prefix: str) -> list[Request]:
    """The requests of a full clone."""

    def objects(request: Request) -> dict:
        return connection.ask(request.message(prefix, "identity")).objects()

    sizes = batch_sizes(connection, prefix)
    discovery = Request("heads and known", (("heads", {}), ("known", {b"nodes": []})))
    heads = sorted(objects(discovery)[1][0])
    changesets = Request("changesetdata", (("changesetdata", changesets_of([], heads)),))
    nodes, manifests = changesets_in(objects(changesets)[1])
    requests = [HANDSHAKE, discovery, changesets]
    for batch in batches(manifests, sizes[b"manifestdata"]):
        arguments = {b"nodes": batch, b"tree": b"", b"haveparents": True, b"fields": FIELDS}
        requests.append(Request("manifestdata", (("manifestdata", arguments),)))
    for batch in batches(nodes, sizes[b"filesdata"]):
        revisions = [{b"type": b"changesetexplicit", b"nodes": batch}]
        arguments = {b"revisions": revisions, b"haveparents": True, b"fields": FIELDS}
        requests.append(Request("filesdata", (("filesdata", arguments),)))
    return requests


def no_op_pull(connection: Connection, prefix: str) -> list[Request]:
    """The requests of a pull by a client that has everything: it tells the heads, and asks for changesets all the same."""
    ask = Request("heads", (("heads", {}),)).message(prefix, "identity")
    heads = sorted(connection.ask(ask).objects()[1][0])
    discovery = Request("heads and known", (("heads", {}), ("known", {b"nodes": heads})))
    return [HANDSHAKE, discovery, Request("changesetdata", (("changesetdata", changesets_of(heads, heads)),))]


def changesets_of(roots: list[bytes], heads: list[bytes]) -> dict:
    revisions = [{b"type": b"changesetdagrange", b"roots": roots, b"heads": heads}]
    return {b"revisions": revisions, b"fields": CHANGESET_FIELDS}


def changesets_in(objects: list) -> tuple[list[bytes], list[bytes]]:
    """The nodes of changesets and of their manifests, each once."""
    nodes, manifests = [], {}
    records = iter(objects[1:])
    for record in records:
        if b"fieldsfollowing" in record:
            nodes.append(record[b"node"])
            manifests[bytes.fromhex(next(records)[:40].decode())] = None
    return nodes, [manifest for manifest in manifests if manifest != NULL]


def batch_sizes(connection: Connection, prefix: str) -> dict:
    (descriptor,) = cbor.Decoder(connection.ask(HANDSHAKE.message(prefix)).body)
    commands = descriptor[b"apis"][b"exp-http-v2-0003"][b"commands"]
    return {name: commands[name].get(b"recommendedbatchsize", size) for name, size in BATCHES.items()}


def batches(values: list, size: int):
    for start in range(0, len(values), size):
        yield values[start : start + size]
