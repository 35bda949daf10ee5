"""Reads snapshots of a Fingerpost server and changes since them, with the standard library only.

docs/snapshots.md is the format. This shares no code with the server, so that each checks the other. It needs Python 3.11
and fingerpost_signatures beside it.

    python3 -m fingerpost_snapshot verify DIR --publishers publishers.toml
    python3 -m fingerpost_snapshot lookup DIR --publishers publishers.toml --method METHOD --taskhash T

The first form reads every byte. The second prints the unihash. Without --publishers nobody vouches for what is read.
Exit status 0: fine; 1: no such row, or no trusted publisher signed it; 64: wrong usage; 65: a file cannot be read.
"""

import argparse
import bisect
import hashlib
import json
import re
import sys
from pathlib import Path

import fingerpost_signatures as signatures

MANIFEST_BYTES_MAX = 8 << 20
METHODS_MAX = 256
SHARDS_MAX = 16_384
NAME_BYTES_MAX = 255
NUMBER_MAX = 2**53 - 1
SHARD_BYTES_MAX = 8_500_000
SHARD_ROWS_MAX = 1 << 17
SIDE_BYTES_MAX = 21_600_000
BLOCK_ROWS = 64
LINE_BYTES_MAX = 4096

DOCUMENT_DOMAIN = b"fingerpost-signed-document-v1\0"
MANIFEST_KIND = b"snapshot-manifest-v1"


class BadSnapshot(Exception):
    """A file of a snapshot, or a stream of changes, is not what it should be."""


class Untrusted(Exception):
    """No trusted publisher signed the manifest. The text is the reason."""


def ensure(holds, what):
    if not holds:
        raise BadSnapshot(what)


def is_number(value, least, most):
    return type(value) is int and least <= value <= most


def is_name(value):
    return type(value) is str and 1 <= len(value.encode("utf-8", "surrogatepass")) <= NAME_BYTES_MAX


def is_hex(value):
    return type(value) is str and re.fullmatch("[0-9a-f]{64}", value, re.ASCII) is not None


def canonical_json(value):
    """The one spelling of a value: no white space, the order of the fields kept, a line feed."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8") + b"\n"


def parse_json(raw):
    """The value of bytes in their one spelling."""
    try:
        value = json.loads(raw)
        ensure(canonical_json(value) == raw, "not in canonical form")
    except (ValueError, RecursionError):
        raise BadSnapshot("not JSON") from None
    return value


def canonical_document(kind, body, key_id, seconds):
    """The bytes that are signed of a document."""
    out = bytearray(DOCUMENT_DOMAIN)
    for part in (kind, body, key_id.encode("ascii")):
        out += len(part).to_bytes(8, "big") + part
    return bytes(out + seconds.to_bytes(8, "big"))


def verify_manifest(raw, signature, publishers):
    """"verified", or why the signature of the manifest's bytes is not believed."""
    return publishers.verify_message(
        lambda key_id, seconds: canonical_document(MANIFEST_KIND, raw, key_id, seconds), signature
    )


def parse_manifest(raw):
    """The manifest of these bytes, as JSON tells it, with everything in its range."""
    ensure(len(raw) <= MANIFEST_BYTES_MAX, "the manifest is too long")
    manifest = parse_json(raw)
    fields = ["format", "namespace", "epoch", "position", "created", "left_out", "methods"]
    ensure(type(manifest) is dict and list(manifest) == fields, "not a manifest")
    ensure(manifest["format"] == "fingerpost-snapshot-v1", "another format")
    ensure(is_name(manifest["namespace"]), "namespace")
    ensure(all(is_number(manifest[field], 0, NUMBER_MAX) for field in ("epoch", "position", "left_out")), "a number")
    ensure(is_number(manifest["created"], 0, signatures.SECONDS_MAX), "created")
    methods = manifest["methods"]
    ensure(type(methods) is list and len(methods) <= METHODS_MAX, "methods")
    for method in methods:
        check_method(method)
    names = [method["name"].encode("utf-8") for method in methods]
    ensure(all(a < b for a, b in zip(names, names[1:])), "the order of methods")
    ensure(sum(len(method["shards"]) for method in methods) <= SHARDS_MAX, "too many shards")
    return manifest


