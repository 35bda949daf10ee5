"""What the program says of repositories on disk, and stores that are unusual or damaged."""

import shutil
import subprocess

from hg import OLD, Hg
from torture import SETTINGS, Torture
from variants import REFUSED, SERVED, publish

from . import case, check

VERIFY_SECONDS = 120
CENSOR = {"extensions.censor": "", "censor.policy": "ignore"}


@case(*(variant.name for variant in SERVED))
def verification_of_a_sound_store(world, name):
    done = verify(world, world.variant(name))
    if done.returncode != 0:
        raise AssertionError(f"it ends with {done.returncode}: {done.stdout}{done.stderr}")


@case(*(variant.name for variant in REFUSED))
def verification_refuses_by_name(world, name):
    done = verify(world, world.variant(name))
    variant = next(variant for variant in REFUSED if variant.name == name)
    said = done.stdout + done.stderr
    if done.returncode == 0 or not any(required in said for required in variant.requires):
        raise AssertionError(f"it ends with {done.returncode}: {said}")


@case("data/chain.i", "data/source.i", "00manifest.i", "00changelog.i", "data/big.d")
def damage_is_found_and_named(world, name):
    """A flipped byte in the middle of a file: verification names it, and a client gets an error, never other contents."""
    repository = world.own_variant("inline")
    damaged = repository / ".hg" / "store" / name
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 0x5A
    damaged.write_bytes(data)
    done = verify(world, repository)
    said = done.stdout + done.stderr
    what = {"00manifest.i": "manifest", "00changelog.i": "changelog"}.get(name, name.split("/")[-1].rsplit(".", 1)[0])
    if done.returncode == 0 or what not in said or "panicked" in said:
        raise AssertionError(f"it ends with {done.returncode}: {said}")
    check_client_fails(world, repository)


@case("data/chain.i", "data/source.i", "00manifest.i", "data/big.d")
def a_cut_file_is_found(world, name):
    repository = world.own_variant("inline")
    damaged = repository / ".hg" / "store" / name
    with damaged.open("r+b") as file:
        file.truncate(damaged.stat().st_size * 2 // 3)
    check(verify(world, repository).returncode == 0, False)
    check_client_fails(world, repository)


@case("data/chain.i", "data/source.i")
def a_missing_file_is_found(world, name):
    repository = world.own_variant("inline")
    (repository / ".hg" / "store" / name).unlink()
    check(verify(world, repository).returncode == 0, False)
    check_client_fails(world, repository)


def check_client_fails(world, repository):
    """A clone ends with an error and not by a limit of time; the server goes on."""
    with world.serving(repository) as server:
        done = world.client.run("clone", "--noupdate", server.url(repository), world.place("clone"), expect=None)
        if done.status == 0:
            raise AssertionError("the clone succeeded")
        check(server.process.poll(), None)
        if "panicked" in server.log():
            raise AssertionError(server.log())


@case()
def tree_manifests(world):
    """The client of version 2 cannot read them, so what counts is a clear answer, and the same for verification."""
    repository = world.place("tree")
    hg = Hg(OLD, settings=SETTINGS | {"experimental.treemanifest": "yes"})
    hg.run("init", repository)
    Torture(hg, repository).build()
    publish(repository, "no")
    done = verify(world, repository)
    with world.serving(repository) as server:
        client = world.client.run("clone", "--noupdate", server.url(repository), world.place("clone"), expect=None)
        log = server.log()
    said = done.stdout + done.stderr + client.err.decode() + log
    if "panicked" in said or (done.returncode != 0 and "treemanifest" not in said):
        raise AssertionError(said)


@case()
def a_censored_file(world):
    """Its tombstone is served and its text is gone. The client's verification complains of the tombstone, as it does in a
    clone that was made without a server."""
    repository = world.place("censored")
    hg = Hg(OLD, settings=CENSOR)
    hg.run("init", repository)
    for text in ("CENSORED-TEXT\n", "fine\n"):
        (repository / "file").write_text(text)
        hg.run("commit", "--addremove", "--message", "commit", "--date", "1000 0", "-R", repository)
    hg.run("censor", "-R", repository, "--rev", "0", "--tombstone", "gone", repository / "file", cwd=repository)
    check(verify(world, repository).returncode, 0)
    clones = world.place("from-server"), world.place("from-directory")
    with world.serving(repository) as server:
        world.client.run("clone", server.url(repository), clones[0])
    world.old.run("clone", "--pull", repository, clones[1])
    for clone in clones:
        done = world.old.run("verify", "-R", clone, expect=(1,))
        check((done.err.count(b"censored file data"), b"1 integrity errors" in done.err), (1, True))
        check(world.old.run("cat", "-R", clone, "--rev", "0", clone / "file", expect=None).status, 255)
        check((clone / "file").read_text(), "fine\n")


@case()
def nothing_is_written_to_a_repository(world):
    """Not even a cache or a lock: the repository may be read only, and another's."""
    repository = world.place("untouched")
    shutil.copytree(world.variant("inline"), repository, symlinks=True)
    before = listing(repository)
    with world.serving(repository) as server:
        world.clone(server.url(repository))
    verify(world, repository)
    check(listing(repository), before)


def listing(repository):
    return sorted((str(path), path.lstat().st_size, path.lstat().st_mtime_ns) for path in repository.rglob("*"))


def verify(world, repository):
    """`fingerpost hg verify`."""
    command = [str(world.binary), "hg", "verify", str(repository)]
    return subprocess.run(command, capture_output=True, text=True, timeout=VERIFY_SECONDS)
