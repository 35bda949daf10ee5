"""Lets the client's `--depth` work over version 2.

The option comes from the narrow extension, which passes it on as text; the part that speaks version 2 counts with it and
ends in a TypeError. Without this no released client can be asked for a shallow clone.
"""

import sys


def extsetup(ui):
    hg = sys.modules["mercurial.hg"]
    clone = hg.clone

    def with_a_number(*arguments, depth=None, **options):
        return clone(*arguments, depth=int(depth) if depth else None, **options)

    hg.clone = with_a_number
