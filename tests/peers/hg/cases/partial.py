"""Clones of a part of the files or of the history, and filters."""

import json
import subprocess
from pathlib import Path

from . import case, check

EXTENSIONS = Path(__file__).resolve().parent.parent / "extensions"
NARROW = {"extensions.narrow": ""}
# The client's usual storage refuses files whose parents it lacks; this one takes them.
SHALLOW = NARROW | {
    "extensions.depth": EXTENSIONS / "depth.py",
    "extensions.sqlitestore": "",
    "storage.new-repo-backend": "sqlite",
}
CALL_SECONDS = 60


@case("path:directory", "path:dir", "rootfilesin:unicode", "path:no-such-place")
def narrow_clone(world, pattern):
    """Only the files that match, with their whole history."""
    repository = world.reference(world.variant("inline")).path
    client = world.client.configured(NARROW)
    place = world.place("narrow")
    with world.serving(repository) as server:
        client.run("clone", "--narrow", "--include", pattern, server.url(repository), place)
    client.run("verify", "-R", place)
    expected = world.old.out("files", "-R", repository, "--rev", "tip", "--include", pattern, expect=(0, 1), cwd=repository)
    check(client.out("files", "-R", place, expect=(0, 1), cwd=place), expected)
    every = world.old.out("log", "-R", repository, "--template", "{node}\n")
    check(client.out("log", "-R", place, "--template", "{node}\n"), every)


@case(1, 5, 60)
def shallow_clone(world, depth):
    """All changesets and manifests, and the files of the newest generations only."""
    repository = world.reference(world.variant("inline")).path
    client = world.client.configured(SHALLOW)
    place = world.place("shallow")
    with world.serving(repository) as server:
        client.run("clone", "--depth", depth, "--noupdate", server.url(repository), place)
    every = world.old.out("log", "-R", repository, "--template", "{node}\n")
    check(client.out("log", "-R", place, "--template", "{node}\n"), every)
    client = client.configured({"ui.archivemeta": "no"})
    for revset in ("tip", "stable", "last(head())"):
        head = world.node(repository, revset)
        for source, name in ((place, "shallow"), (repository, "whole")):
            client.run("archive", "-R", source, "--rev", head, place / name / head)
    compare = ["diff", "-r", "--no-dereference", place / "shallow", place / "whole"]
    differences = subprocess.run(compare, capture_output=True)
    check(differences.stdout, b"")


FILTERS = {
    "include=path:directory": ({"include": ["path:directory"]}, ["--include", "path:directory"]),
    "include two": ({"include": ["path:dir", "path:source"]}, ["--include", "path:dir", "--include", "path:source"]),
    "rootfilesin": ({"include": ["rootfilesin:long"]}, ["--include", "rootfilesin:long"]),
    "exclude": ({"exclude": ["path:long", "path:unicode"]}, ["--exclude", "path:long", "--exclude", "path:unicode"]),
    "include and exclude": (
        {"include": ["path:long"], "exclude": ["rootfilesin:long"]},
        ["--include", "path:long", "--exclude", "rootfilesin:long"],
    ),
    "nothing": ({"include": ["path:nowhere"]}, ["--include", "path:nowhere"]),
}


@case(*FILTERS)
def files_by_a_filter(world, name):
    """The paths are those that the client's own matching finds."""
    wanted, options = FILTERS[name]
    repository = world.variant("inline")
    head = world.node(repository, "desc('more draft')")
    command = ("files", "-R", repository, "--rev", head, "--template", "{path|hex}\n", *options)
    listing = world.old.out(*command, expect=(0, 1), cwd=repository)
    with world.serving(repository) as server:
        revisions = json.dumps([{"type": "changesetexplicit", "nodes": [f"hex:{head}"]}])
        arguments = (f"revisions={revisions}", f"pathfilter={json.dumps(wanted)}", "fields=revision")
        out = call(world, server.url(repository), "filesdata", *arguments)
    records = [record for record in map(json.loads, out.splitlines()) if isinstance(record, dict)]
    paths = [bytes_of(record["path"]).hex() for record in records if "path" in record]
    check(sorted(paths), sorted(listing.decode().split()))


@case()
def a_filter_of_another_kind_is_refused(world):
    repository = world.variant("inline")
    head = world.node(repository, "desc('more draft')")
    revisions = json.dumps([{"type": "changesetexplicit", "nodes": [f"hex:{head}"]}])
    with world.serving(repository) as server:
        arguments = (f"revisions={revisions}", 'pathfilter={"include":["re:.*"]}')
        said = call(world, server.url(repository), "filesdata", *arguments, expect=1)
    if "path:" not in said or "rootfilesin:" not in said:
        raise AssertionError(said)


@case("changesetdata", "manifestdata", "filedata")
def what_only_a_secret_changeset_has_is_unknown(world, command):
    """By its node, whatever the store holds."""
    repository = world.variant("inline")
    secret = world.node(repository, "desc('SECRET-MARKER child')")
    template = {"manifestdata": "{manifest % '{node}'}", "filedata": "{files}"}.get(command, "{node}")
    node = world.old.out("log", "-R", repository, "--rev", secret, "--template", template).decode()
    if command == "filedata":
        lines = world.old.out("manifest", "--debug", "-R", repository, "--rev", secret).splitlines()
        node = next(line[:40].decode() for line in lines if line.endswith(b" secret"))
    arguments = {
        "changesetdata": [f'revisions=[{{"type":"changesetexplicit","nodes":["hex:{node}"]}}]', "fields=revision"],
        "manifestdata": [f"nodes=hex:{node}", "tree=", "fields=revision"],
        "filedata": ["path=secret", f"nodes=hex:{node}", "fields=revision"],
    }[command]
    with world.serving(repository) as server:
        said = call(world, server.url(repository), command, *arguments, expect=1)
    if "MARKER" in said:
        raise AssertionError(said)


@case()
def raw_files_are_offered_only_where_nothing_is_secret(world):
    secret = world.variant("inline")
    public = world.reference(world.variant("inline"), "--rev", "v1.0").path
    for repository, offered in ((secret, False), (public, True)):
        with world.serving(repository) as server:
            handshake = json.loads(call(world, server.url(repository), "handshake").splitlines()[0])
        check("rawstorefiledata" in handshake["commands"], offered)


def bytes_of(value):
    """Bytes as the debugging client prints them."""
    return bytes.fromhex(value[4:]) if value.startswith("hex:") else value.encode()


def call(world, url, command, *arguments, expect=0):
    """Runs a command by the debugging client; gives what it printed."""
    words = [world.binary, "hg", "call", "--bytes", "100000", url, command, *arguments]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=CALL_SECONDS)
    if (done.returncode == 0) != (expect == 0):
        raise AssertionError(f"{command} ended with {done.returncode}: {done.stdout[-1000:]}{done.stderr[-1000:]}")
    return done.stdout + done.stderr
