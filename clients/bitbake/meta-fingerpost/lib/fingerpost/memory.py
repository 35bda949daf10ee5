"""What has to outlive a parse.

BitBake forgets the modules that its metadata imported whenever it reads its configuration anew, ours too. So what is
kept lies in BitBake's own module, in plain dictionaries that a newly read module of ours can take up.

SPDX-License-Identifier: MIT OR Apache-2.0
"""

import bb


def of(topic):
    """The dictionary of one topic."""
    everything = bb.__dict__.setdefault("_fingerpost", {})
    return everything.setdefault(topic, {})


def forget():
    """Forgets everything; for tests."""
    bb.__dict__.pop("_fingerpost", None)
