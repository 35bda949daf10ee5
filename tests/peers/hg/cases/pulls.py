"""Pulls, and what is only asked."""

import shutil

from hg import OLD, Hg
from torture import SETTINGS
from world import first_difference

from . import case, check
from .clones import same_as


def part(world, repository, server, *revisions):
    options = [word for revision in revisions for word in ("--rev", revision)]
    return world.clone(server.url(repository), *options)


def nodes(contents):
    return {line.split()[0] for line in contents.log}


@case("inline", "default", "no-generaldelta", "new")
def pull_of_the_rest(world, name):
    repository = world.variant(name)
    with world.serving(repository) as server:
        clone = part(world, repository, server, "feature/old")
        clone = world.pull(clone, server.url(repository), "--rev", "stable", "--rev", "v1.0")
        clone = world.pull(clone, server.url(repository))
        again = world.pull(clone, server.url(repository))
    first_difference(clone.log, world.reference(same_as(world, name)).log)
    first_difference(again.log, clone.log)


@case()
def pull_of_what_came_since(world):
    """New changesets and moved bookmarks, without a restart. Phases that moved do not arrive: the client asks for those of
    new changesets only."""
    repository = world.own_variant("inline")
    hg = Hg(OLD, settings=SETTINGS)
    with world.serving(repository) as server:
        clone = world.clone(server.url(repository))
        hg.run("update", "--quiet", "-R", repository, "@")
        (repository / "new-file").write_text("new\n")
        hg.run("commit", "--quiet", "--addremove", "-R", repository, "--message", "new", "--date", "1700000000 0")
        hg.run("bookmark", "--force", "-R", repository, "--rev", "tip", "feature/old")
        clone = world.pull(clone, server.url(repository))
    first_difference(clone.log, world.reference(repository).log)


@case()
def pull_into_a_repository_with_changesets_of_its_own(world):
    repository = world.variant("inline")
    with world.serving(repository) as server:
        clone = part(world, repository, server, "v1.0")
        (clone.path / "mine").write_text("mine\n")
        world.old.run("commit", "--addremove", "--message", "mine", "--date", "1700000000 0", "-R", clone.path)
        mine = world.old.out("log", "-R", clone.path, "--rev", "tip", "--template", "{node}\n")
        outgoing = world.client.out("outgoing", "--quiet", "--template", "{node}\n", "-R", clone.path, server.url(repository))
        check(outgoing, mine)
        clone = world.pull(clone, server.url(repository))
    check(nodes(clone), nodes(world.reference(repository)) | {mine.strip()})


@case()
def nothing_outgoing(world):
    repository = world.variant("inline")
    with world.serving(repository) as server:
        clone = world.clone(server.url(repository))
        done = world.client.run("outgoing", "-R", clone.path, server.url(repository), expect=(1,))
    check(done.out.splitlines()[-1], b"no changes found")


@case()
def pull_after_a_strip(world):
    """What a client has and the server lost is no hindrance."""
    repository = world.own_variant("inline")
    hg = Hg(OLD, settings=SETTINGS | {"extensions.strip": ""})
    with world.serving(repository) as server:
        clone = world.clone(server.url(repository))
        hg.run("strip", "--quiet", "--no-backup", "-R", repository, "--rev", "desc('date 0 0')")
        pulled = world.pull(clone, server.url(repository))
        check(nodes(pulled), nodes(clone))
        fresh = world.clone(server.url(repository))
    fresh.check_same(world.reference(repository))


@case("no-such-name", "SECRET-MARKER", "0123456789abcdef0123456789abcdef01234567")
def clone_of_an_unknown_revision(world, name):
    repository = world.variant("inline")
    with world.serving(repository) as server:
        done = world.client.run("clone", "--rev", name, server.url(repository), world.place("clone"), expect=(255,))
    if name.encode() not in done.err or b"Traceback" in done.err:
        raise AssertionError(done.err.decode())


@case("secret", "hidden")
def clone_of_a_revision_that_is_not_served(world, kind):
    """Its node is as unknown as any other."""
    repository = world.variant("inline")
    revset = {"secret": "desc('SECRET-MARKER child')", "hidden": "desc('HIDDEN-MARKER pruned')"}[kind]
    node = world.node(repository, f"first({revset})")
    with world.serving(repository) as server:
        done = world.client.run("clone", "--rev", node, server.url(repository), world.place("clone"), expect=(255,))
    if node.encode() not in done.err or b"MARKER" in done.err or b"Traceback" in done.err:
        raise AssertionError(done.err.decode())


@case()
def push_is_refused(world):
    repository = world.own_variant("inline")
    with world.serving(repository) as server:
        clone = world.clone(server.url(repository))
        (clone.path / "mine").write_text("mine\n")
        world.old.run("commit", "--addremove", "--message", "mine", "--date", "1700000000 0", "-R", clone.path)
        done = world.client.run("push", "-R", clone.path, server.url(repository), expect=(255,))
    check(done.err, b"abort: destination does not support push\n")


@case()
def a_name_that_nothing_is_served_under(world):
    repository = world.variant("inline")
    other = world.variant("zlib")
    with world.serving(repository, other) as server:
        url = server.url(repository).replace(repository.name, "elsewhere")
        done = world.client.run("clone", url, world.place("clone"), expect=(255,))
    if b"Traceback" in done.err or b"404" not in done.err:
        raise AssertionError(done.err.decode())


@case()
def a_share_of_a_clone_pulls(world):
    """The client's own share goes on working against the server."""
    repository = world.variant("inline")
    with world.serving(repository) as server:
        clone = part(world, repository, server, "v1.0")
        share = world.place("share")
        Hg(OLD, settings={"extensions.share": ""}).run("share", clone.path, share)
        world.client.run("pull", "--quiet", "-R", share, server.url(repository))
    check(nodes(world.sound(clone.path)), nodes(world.reference(repository)))
    shutil.rmtree(share)