def check_method(method):
    ensure(type(method) is dict and list(method) == ["name", "rows", "shards"], "a method")
    shards = method["shards"]
    ensure(is_name(method["name"]) and type(shards) is list and 1 <= len(shards) <= SHARDS_MAX, "a method")
    for shard in shards:
        fields = ["sha256", "bytes", "rows", "first"]
        ensure(type(shard) is dict and list(shard) in (fields, [*fields, "signatures"]), "a shard")
        ensure(is_hex(shard["sha256"]) and is_hex(shard["first"]), "a shard")
        ensure(is_number(shard["bytes"], 0, SHARD_BYTES_MAX) and is_number(shard["rows"], 1, SHARD_ROWS_MAX), "a shard")
        if "signatures" in shard:
            side = shard["signatures"]
            ensure(type(side) is dict and list(side) == ["sha256", "bytes", "rows"], "a side shard")
            ensure(is_hex(side["sha256"]) and is_number(side["bytes"], 0, SIDE_BYTES_MAX), "a side shard")
            ensure(is_number(side["rows"], 1, shard["rows"]), "a side shard")
    firsts = [shard["first"] for shard in shards]
    ensure(all(a < b for a, b in zip(firsts, firsts[1:])), "the order of shards")
    ensure(is_number(method["rows"], 1, NUMBER_MAX), "the rows of a method")
    ensure(method["rows"] == sum(shard["rows"] for shard in shards), "the rows of a method")


