"""Orders the pieces of a step into commits, on one line or on branches that are merged."""

import os
from collections import defaultdict
from dataclasses import dataclass, field

# What a unit of a branchy history does, three commits and a merge: M commits on the main line, T on a topic branch (the first
# one opens it), G merges the topic. Each has an M between opening and merging, so no side of a merge is an ancestor of the other.
UNITS = ("TMMG", "TMTG", "TTMG", "MTMG")
UNITS_AT_A_TIME = 3


@dataclass
class Commit:
    """Parents by number, the files as they become (None: gone), and what it is about."""

    number: int
    parents: list[int]
    files: dict
    about: str
    pieces: list = field(repr=False)


class Weaver:
    """Gives numbers to commits; the main line goes on from step to step."""

    def __init__(self, random):
        self.random = random
        self.count = 0
        self.main = None

    def line(self, step, commits):
        """So many commits in a row."""
        side = Side(step)
        for pieces in self.portions(step, commits):
            yield self.commit(side, pieces)

    def branchy(self, step, units):
        """Units of three commits and a merge, a few of them under way at a time."""
        portions = iter(self.portions(step, 3 * units))
        main = Side(step)
        waiting = [iter(self.random.choice(UNITS)) for _ in range(units)]
        active = []
        while waiting or active:
            while waiting and len(active) < UNITS_AT_A_TIME:
                active.append([waiting.pop(), None, None])
            unit = self.random.choice(active)
            actions, topic, tip = unit
            action = next(actions)
            if action == "M":
                yield self.commit(main, next(portions))
            elif action == "T":
                if topic is None:
                    topic, tip = Side(step, main), self.main
                commit = self.commit(topic, next(portions), on=tip)
                unit[1:] = topic, commit.number
                yield commit
            else:
                yield self.merge(main, topic, tip)
                active.remove(unit)

    def commit(self, side, pieces, on=None):
        parent = self.main if on is None else on
        files = side.apply(pieces)
        made = Commit(self.number(), [] if parent is None else [parent], files, about(pieces), pieces)
        if on is None:
            self.main = made.number
        return made

    def merge(self, main, topic, tip):
        files = main.apply(topic.own)
        made = Commit(self.number(), [self.main, tip], files, f"merge: {about(topic.own)}", topic.own)
        self.main = made.number
        return made

    def number(self):
        self.count += 1
        return self.count

    def portions(self, step, count):
        """The pieces, those of a directory together, cut at random places."""
        groups = defaultdict(list)
        for piece in step.plan.pieces:
            groups["/".join(piece.path.split("/")[:3][:-1])].append(piece)
        order = sorted(groups)
        self.random.shuffle(order)
        pieces = []
        for name in order:
            self.random.shuffle(groups[name])
            pieces += groups[name]
        if len(pieces) < count:
            raise ValueError(f"{len(pieces)} changes do not make {count} commits")
        cuts = sorted(self.random.sample(range(1, len(pieces)), count - 1))
        return [pieces[start:end] for start, end in zip([0, *cuts], [*cuts, len(pieces)])]


class Side:
    """A branch within a step: which runs of which files it has."""

    def __init__(self, step, of=None):
        self.step = step
        self.runs = defaultdict(set)
        # What was applied here since the side was opened.
        self.own = []
        if of:
            for path, runs in of.runs.items():
                self.runs[path] = set(runs)

    def apply(self, pieces):
        """Applies the pieces; gives the files that they touch."""
        files = {}
        for piece in pieces:
            if piece.kind == "rename":
                files[piece.before] = None
            self.runs[piece.path].add(piece.run)
        for path in {piece.path for piece in pieces}:
            files[path] = self.step.content(path, self.runs[path])
        self.own.extend(pieces)
        return files


def about(pieces):
    """A commit's first line."""
    first = pieces[0]
    where = os.path.dirname(first.path) or "top"
    rest = f" and {len(pieces) - 1} more" if len(pieces) > 1 else ""
    return f"{where}: {first.kind} {os.path.basename(first.path)}{rest}"
