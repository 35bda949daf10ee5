"""Verifies signed rows of a Fingerpost server, with the standard library only.

docs/signatures.md is the format. This shares no code with the server, so that each checks the other. It needs Python 3.11.
Verifying one Ed25519 signature takes some milliseconds; nothing here signs.

    python3 -m fingerpost_signatures verify --ring ring.toml --policy require --namespace main --method METHOD \\
        --taskhash T --outhash O --unihash U --signature S
    python3 -m fingerpost_signatures verify --ring ring.toml --rows rows.ndjson

The second form reads one JSON object a line, with the fields of a row and `signature`, which may be null or missing.
Prints a verdict for each row, and one word about why. Exit status 0: all are hits; 1: some row is a miss;
64: wrong usage; 65: the key ring or a row cannot be read.
"""

import argparse
import base64
import binascii
import datetime
import hashlib
import hmac
import json
import os
import re
import sys
import tomllib

FIELDS = ("namespace", "method", "taskhash", "outhash", "unihash")
POLICIES = ("off", "prefer", "require")
HITS = ("verified", "unsigned_hit", "unchecked")

ROW_DOMAIN = b"fingerpost-signed-row-v1\0"
KEY_ID_DOMAIN = b"fingerpost-key-id-v1\0"

SIGNATURE_BYTES_MAX = 124
RING_BYTES_MAX = 1 << 18
KEYS_MAX = 256
SECONDS_MAX = 253_402_300_799
PROOF_BYTES = {"ed25519": 64, "hmac-sha256": 32}


class BadRing(Exception):
    """A key ring is not what it should be. The text shows no secret."""


def canonical_bytes(row, key_id, seconds):
    """The bytes that are signed. `row` has a text for each of FIELDS."""
    out = bytearray(ROW_DOMAIN)
    for text in [*(row[field] for field in FIELDS), key_id]:
        encoded = text.encode("utf-8")
        out += len(encoded).to_bytes(8, "big") + encoded
    return bytes(out + seconds.to_bytes(8, "big"))


def decode_base64url(text, length):
    """Exactly `length` bytes of base64url without padding, or None. Each value has one text."""
    if not re.fullmatch("[A-Za-z0-9_-]*", text, re.ASCII):
        return None
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        return None
    canonical = base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
    return raw if len(raw) == length and canonical == text else None


def parse_signature(text):
    """(algorithm, key id, seconds, proof) of a signature's text, or None if it is malformed."""
    if len(text) > SIGNATURE_BYTES_MAX:
        return None
    form = r"(ed25519|hmac-sha256):([0-9a-f]{16}):(0|[1-9][0-9]{0,11}):([A-Za-z0-9_-]+)"
    match = re.fullmatch(form, text, re.ASCII)
    if not match:
        return None
    algorithm, key_id, seconds, proof = match.groups()
    proof = decode_base64url(proof, PROOF_BYTES[algorithm])
    if proof is None or int(seconds) > SECONDS_MAX:
        return None
    return algorithm, key_id, int(seconds), proof


