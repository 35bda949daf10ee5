"""Makes histories and keeps them in a cache outside the repository."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random

from .recipes import RECIPES, commits
from .stream import Stream

ROOT = Path(__file__).resolve().parents[4]
FETCH_SECONDS = 900
CONVERT_SECONDS = 4 * 3600
CONVERTER = "6.0.3"


def cache():
    """The directory of archives and histories."""
    named = os.environ.get("FINGERPOST_BENCH_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "fingerpost-bench"


def repository(name):
    """The path of the repository of a recipe; it is made if it is not there."""
    recipe = RECIPES[name]
    place = cache() / name
    if json_of(place / "made.json") != recipe.fingerprint():
        make(recipe, place)
    return place / "hg"


def make(recipe, place):
    paths = [release(*named) for named in recipe.releases]
    # A name of this process's own: two may be making the same one.
    unfinished = place.with_name(f".{place.name}.{os.getpid()}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        say(f"{recipe.name}: writing the stream")
        count = import_stream(recipe, paths, unfinished / "git")
        say(f"{recipe.name}: converting {count} commits")
        convert(unfinished / "git", unfinished / "hg")
        shutil.rmtree(unfinished / "git")
        (unfinished / "made.json").write_text(json.dumps(recipe.fingerprint(), indent=1))
        shutil.rmtree(place, ignore_errors=True)
        unfinished.rename(place)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def release(name, version):
    """Where a release lies; an archive is fetched once."""
    if name == "installed":
        (found,) = (ROOT / f".venv-hg-{version}" / "lib").glob("python3*/site-packages")
        return found
    archives = cache() / "archives"
    archives.mkdir(parents=True, exist_ok=True)
    found = archive(archives, name, version)
    if not found:
        say(f"fetching {name} {version}")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        command += ["--ignore-requires-python", "--dest", str(archives), f"{name}=={version}"]
        subprocess.run(command, check=True, timeout=FETCH_SECONDS)
        found = archive(archives, name, version)
    if not found:
        raise FileNotFoundError(f"{name} {version} is not among the archives that were fetched")
    return found


def archive(directory, name, version):
    """Archives are named with or without the dashes and capitals of their project."""
    wanted = f"{name}-{version}.tar.gz".replace("_", "-").lower()
    return next((path for path in directory.iterdir() if path.name.replace("_", "-").lower() == wanted), None)


def import_stream(recipe, paths, git):
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", git], check=True)
    command = ["git", "-C", git, "fast-import", "--quiet"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    with process.stdin as pipe:
        # The stream's dates and the order of the commits do not disturb each other.
        stream = Stream(pipe, Random(f"{recipe.name} stream"))
        count = 0
        for commit in commits(recipe, paths, Random(recipe.name)):
            stream.commit(commit)
            count += 1
    if process.wait() != 0:
        raise RuntimeError(f"git fast-import ended with {process.returncode}")
    if count != recipe.changesets:
        raise RuntimeError(f"{recipe.name}: {count} commits instead of {recipe.changesets}")
    return count


def convert(git, destination):
    hg = ROOT / f".venv-hg-{CONVERTER}" / "bin" / "hg"
    command = [hg, "convert", "--quiet", "--datesort", "--config", "extensions.convert="]
    command += ["--config", "convert.git.saverev=no", git, destination]
    environment = os.environ | {"HGRCPATH": "", "HGPLAIN": "1", "HGENCODING": "utf-8"}
    subprocess.run(command, check=True, env=environment, timeout=CONVERT_SECONDS)


def json_of(path):
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def say(text):
    print(text, file=sys.stderr, flush=True)
