"""Tests of fingerpost_snapshot against the test vectors: python3 -m unittest, in this directory."""

import contextlib
import io
import json
import shutil
import tempfile
import unittest
from pathlib import Path

import fingerpost_signatures as signatures
import fingerpost_snapshot as snapshots

VECTORS = Path(__file__).resolve().parents[2] / "tests" / "vectors" / "snapshot"
FOUND = [json.loads(line) for line in (VECTORS / "found.ndjson").read_text(encoding="utf-8").splitlines()]


def ring(name):
    return signatures.KeyRing.load(VECTORS / name)


class Vectors(unittest.TestCase):
    def test_what_is_asked_is_found(self):
        snapshot = snapshots.Snapshot(VECTORS / "main", ring("publishers.toml"))
        for row in FOUND:
            taskhash = bytes.fromhex(row["taskhash"])
            unihash = snapshot.lookup(row["method"], taskhash)
            self.assertEqual(unihash and unihash.hex(), row["unihash"])
            signed = snapshot.signature(row["method"], taskhash)
            expected = row["signature"] and (bytes.fromhex(row["outhash"]), row["signature"])
            self.assertEqual(signed, expected)

    def test_all_rows_are_those_that_are_found(self):
        snapshot = snapshots.Snapshot(VECTORS / "main")
        rows = [(method, task.hex(), uni.hex()) for method, task, uni, _ in snapshot.rows()]
        there = [row for row in FOUND if row["unihash"]]
        self.assertEqual(rows, [(row["method"], row["taskhash"], row["unihash"]) for row in there])
        self.assertLess(len(there), len(FOUND))

    def test_signatures_of_rows_verify(self):
        snapshot, reporters, signed_rows = snapshots.Snapshot(VECTORS / "main"), ring("reporters.toml"), 0
        for method, taskhash, unihash, signed in snapshot.rows():
            if signed:
                texts = ["main", method, taskhash.hex(), signed[0].hex(), unihash.hex()]
                row = dict(zip(signatures.FIELDS, texts))
                self.assertEqual(reporters.verify(row, signed[1]), "verified")
                signed_rows += 1
        self.assertGreater(signed_rows, 20)

    def test_changes_are_read(self):
        with open(VECTORS / "changes.ndjson", "rb") as lines:
            changes = list(snapshots.read_changes(lines))
        self.assertEqual([list(change)[-1] for change in changes], ["position", "unihash", "epoch", "unihash", "end"])
        self.assertEqual((changes[3]["unihash"], changes[4]), (None, {"end": 900}))

    def test_cut_and_wrong_changes_are_refused(self):
        lines = (VECTORS / "changes.ndjson").read_bytes().splitlines(keepends=True)
        wrong = [lines[:-1], [*lines[:2], *lines[1:]], lines[1:], [*lines[:-1], lines[-1][:-1]], [b" " + lines[0]]]
        for some in wrong:
            with self.assertRaises(snapshots.BadSnapshot):
                list(snapshots.read_changes(some))


class Damage(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.path = Path(self.directory.name) / "main"
        shutil.copytree(VECTORS / "main", self.path)

    def check_refused(self):
        with self.assertRaises(snapshots.BadSnapshot):
            list(snapshots.Snapshot(self.path).rows())

    def test_a_flipped_bit_is_refused_by_its_digest(self):
        for shard in sorted((self.path / "shards").iterdir()):
            raw = bytearray(shard.read_bytes())
            raw[len(raw) // 2] ^= 1
            shard.write_bytes(raw)
            self.check_refused()
            raw[len(raw) // 2] ^= 1
            shard.write_bytes(raw)

    def test_no_flipped_bit_passes_without_the_digest(self):
        """What the digest would refuse anyway raises BadSnapshot, or is another canonical shard."""
        entry = snapshots.Snapshot(self.path).manifest["methods"][1]["shards"][0]
        raw = (self.path / "shards" / entry["sha256"]).read_bytes()
        for at in range(len(raw)):
            damaged = raw[:at] + bytes([raw[at] ^ 0x80]) + raw[at + 1 :]
            with contextlib.suppress(snapshots.BadSnapshot):
                shard = snapshots.Shard(damaged, entry["rows"], bytes.fromhex(entry["first"]))
                self.assertEqual(len(shard.block(0)), 1)

    def test_another_manifest_is_not_signed(self):
        manifest = self.path / "manifest.json"
        manifest.write_bytes(manifest.read_bytes().replace(b'"position":812', b'"position":813'))
        with self.assertRaisesRegex(snapshots.Untrusted, "mismatch"):
            snapshots.Snapshot(self.path, ring("publishers.toml"))
        with self.assertRaisesRegex(snapshots.Untrusted, "unknown_key"):
            snapshots.Snapshot(self.path, ring("reporters.toml"))

    def test_other_spellings_and_values_are_no_manifest(self):
        manifest = (self.path / "manifest.json").read_bytes()
        for old, new in [
            (b'"epoch":3', b'"epoch": 3'),
            (b'"epoch":3', b'"epoch":-3'),
            (b'"epoch":3', b'"epoch":true'),
            (b'"epoch":3', b'"epoch":3,"epoch":3'),
            (b'"rows":220', b'"rows":221'),
            (b"main", b""),
            (b"-v1", b"-v2"),
            (b"}\n", b"}"),
        ]:
            with self.assertRaises(snapshots.BadSnapshot, msg=new):
                snapshots.parse_manifest(manifest.replace(old, new, 1))


class Program(unittest.TestCase):
    def check(self, expected, *words):
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
            self.assertEqual(snapshots.main(words), expected, words)
        return out.getvalue()

    def test_exit_codes_tell(self):
        directory, publishers = str(VECTORS / "main"), ["--publishers", str(VECTORS / "publishers.toml")]
        row = FOUND[0]
        ask = ["lookup", directory, *publishers, "--method", row["method"], "--taskhash"]
        self.assertIn("221 rows", self.check(0, "verify", directory, *publishers))
        self.assertEqual(self.check(0, *ask, row["taskhash"]), row["unihash"] + "\n")
        self.assertEqual(self.check(1, *ask, "0" * 64), "")
        self.check(64, *ask, "0")
        self.check(64, "verify")
        self.check(1, "verify", directory, "--publishers", str(VECTORS / "reporters.toml"))
        self.check(65, "verify", str(VECTORS))


if __name__ == "__main__":
    unittest.main()
