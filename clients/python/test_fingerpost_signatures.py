"""Tests of fingerpost_signatures against the test vectors: python3 -m unittest, in this directory."""

import contextlib
import io
import json
import os
import re
import tempfile
import unittest
from pathlib import Path

import fingerpost_signatures as signatures

VECTORS = json.loads(
    (Path(__file__).resolve().parents[2] / "tests" / "vectors" / "signatures.json").read_text(encoding="utf-8")
)

# Tests 1 to 3 of RFC 8032, section 7.1: public key, message, signature.
RFC_8032 = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]


class Curve(unittest.TestCase):
    def test_the_examples_of_the_rfc_verify(self):
        for public, message, signature in RFC_8032:
            public, message, signature = map(bytes.fromhex, (public, message, signature))
            self.assertTrue(signatures.Ed25519.verify(public, message, signature))
            self.assertFalse(signatures.Ed25519.verify(public, message + b"x", signature))
            # The same signature with S + L, which a lax verifier takes.
            s = int.from_bytes(signature[32:], "little") + signatures.Ed25519.L
            other = signature[:32] + s.to_bytes(32, "little")
            self.assertFalse(signatures.Ed25519.verify(public, message, other))

    def test_points_of_small_order_and_second_names_are_no_keys(self):
        p = signatures.Ed25519.P
        for y in (1, 0, p - 1, p, p + 1, p + 3, 2):
            self.assertIsNone(signatures.Ed25519.decode(y.to_bytes(32, "little")), y)

    def test_a_public_key_follows_from_its_seed(self):
        seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
        self.assertEqual(signatures.Ed25519.public_of(seed).hex(), RFC_8032[0][0])


class Vectors(unittest.TestCase):
    def test_canonical_bytes_are_the_same(self):
        self.assertGreater(len(VECTORS["canonical"]), 5)
        for case in VECTORS["canonical"]:
            made = signatures.canonical_bytes(case["row"], case["key"], case["time"])
            self.assertEqual(made.hex(), case["hex"])

    def test_verdicts_are_the_same(self):
        ring = signatures.KeyRing(VECTORS["ring"])
        seen = set()
        for case in VECTORS["cases"]:
            for policy, expected in case["verdicts"].items():
                with self.subTest(case["about"], policy=policy):
                    verdict = signatures.judge(policy, ring, case["row"], case["signature"])
                    self.assertEqual(verdict, expected)
                    seen.add(verdict)
        words = "verified unsigned_hit unchecked unsigned unknown_key revoked mismatch malformed"
        self.assertEqual(seen, set(words.split()))

    def test_each_flipped_bit_of_a_signature_is_refused(self):
        ring = signatures.KeyRing(VECTORS["ring"])
        case = next(case for case in VECTORS["cases"] if (case["signature"] or "").startswith("hmac-sha256:0202"))
        for at in range(len(case["signature"])):
            for bit in range(7):
                text = bytearray(case["signature"].encode())
                text[at] ^= 1 << bit
                verdict = signatures.judge("prefer", ring, case["row"], text.decode())
                self.assertNotIn(verdict, signatures.HITS, text)


class Rings(unittest.TestCase):
    def test_a_damaged_ring_is_refused(self):
        text = VECTORS["ring"]
        damages = [
            ("version = 1", "version = 2"),
            ("version = 1", "version = true"),
            ("version = 1", "version = 1\nkeys = []"),
            ('state = "active"', 'state = "Active"'),
            ('state = "active"', 'state = "active"\nstatus = ""'),
            ('algorithm = "ed25519"', 'algorithm = "rsa"'),
            ('name = "key-1"', 'name = "key-0"'),
            ('id = "0202020202020202"', 'id = "0404040404040404"'),
            ('id = "01532beb1c02694f"', 'id = "01532beb1c02694e"'),
            ('secret = "AQ', 'secret = "BQ'),
            ('secret = "AgICAg', 'secret = "AgICAgI'),
            ('secret = "BAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQ"', 'secret = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI"'),
        ]
        for right, wrong in damages:
            self.assertIn(right, text)
            with self.subTest(wrong), self.assertRaises(signatures.BadRing) as raised:
                signatures.KeyRing(text.replace(right, wrong, 1))
            self.assertNotRegex(str(raised.exception), "AQEBAQ|AgICAg")

    def test_the_example_of_the_documentation_is_a_ring(self):
        page = (Path(__file__).resolve().parents[2] / "docs" / "signatures.md").read_text(encoding="utf-8")
        ring = signatures.KeyRing(page.split("```toml\n")[1].split("```")[0])
        self.assertEqual(list(ring.keys), ["01532beb1c02694f"])


class CommandLine(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.ring = self.directory / "ring.toml"
        self.ring.write_text(VECTORS["ring"], encoding="utf-8")
        self.ring.chmod(0o600)

    def run_main(self, *words):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = signatures.main(["verify", "--ring", str(self.ring), *words])
        return status, out.getvalue(), err.getvalue()

    def test_one_row(self):
        case = VECTORS["cases"][0]
        words = [f"--{field}={case['row'][field]}" for field in signatures.FIELDS]
        signature = f"--signature={case['signature']}"
        self.assertEqual(self.run_main(*words, signature), (0, "hit verified\n", ""))
        self.assertEqual(self.run_main(*words), (1, "miss unsigned\n", ""))
        self.assertEqual(self.run_main(*words, "--policy=prefer"), (0, "hit unsigned_hit\n", ""))
        self.assertEqual(self.run_main(*words[1:])[0], 64)

    def test_a_file_of_rows(self):
        file = self.directory / "rows.ndjson"
        lines = [json.dumps({**case["row"], "signature": case["signature"]}) for case in VECTORS["cases"]]
        file.write_text("\n".join(lines), encoding="utf-8")
        status, out, _ = self.run_main("--rows", str(file))
        self.assertEqual(status, 1)
        self.assertEqual(
            [line.split()[1] for line in out.splitlines()],
            [case["verdicts"]["require"] for case in VECTORS["cases"]],
        )
        first = VECTORS["cases"][0]
        for texts, words in (([], "unsigned"), (["x", first["signature"]], "verified"), (["x"], "malformed")):
            file.write_text(json.dumps({**first["row"], "signatures": texts}), encoding="utf-8")
            self.assertEqual(self.run_main("--rows", str(file))[1].split()[1], words)
        for wrong in ('{"signatures": [5]}', "[]", "{}", "{", '{"signature": 5}', "5"):
            file.write_text(wrong, encoding="utf-8")
            self.assertEqual(self.run_main("--rows", str(file))[0], 65, wrong)

    def test_a_ring_that_others_can_read_is_refused(self):
        self.ring.chmod(0o644)
        status, _, err = self.run_main("--rows", os.devnull)
        self.assertEqual(status, 65)
        self.assertRegex(err, "chmod 600")
        public = re.sub("(?m)^secret = .*", "", VECTORS["ring"].split('name = "key-1"')[0].rsplit("[[key]]", 1)[0])
        self.ring.write_text(public, encoding="utf-8")
        self.assertEqual(self.run_main("--rows", os.devnull)[0], 0)


if __name__ == "__main__":
    unittest.main()
