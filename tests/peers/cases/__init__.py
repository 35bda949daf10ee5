"""The cases: every coroutine function that is marked with `case`, by transport."""

CASES = []
# A case takes so long at most, in seconds, unless it says more.
SECONDS = 90
ALL = ("tcp", "unix", "ws", "wss")


def case(*transports, seconds=SECONDS):
    """Marks a case; it runs once for each transport, on all unless named."""

    def mark(function):
        function.seconds = seconds
        CASES.extend((function, transport) for transport in transports or ALL)
        return function

    return mark


def check(found, expected):
    """Fails with both sides when they differ."""
    if found != expected:
        raise AssertionError(f"expected {shorten(expected)}, found {shorten(found)}")


async def refused(awaitable, error, text=""):
    """Fails unless `awaitable` raises `error` with `text` in its message."""
    try:
        answer = await awaitable
    except error as caught:
        if text not in str(caught):
            raise AssertionError(f"expected {text!r} in {caught!s}") from caught
        return
    raise AssertionError(f"expected {error.__name__}, found {shorten(answer)}")


def shorten(value):
    text = repr(value)
    return text if len(text) < 400 else f"{text[:400]}... ({len(text)} characters)"


METHOD = "TestMethod"


def sha(letter):
    """A hash of one repeated hex digit."""
    return letter * 64


def numbered(number):
    return f"{number:064x}"
