"""The cases: every function that is marked with `case`, alone or once for each of some arguments."""

CASES = []


def case(*arguments):
    """Marks a case; it runs once for each argument, once without one if there are none."""

    def mark(function):
        name = function.__name__.replace("_", " ")
        for argument in arguments:
            CASES.append((f"{name}: {argument}", function, (argument,)))
        if not arguments:
            CASES.append((name, function, ()))
        return function

    return mark


def check(found, expected):
    """Fails with both sides when they differ."""
    if found != expected:
        raise AssertionError(f"expected {shorten(expected)}, found {shorten(found)}")


def shorten(value):
    text = repr(value)
    return text if len(text) < 2000 else f"{text[:2000]}... ({len(text)} characters)"
