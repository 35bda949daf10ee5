"""The keys of `fingerpost bench`, which are computed from their number (crates/fingerpost/src/bench/keys.rs)."""

METHOD = "oe.sstatesig.OEOuthashBasic-poky-scarthgap-qemux86-64"
SEED = 1
TASKHASH = 0x7461736B
WORD = 2**64 - 1


def taskhash(number: int) -> str:
    """64 hex digits."""
    start = mixed(SEED) ^ mixed(TASKHASH)
    return "".join(f"{mixed(start + (number << 2) + lane):016x}" for lane in range(4))


def mixed(value: int) -> int:
    word = (value + 0x9E3779B97F4A7C15) & WORD
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & WORD
    return word ^ (word >> 31)