class Ed25519:
    """RFC 8032, section 5.1, strictly: canonical encodings, no points of small order, the equation without cofactor.

    Points are (X, Y, Z, T) with x = X/Z, y = Y/Z, xy = T/Z. Nothing here is secret, so nothing is constant-time.
    """

    P = 2**255 - 19
    L = 2**252 + 27742317777372353535851937790883648493
    D = -121665 * pow(121666, P - 2, P) % P
    ROOT = pow(2, (P - 1) // 4, P)  # of -1
    NEUTRAL = (0, 1, 1, 0)

    @classmethod
    def add(cls, a, b):
        p = cls.P
        (x1, y1, z1, t1), (x2, y2, z2, t2) = a, b
        e, f = (y1 - x1) * (y2 - x2) % p, (y1 + x1) * (y2 + x2) % p
        g, h = 2 * t1 * t2 * cls.D % p, 2 * z1 * z2 % p
        e, f, g, h = f - e, h - g, h + g, f + e
        return e * f % p, g * h % p, f * g % p, e * h % p

    @classmethod
    def multiply(cls, scalar, point):
        result = cls.NEUTRAL
        for bit in bin(scalar)[2:]:
            result = cls.add(result, result)
            if bit == "1":
                result = cls.add(result, point)
        return result

    @classmethod
    def equal(cls, a, b):
        return (a[0] * b[2] - b[0] * a[2]) % cls.P == 0 and (a[1] * b[2] - b[1] * a[2]) % cls.P == 0

    @classmethod
    def decode(cls, encoded):
        """The point of 32 bytes, or None if they are no point, not canonical, or of small order."""
        p = cls.P
        number = int.from_bytes(encoded, "little")
        sign, y = number >> 255, number & (2**255 - 1)
        if y >= p:
            return None
        u, v = (y * y - 1) % p, (cls.D * y * y + 1) % p
        x = u * pow(v, 3, p) * pow(u * pow(v, 7, p), (p - 5) // 8, p) % p
        if (v * x * x - u) % p != 0:
            x = x * cls.ROOT % p
        if (v * x * x - u) % p != 0 or (x == 0 and sign == 1):
            return None
        if x & 1 != sign:
            x = p - x
        point = (x, y, 1, x * y % p)
        return None if cls.equal(cls.multiply(8, point), cls.NEUTRAL) else point

    @classmethod
    def verify(cls, public, message, signature):
        """Whether the 64 bytes are a signature of the message under the public key of 32 bytes."""
        key, commitment = cls.decode(public), cls.decode(signature[:32])
        s = int.from_bytes(signature[32:], "little")
        if key is None or commitment is None or s >= cls.L:
            return False
        digest = hashlib.sha512(signature[:32] + public + message).digest()
        challenge = int.from_bytes(digest, "little") % cls.L
        right = cls.add(commitment, cls.multiply(challenge, key))
        return cls.equal(cls.multiply(s, cls.BASE), right)

    @classmethod
    def public_of(cls, seed):
        """The public key of a seed; only for checking that a key ring fits together."""
        digest = hashlib.sha512(seed).digest()
        scalar = int.from_bytes(digest[:32], "little") & ((1 << 254) - 8) | (1 << 254)
        x, y, z, _ = cls.multiply(scalar, cls.BASE)
        inverse = pow(z, cls.P - 2, cls.P)
        x, y = x * inverse % cls.P, y * inverse % cls.P
        return (y | (x & 1) << 255).to_bytes(32, "little")


Ed25519.BASE = Ed25519.decode((4 * pow(5, Ed25519.P - 2, Ed25519.P) % Ed25519.P).to_bytes(32, "little"))


def id_of_public(public):
    """The key id of an Ed25519 public key."""
    return hashlib.sha256(KEY_ID_DOMAIN + public).digest()[:8].hex()


class KeyRing:
    """The keys that a reader trusts: key id -> (algorithm, state, public key or shared secret, or None)."""

    NEEDED = {"id", "name", "algorithm", "state", "created"}
    KNOWN = NEEDED | {"public", "secret"}

    def __init__(self, text):
        if len(text.encode("utf-8")) > RING_BYTES_MAX:
            raise BadRing(f"longer than {RING_BYTES_MAX} bytes")
        try:
            file = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            # Its text names a position, and quotes one character at most.
            raise BadRing(str(error)) from None
        if not file.keys() <= {"version", "key"}:
            raise BadRing("unknown field")
        if type(file.get("version")) is not int or file["version"] != 1:
            raise BadRing("version is not 1")
        entries = file.get("key", [])
        if type(entries) is not list or len(entries) > KEYS_MAX or not all(type(entry) is dict for entry in entries):
            raise BadRing(f"key is not a list of up to {KEYS_MAX} tables")
        self.keys = {}
        names, secrets = set(), set()
        for entry in entries:
            key_id, key = self.read(entry)
            secret = entry.get("secret")
            if key_id in self.keys or entry["name"] in names or secret in secrets:
                raise BadRing(f"key {key_id} has the id, name or secret of another one")
            self.keys[key_id] = key
            names.add(entry["name"])
            secrets |= {secret} - {None}
        self.has_secrets = bool(secrets)

    @classmethod
    def load(cls, path):
        """Reads a key ring file. One with secrets that others may read is refused."""
        with open(path, "rb") as file:
            raw = file.read(RING_BYTES_MAX + 1)
            mode = os.fstat(file.fileno()).st_mode & 0o777
        try:
            ring = cls(raw.decode("utf-8"))
        except UnicodeDecodeError:
            raise BadRing("not UTF-8") from None
        if mode & 0o027 and ring.has_secrets:
            raise BadRing(f"it holds a secret, and its mode {mode:o} lets others at it; chmod 600")
        return ring

    @classmethod
    def read(cls, entry):
        """One `[[key]]`."""
        if not cls.NEEDED <= entry.keys() <= cls.KNOWN:
            raise BadRing("a key has unknown fields, or lacks some")
        created = entry["created"]
        if not isinstance(created, datetime.datetime) or created.utcoffset() != datetime.timedelta(0):
            raise BadRing("created is not a time in UTC")
        if created.microsecond or created.year < 1970:
            raise BadRing("created is not a whole second since 1970")
        if not all(type(value) is str for field, value in entry.items() if field != "created"):
            raise BadRing("a key has a field that is not text")
        key_id, algorithm, state = entry["id"], entry["algorithm"], entry["state"]
        if not re.fullmatch("[0-9a-f]{16}", key_id, re.ASCII):
            raise BadRing("an id is not 16 hex digits")
        if not re.fullmatch(r"[A-Za-z0-9._@+-]{1,64}", entry["name"], re.ASCII) or re.fullmatch(
            "[0-9a-f]{16}", entry["name"], re.ASCII
        ):
            raise BadRing(f"key {key_id}: wrong name")
        if algorithm not in PROOF_BYTES or state not in ("active", "retired", "revoked"):
            raise BadRing(f"key {key_id}: unknown algorithm or state")
        material = cls.material(key_id, algorithm, entry)
        if material is None and state != "revoked":
            raise BadRing(f"key {key_id}: its {'public' if algorithm == 'ed25519' else 'secret'} is missing")
        return key_id, (algorithm, state, material)

    @staticmethod
    def material(key_id, algorithm, entry):
        """The 32 bytes that verify, if they are there."""
        parts = {}
        for field in ("public", "secret"):
            if field in entry:
                parts[field] = decode_base64url(entry[field], 32)
                if parts[field] is None:
                    raise BadRing(f"key {key_id}: {field} is not 32 bytes in base64url")
        if algorithm == "hmac-sha256":
            if "public" in parts:
                raise BadRing(f"key {key_id}: a shared secret has no public key")
            return parts.get("secret")
        public = parts.get("public")
        if "secret" in parts:
            derived = Ed25519.public_of(parts["secret"])
            if public not in (None, derived):
                raise BadRing(f"key {key_id}: secret is not that of the public key")
            public = derived
        if public is not None and (Ed25519.decode(public) is None or id_of_public(public) != key_id):
            raise BadRing(f"key {key_id}: not a usable public key, or not of this id")
        return public

    def verify(self, row, signature):
        """"verified", or why the signature is not believed."""
        return self.verify_message(lambda key_id, seconds: canonical_bytes(row, key_id, seconds), signature)

    def verify_message(self, canonical, signature):
        """As verify, of the bytes that `canonical` gives for a key id and seconds."""
        parsed = parse_signature(signature)
        if parsed is None:
            return "malformed"
        algorithm, key_id, seconds, proof = parsed
        if key_id not in self.keys:
            return "unknown_key"
        known, state, material = self.keys[key_id]
        if state == "revoked":
            return "revoked"
        message = canonical(key_id, seconds)
        if algorithm != known:
            return "mismatch"
        if algorithm == "hmac-sha256":
            right = hmac.compare_digest(hmac.digest(material, message, "sha256"), proof)
        else:
            right = Ed25519.verify(material, message, proof)
        return "verified" if right else "mismatch"


def judge(policy, ring, row, signature):
    """What an answer is to a reader: one of HITS, or why it is a miss.

    `row` must be built of what was asked, and only for the rest of what was told. `signature` is text or None.
    """
    if policy not in POLICIES:
        raise ValueError(f"expected one of {POLICIES}")
    if policy == "off":
        return "unchecked"
    if signature is None:
        return "unsigned_hit" if policy == "prefer" else "unsigned"
    return ring.verify(row, signature)


def judge_all(policy, ring, row, signatures):
    """What an answer with several signatures is to a reader: one that verifies is enough.

    If none does, the reason is that of the signature that says most.
    """
    if policy == "off" or not signatures:
        return judge(policy, ring, row, None)
    verdicts = [judge(policy, ring, row, signature) for signature in signatures]
    return max(verdicts, key=("unknown_key", "malformed", "revoked", "mismatch", "verified").index)


def arguments(words):
    parser = argparse.ArgumentParser(
        prog="python3 -m fingerpost_signatures",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        exit_on_error=False,
    )
    verify = parser.add_subparsers(required=True).add_parser("verify", help="verify one row, or a file of rows")
    verify.add_argument("--ring", required=True, help="the key ring file")
    verify.add_argument("--policy", choices=POLICIES, default="require")
    verify.add_argument("--rows", help="a file of JSON lines, or - for standard input")
    for field in FIELDS:
        verify.add_argument(f"--{field}")
    verify.add_argument("--signature", help="the text; without it the row is unsigned")
    options = parser.parse_args(words)
    missing = [field for field in FIELDS if getattr(options, field) is None]
    if not options.rows and missing:
        parser.error(f"--rows, or --{missing[0]}, is needed")
    return options


def rows(options):
    """(row, signatures) of the command line or of a file of JSON lines."""
    if not options.rows:
        given = options.signature
        yield {field: getattr(options, field) for field in FIELDS}, [] if given is None else [given]
        return
    with open(0 if options.rows == "-" else options.rows, encoding="utf-8", closefd=options.rows != "-") as lines:
        for number, line in enumerate(lines, 1):
            value = json.loads(line)
            signatures = signatures_of(value)
            if signatures is None:
                raise ValueError(f"line {number}: not an object, or its signature is no text")
            row = {field: value.get(field) for field in FIELDS}
            if not all(type(text) is str for text in row.values()):
                raise ValueError(f"line {number}: a field of the row is missing or no text")
            yield row, signatures


def signatures_of(value):
    """The texts in `signature` or, as a server answers them, in `signatures`; None if they are none."""
    if type(value) is not dict:
        return None
    signature = value.get("signature")
    texts = value.get("signatures", []) if signature is None else [signature]
    return texts if type(texts) is list and all(type(text) is str for text in texts) else None


def main(words=None):
    """The command line; gives the exit status."""
    try:
        options = arguments(words)
    except argparse.ArgumentError as error:
        print(error, file=sys.stderr)
        return 64
    except SystemExit as ended:
        return 64 if ended.code else 0
    misses = 0
    try:
        ring = KeyRing.load(options.ring)
        for row, signatures in rows(options):
            verdict = judge_all(options.policy, ring, row, signatures)
            misses += verdict not in HITS
            print("hit" if verdict in HITS else "miss", verdict)
    except (BadRing, OSError, RecursionError, ValueError) as error:
        print(f"cannot verify: {error}", file=sys.stderr)
        return 65
    return 1 if misses else 0


if __name__ == "__main__":
    sys.exit(main())
