"""Clones of every form of repository, compared with a clone that no server was part of."""

from hg import OLD, Hg
from torture import SETTINGS
from variants import REFUSED, SERVED, VARIANTS, publish

from . import case, check

ENCODER_ORDER = "experimental.httppeer.v2-encoder-order"


@case(*(variant.name for variant in SERVED))
def clone(world, name):
    repository = world.variant(name)
    with world.serving(repository) as server:
        clone = world.clone(server.url(repository))
    clone.check_same(world.reference(same_as(world, name)))


def same_as(world, name):
    """A repository that holds the same as this variant: forms do not matter to a clone."""
    return world.variant("default" if VARIANTS[name].heads else "inline")


@case()
def clone_of_a_repository_in_use(world):
    """With a working copy, local tags, undo files and caches, as `hg commit` leaves it."""
    repository = world.natural()
    with world.serving(repository) as server:
        clone = world.clone(server.url(repository))
    clone.check_same(world.reference(repository))


@case("zstd-8mb", "zlib", "identity")
def clone_with_one_encoding(world, encoding):
    repository = world.variant("inline")
    with world.serving(repository) as server:
        clone = world.clone(server.url(repository), client=world.client.configured({ENCODER_ORDER: encoding}))
    clone.check_same(world.reference(repository))


@case()
def clone_of_a_publishing_repository(world):
    """Its drafts arrive as public."""
    repository = world.own_variant("inline")
    publish(repository, "yes")
    with world.serving(repository) as server:
        clone = world.clone(server.url(repository))
    clone.check_same(world.reference(repository))
    check(world.old.out("log", "-R", clone.path, "--rev", "not public()"), b"")


@case("plain", "relative", "of share-safe")
def clone_of_a_share(world, kind):
    source = world.variant("share-safe" if "safe" in kind else "inline")
    share = world.place("share")
    hg = Hg(OLD, settings={"extensions.share": ""})
    hg.run("share", *(["--relative"] if kind == "relative" else []), "--noupdate", source, share)
    publish(share, "no")
    with world.serving(share) as server:
        clone = world.clone(server.url(share))
    clone.check_same(world.reference(share))


@case()
def several_repositories_and_some_that_are_refused(world):
    """A repository that cannot be served does not keep the others from it; it is named with the reason."""
    good = [world.variant(name) for name in ("inline", "zlib")]
    bad = [world.variant(variant.name) for variant in REFUSED]
    with world.serving(*good, *bad) as server:
        for repository in good:
            clone = world.clone(server.url(repository))
            clone.check_same(world.reference(repository))
        for repository, variant in zip(bad, REFUSED):
            place = world.place("refused")
            done = world.client.run("clone", server.url(repository), place, expect=(255,))
            said = done.err.decode() + server.printed() + server.log()
            if not any(name in said for name in variant.requires) or "Traceback" in said:
                raise AssertionError(f"none of {variant.requires} is named as the reason: {said}")


@case()
def clone_of_a_stripped_repository(world):
    """Strip cuts revlogs and puts what came after back at new places."""
    repository = world.own_variant("inline")
    hg = Hg(OLD, settings=SETTINGS | {"extensions.strip": ""})
    hg.run("strip", "--quiet", "-R", repository, "--rev", "desc('only a branch name')", "--no-backup")
    with world.serving(repository) as server:
        clone = world.clone(server.url(repository))
    clone.check_same(world.reference(repository))


@case()
def clone_while_internal_changesets_exist(world):
    """A shelved change is a changeset in a phase that is never served."""
    repository = world.place("internal")
    hg = Hg(OLD, settings=SETTINGS | {"format.internal-phase": "yes", "extensions.shelve": "", "shelve.store": "internal"})
    hg.run("init", repository)
    hg.run("unbundle", "--quiet", "-R", repository, world.bundle(False))
    hg.run("update", "--quiet", "-R", repository, "desc('chain 50')")
    (repository / "chain").write_text("HIDDEN-MARKER shelved\n")
    hg.run("shelve", "-R", repository, "--name", "shelved")
    publish(repository, "no")
    phases = hg.out("log", "--hidden", "-R", repository, "--template", "{phase}\n")
    if b"internal" not in phases:
        raise AssertionError("nothing is in the internal phase")
    with world.serving(repository) as server:
        clone = world.clone(server.url(repository))
    clone.check_same(world.reference(repository))


@case()
def clone_of_a_single_changeset(world):
    repository = world.place("little")
    world.old.run("init", repository)
    (repository / "file").write_text("contents\n")
    world.old.run("commit", "--addremove", "--message", "one", "--date", "1000 0", "-R", repository)
    with world.serving(repository) as server:
        clone = world.clone(server.url(repository))
    clone.check_same(world.reference(repository))


@case()
def clone_of_nothing(world):
    """The client asks for the changesets up to no heads, which the reference refuses."""
    repository = world.place("nothing")
    world.old.run("init", repository)
    with world.serving(repository) as server:
        clone = world.clone(server.url(repository))
    clone.check_same(world.reference(repository))


@case()
def clone_of_a_bookmark_on_nothing(world):
    """A bookmark may be at the null revision: stripping leaves it there."""
    repository = world.own_variant("inline")
    world.old.run("bookmark", "-R", repository, "--rev", "null", "nowhere")
    with world.serving(repository) as server:
        clone = world.clone(server.url(repository))
    clone.check_same(world.reference(repository))


@case("branch", "bookmark", "node", "prefix", "tag", "two")
def clone_of_a_part(world, kind):
    repository = world.variant("inline")
    node = world.node(repository, "desc('merge of the merges')")
    names = {
        "branch": ["stable"],
        "bookmark": ["feature/old"],
        "node": [node],
        "prefix": [node[:12]],
        "tag": ["v1.0"],
        "two": ["feature/old", "stable"],
    }[kind]
    options = [word for name in names for word in ("--rev", name)]
    with world.serving(repository) as server:
        clone = world.clone(server.url(repository), *options)
    clone.check_same(world.reference(repository, *options))


@case()
def stream_clone(world):
    """The store's files as they are, where nothing is secret or hidden.

    On a line of changesets: for a manifest that several changesets have, as closing a branch makes them, the client notes
    the last of these as the origin of its files, and finds fault with that itself when it verifies.
    """
    source = world.variant("inline")
    repository = world.reference(source, "--rev", world.node(source, "desc('chain 109')")).path
    with world.serving(repository) as server:
        clone = world.clone(server.url(repository), "--stream")
    clone.check_same(world.reference(repository))


@case()
def stream_clone_of_a_repository_with_secrets(world):
    """Raw files would hold the secrets too: they are not offered."""
    repository = world.variant("inline")
    with world.serving(repository) as server:
        place = world.place("clone")
        done = world.client.run("clone", "--stream", server.url(repository), place, expect=None)
        if done.status == 0:
            world.sound(place)
        check((done.status, b"Traceback" in done.err), (0, False))


@case()
def clone_of_a_real_history(world):
    """2,000 changesets of real contents: branches, merges, renames and removals."""
    from history.making import repository as history

    repository = world.once("history", lambda: history("small"))
    with world.serving(repository) as server:
        clone = world.clone(server.url(repository))
        clone.check_same(world.reference(repository))
        part = world.clone(server.url(repository), "--rev", "1200")
        part = world.pull(part, server.url(repository))
    check(part.log, clone.log)
