"""The histories that tests and benches use."""

from dataclasses import asdict, dataclass
from itertools import pairwise

from . import evolution, source

# Counted up when the same recipe would give another history.
EDITION = 1

ANSIBLE = [("ansible-core", f"2.{minor}.0") for minor in range(11, 20)]
DJANGO = [("Django", version) for version in ("3.0", "3.1", "3.2", "4.0", "4.1", "4.2", "5.0", "5.1", "5.2", "6.0")]
# The releases that scripts/prepare installed: two states of a real program, without a download.
INSTALLED = [("installed", "6.0.3"), ("installed", "7.2.4")]

# In the wide history larger files are left out, for its size comes from their number.
WIDE_BYTES_MAX = 14_000
WIDE_FILES = 100_000
WIDE_FIRST = 250


@dataclass(frozen=True)
class Recipe:
    """What a history is made of.

    `shape` is `linear`, `branchy` (a quarter of the changesets are merges) or `wide` (so many files that each
    changeset touches few of them). Without `removals` no changeset removes or renames a file: the stock server of
    version 2 cannot serve any other history.
    """

    name: str
    shape: str
    changesets: int
    releases: tuple
    removals: bool

    def fingerprint(self):
        return {"edition": EDITION, **asdict(self), "releases": [list(release) for release in self.releases]}


def both_forms(name, shape, changesets, releases):
    return [
        Recipe(f"{name}-kept", shape, changesets, tuple(releases), removals=False),
        Recipe(name, shape, changesets, tuple(releases), removals=True),
    ]


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("small", "branchy", 2000, tuple(INSTALLED), removals=True),
        *both_forms("linear", "linear", 10_000, ANSIBLE),
        *both_forms("merges", "branchy", 20_000, DJANGO),
        *both_forms("wide", "wide", 1000, ANSIBLE + DJANGO),
    )
}


def commits(recipe, paths, random):
    """The commits of a recipe, in order; `paths` are where its releases lie."""
    from .weave import Weaver

    weaver = Weaver(random)
    if recipe.shape == "wide":
        yield from wide(recipe, paths, weaver)
        return
    plans = [evolution.Plan(old, new, recipe.removals) for old, new in pairs(paths)]
    branchy = recipe.shape == "branchy"
    shares = share(recipe.changesets // 4 if branchy else recipe.changesets, [len(plan.pieces) for plan in plans])
    for plan, amount, (old, new) in zip(plans, shares, pairs(paths)):
        step = evolution.Step(plan, old, new)
        yield from weaver.branchy(step, amount) if branchy else weaver.line(step, amount)


def wide(recipe, paths, weaver):
    """All releases side by side, then the first ones evolve in their places."""
    trees = {f"{name}-{version}": path for (name, version), path in zip(recipe.releases, paths)}
    names = list(trees)
    trees = {name: small_files(source.read(path)) for name, path in trees.items()}
    everything = {f"{name}/{path}": entry for name in names for path, entry in sorted(trees[name].items())}
    if len(everything) < WIDE_FILES:
        raise ValueError(f"{len(everything)} files are not {WIDE_FILES}")
    start = dict(list(everything.items())[:WIDE_FILES])
    evolved = {path: entry for path, entry in start.items() if not path.startswith(f"{names[0]}/")}
    evolved |= {f"{names[0]}/{path}": entry for path, entry in trees[names[1]].items()}
    yield from weaver.line(evolution.Step(evolution.Plan({}, start, recipe.removals), {}, start), WIDE_FIRST)
    plan = evolution.Plan(start, evolved, recipe.removals)
    yield from weaver.line(evolution.Step(plan, start, evolved), recipe.changesets - WIDE_FIRST)


def small_files(tree):
    return {path: entry for path, entry in tree.items() if len(entry.data) <= WIDE_BYTES_MAX}


def pairs(paths):
    """Each release with the one before it; two are in memory at a time."""
    yield from pairwise(source.read(path) if path else {} for path in [None, *paths])


def share(total, weights):
    """Divides a number in proportion to the weights."""
    whole, shares, given = sum(weights), [], 0
    for weight in weights[:-1]:
        shares.append(max(1, total * weight // whole))
        given += shares[-1]
    return [*shares, total - given]