class Shard:
    """A shard in memory. `raw` are bytes of the right digest."""

    def __init__(self, raw, rows, first):
        blocks = -(-rows // BLOCK_ROWS)
        start = 12 + 36 * blocks
        ensure(raw[:12] == b"fpshard1" + rows.to_bytes(4, "big") and len(raw) >= start, "the head of a shard")
        entries = [raw[at : at + 36] for at in range(12, start, 36)]
        self.raw, self.rows = raw, rows
        self.firsts = [entry[:32] for entry in entries]
        self.ends = [start] + [int.from_bytes(entry[32:], "big") for entry in entries]
        ensure(all(a < b for a, b in zip(self.firsts, self.firsts[1:])), "the order of blocks")
        ensure(all(a < b for a, b in zip(self.ends, self.ends[1:])), "the ends of blocks")
        ensure(self.ends[-1] == len(raw) and self.firsts[0] == first, "a shard")

    def block(self, number):
        """The (taskhash, unihash) of a block."""
        block = self.raw[self.ends[number] : self.ends[number + 1]]
        count = min(BLOCK_ROWS, self.rows - number * BLOCK_ROWS)
        first = self.firsts[number]
        ensure(len(block) >= 9 and block[0] <= 31, "a block")
        shared, equal, rest = block[0], int.from_bytes(block[1:9], "big"), 32 - block[0]
        behind = 9 + (count - 1) * rest
        ensure(equal >> count == 0, "a block")
        ensure(len(block) == behind + 32 * (count - equal.bit_count()), "the length of a block")
        taskhashes = [first] + [first[:shared] + block[at : at + rest] for at in range(9, behind, rest)]
        rows = []
        for row, taskhash in enumerate(taskhashes):
            unihash = taskhash
            if not equal >> row & 1:
                unihash = block[behind : behind + 32]
                behind += 32
                ensure(unihash != taskhash, "an equal unihash that is written")
            rows.append((taskhash, unihash))
        ensure(all(a < b for a, b in zip(taskhashes, taskhashes[1:])), "the order of rows")
        common = next((at for at in range(31) if first[at] != taskhashes[-1][at]), 31)
        ensure(common == shared, "what a block shares")
        return rows

    def find(self, taskhash):
        """(number of the row, unihash), or None."""
        number = bisect.bisect_right(self.firsts, taskhash) - 1
        if number < 0:
            return None
        for row, (other, unihash) in enumerate(self.block(number)):
            if other == taskhash:
                return number * BLOCK_ROWS + row, unihash
        return None


def read_side(raw, count, rows):
    """Number of the row -> (outhash, signature) of all bytes of a side shard."""
    start = 12 + 8 * count
    ensure(raw[:12] == b"fpsigns1" + count.to_bytes(4, "big") and len(raw) >= start, "the head of a side shard")
    found, last = {}, -1
    for at in range(12, 12 + 8 * count, 8):
        row, end = int.from_bytes(raw[at : at + 4], "big"), int.from_bytes(raw[at + 4 : at + 8], "big")
        ensure(last < row < rows and 33 <= end - start <= 32 + signatures.SIGNATURE_BYTES_MAX, "a signature")
        try:
            found[row] = raw[start : start + 32], raw[start + 32 : end].decode("utf-8")
        except UnicodeDecodeError:
            raise BadSnapshot("a signature is no text") from None
        start, last = end, row
    ensure(start == len(raw), "the length of a side shard")
    return found


class Snapshot:
    """A snapshot in a directory. With `publishers`, a KeyRing, one of them must have signed the manifest.

    The caller must compare namespace, epoch and position in `manifest` with what it wants.
    """

    def __init__(self, directory, publishers=None):
        self.directory = Path(directory)
        raw = self.read("manifest.json", MANIFEST_BYTES_MAX)
        if publishers is not None:
            signature = self.read("manifest.sig", signatures.SIGNATURE_BYTES_MAX + 1)
            text = signature[:-1].decode("ascii", "replace") if signature.endswith(b"\n") else ""
            verdict = verify_manifest(raw, text, publishers)
            if verdict != "verified":
                raise Untrusted(verdict)
        self.manifest = parse_manifest(raw)

    def read(self, name, most):
        with open(self.directory / name, "rb") as file:
            return file.read(most + 1)

    def named(self, entry):
        """The bytes of a shard or side shard."""
        raw = self.read(Path("shards") / entry["sha256"], entry["bytes"])
        ensure(len(raw) == entry["bytes"], f"{entry['sha256']}: wrong length")
        ensure(hashlib.sha256(raw).hexdigest() == entry["sha256"], f"{entry['sha256']}: wrong digest")
        return raw

    def shard(self, entry):
        return Shard(self.named(entry), entry["rows"], bytes.fromhex(entry["first"]))

    def find(self, method, taskhash):
        """(entry of the shard, number of the row, unihash), or None."""
        for known in self.manifest["methods"]:
            if known["name"] == method:
                firsts = [shard["first"] for shard in known["shards"]]
                number = bisect.bisect_right(firsts, taskhash.hex()) - 1
                if number < 0:
                    return None
                entry = known["shards"][number]
                found = self.shard(entry).find(taskhash)
                return found and (entry, *found)
        return None

    def lookup(self, method, taskhash):
        """The unihash of a taskhash, 32 bytes both, or None."""
        found = self.find(method, taskhash)
        return found and found[2]

    def signature(self, method, taskhash):
        """(outhash, signature) of a row, or None."""
        found = self.find(method, taskhash)
        if not found or "signatures" not in found[0]:
            return None
        entry, row, _ = found
        return read_side(self.named(entry["signatures"]), entry["signatures"]["rows"], entry["rows"]).get(row)

    def rows(self):
        """(method, taskhash, unihash, (outhash, signature) or None) of every row. Reads and checks every byte."""
        for method in self.manifest["methods"]:
            behind = [bytes.fromhex(shard["first"]) for shard in method["shards"][1:]] + [None]
            for entry, behind in zip(method["shards"], behind):
                shard, side = self.shard(entry), {}
                if "signatures" in entry:
                    named = self.named(entry["signatures"])
                    side = read_side(named, entry["signatures"]["rows"], entry["rows"])
                blocks = [shard.block(number) for number in range(len(shard.firsts))]
                rows = [row for block in blocks for row in block]
                ensure(all(a[0] < b[0] for a, b in zip(rows, rows[1:])), "the order of rows")
                ensure(behind is None or rows[-1][0] < behind, "the range of a shard")
                for number, (taskhash, unihash) in enumerate(rows):
                    yield method["name"], taskhash, unihash, side.get(number)


def read_changes(lines):
    """The lines of a stream of changes (bytes with their line feeds) as JSON tells them, the first and the last one too.

    Raises BadSnapshot where the stream is cut or wrong; what came before holds.
    """
    position = epoch = None
    for line in lines:
        ensure(len(line) <= LINE_BYTES_MAX and line.endswith(b"\n"), "a line is cut, or too long")
        value = parse_json(line)
        ensure(type(value) is dict, "not a line of changes")
        fields = list(value)
        if position is None:
            ensure(fields == ["format", "namespace", "epoch", "position"], "not the first line of changes")
            ensure(value["format"] == "fingerpost-changes-v1" and is_name(value["namespace"]), "not the first line")
            ensure(is_number(value["position"], 0, NUMBER_MAX) and is_number(value["epoch"], 0, NUMBER_MAX), "a number")
            position, epoch = value["position"], value["epoch"]
        elif fields == ["end"]:
            ensure(is_number(value["end"], position, NUMBER_MAX), "the last position")
            yield value
            return
        else:
            ensure(is_number(value.get("position"), position + 1, NUMBER_MAX), "the order of changes")
            position = value["position"]
            if fields == ["position", "epoch"]:
                ensure(is_number(value["epoch"], epoch + 1, NUMBER_MAX), "the epoch")
                epoch = value["epoch"]
            else:
                ensure(fields == ["position", "method", "taskhash", "unihash"], "not a change")
                ensure(is_name(value["method"]) and is_hex(value["taskhash"]), "not a change")
                ensure(value["unihash"] is None or is_hex(value["unihash"]), "not a change")
        yield value
    raise BadSnapshot("the changes are cut off")


def arguments(words):
    parser = argparse.ArgumentParser(
        prog="python3 -m fingerpost_snapshot",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        exit_on_error=False,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    verify = commands.add_parser("verify", help="read every byte")
    lookup = commands.add_parser("lookup", help="look one taskhash up")
    for command in (verify, lookup):
        command.add_argument("directory")
        command.add_argument("--publishers", help="the key ring of the publishers that are trusted")
    lookup.add_argument("--method", required=True)
    lookup.add_argument("--taskhash", required=True)
    options = parser.parse_args(words)
    if options.command == "lookup" and not is_hex(options.taskhash):
        parser.error("--taskhash is not 64 lower-case hex digits")
    return options


def run(options):
    publishers = signatures.KeyRing.load(options.publishers) if options.publishers else None
    snapshot = Snapshot(options.directory, publishers)
    if options.command == "verify":
        rows = sum(1 for _ in snapshot.rows())
        manifest = snapshot.manifest
        print(f"{manifest['namespace']!r} epoch {manifest['epoch']} position {manifest['position']}: {rows} rows")
        return 0
    unihash = snapshot.lookup(options.method, bytes.fromhex(options.taskhash))
    if unihash is None:
        return 1
    print(unihash.hex())
    return 0


def main(words=None):
    """The command line; gives the exit status."""
    try:
        options = arguments(words)
    except argparse.ArgumentError as error:
        print(error, file=sys.stderr)
        return 64
    except SystemExit as ended:
        return 64 if ended.code else 0
    try:
        return run(options)
    except Untrusted as reason:
        print(f"not signed by a trusted publisher: {reason}", file=sys.stderr)
        return 1
    except (BadSnapshot, signatures.BadRing, OSError) as error:
        print(f"cannot read the snapshot: {error}", file=sys.stderr)
        return 65


if __name__ == "__main__":
    sys.exit(main())
