"""What changes from one release to the next, in pieces that commits are made of.

Pieces of one step are independent: a file is added, removed or renamed by one piece, or changed by several, one
for each run of lines that differs. So any of them can be applied in any order, and two branches that applied
different ones can always be merged.
"""

import os
from collections import defaultdict
from dataclasses import dataclass
from difflib import SequenceMatcher

from .source import LINK, Entry

# Finding the differing lines of longer files takes too long; such a file changes at once.
LINES_MAX = 3000
SIMILAR = 0.6


@dataclass(frozen=True)
class Piece:
    """One change: of the file `path`, which run of lines, and for a rename which file it was before."""

    kind: str
    path: str
    run: int = 0
    before: str = ""


class Plan:
    """The pieces between two trees, without the trees themselves."""

    def __init__(self, old, new, removals):
        self.pieces = []
        # Changed files: the runs (start, end, start, end) of old and new lines that differ; None: all of it.
        self.runs = {}
        renamed = renames(old, new) if removals else {}
        for path in sorted(new):
            if path not in old:
                before = renamed.get(path)
                self.pieces.append(Piece("rename", path, before=before) if before else Piece("add", path))
            elif old[path] != new[path]:
                self.runs[path] = runs = differing(old[path], new[path])
                self.pieces += [Piece("change", path, run) for run in range(len(runs) if runs else 1)]
        if removals:
            gone = set(old) - set(new) - set(renamed.values())
            self.pieces += [Piece("remove", path) for path in sorted(gone)]


class Step:
    """Two trees with the plan between them."""

    def __init__(self, plan, old, new):
        self.plan, self.old, self.new = plan, old, new

    def content(self, path, runs):
        """The file after these of its runs; None if it is gone."""
        planned = self.plan.runs.get(path)
        if planned is None or len(runs) == len(planned):
            return self.new.get(path)
        old, new = lines(self.old[path].data), lines(self.new[path].data)
        result, position = [], 0
        for run in sorted(runs):
            start, end, new_start, new_end = planned[run]
            result += old[position:start] + new[new_start:new_end]
            position = end
        return Entry(self.old[path].mode, b"".join(result + old[position:]))


def differing(old, new):
    """The runs of lines in which two texts differ, or None where they are not to be told apart."""
    kinds_differ = old.mode != new.mode or LINK in (old.mode, new.mode)
    if kinds_differ or b"\0" in old.data or b"\0" in new.data:
        return None
    old_lines, new_lines = lines(old.data), lines(new.data)
    if max(len(old_lines), len(new_lines)) > LINES_MAX:
        return None
    found = SequenceMatcher(None, old_lines, new_lines).get_opcodes()
    return [tuple(places) for tag, *places in found if tag != "equal"] or None


def renames(old, new):
    """{new path: old path} of files that moved: with the same bytes, or the same name and most of the same lines."""
    gone = sorted(set(old) - set(new))
    by_data, by_name = defaultdict(list), defaultdict(list)
    for path in gone:
        by_data[old[path].data].append(path)
        by_name[os.path.basename(path)].append(path)
    found, taken = {}, set()
    for path in sorted(set(new) - set(old)):
        entry = new[path]
        exact = by_data[entry.data] if entry.data else []
        near = [p for p in by_name[os.path.basename(path)] if similar(old[p].data, entry.data)]
        candidate = next((p for p in [*exact, *near] if p not in taken), None)
        if candidate:
            found[path] = candidate
            taken.add(candidate)
    return found


def similar(old, new):
    old_lines, new_lines = lines(old), lines(new)
    if max(len(old_lines), len(new_lines)) > LINES_MAX:
        return False
    matcher = SequenceMatcher(None, old_lines, new_lines)
    return matcher.quick_ratio() > SIMILAR and matcher.ratio() > SIMILAR


def lines(data):
    return data.splitlines(keepends=True)
