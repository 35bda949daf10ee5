"""Clients that do not speak version 2: what they are told, to the letter."""

import urllib.request

from hg import NEW, OLD, V2, Hg

from . import case, check

# By release and what its user has switched on; a current release no longer knows the option.
CLIENTS = {
    f"{OLD} without the option": (OLD, {}),
    NEW: (NEW, {}),
    f"{NEW} with the option": (NEW, V2),
}
# What each command prints before it is told, on its standard output.
COMMANDS = {
    "clone": "",
    "pull": "pulling from {url}\n",
    "push": "pushing to {url}\n",
    "id": "",
    "incoming": "",
    "outgoing": "comparing with {url}\n",
}
SECONDS = 30


@case(*(f"{client}, {command}" for client in CLIENTS for command in COMMANDS))
def a_client_without_version_2_stops_with_one_sentence(world, which):
    client, _, command = which.rpartition(", ")
    version, settings = CLIENTS[client]
    repository = world.variant("inline")
    own = world.once(("own", version), lambda: own_repository(world, version))
    with world.serving(repository) as server:
        url = server.url(repository)
        words = [command, url]
        if command == "clone":
            words.append(world.place("clone"))
        elif command != "id":
            words += ["-R", own]
        done = Hg(version, settings=settings).run(*words, expect=None)
        sentence = answer(url)
    check(done.err, b"abort: remote error:\n" + sentence)
    check((done.status, done.out.decode()), (255, COMMANDS[command].format(url=url)))


@case()
def the_sentence_is_one_line_and_names_the_option(world):
    repository = world.variant("inline")
    with world.serving(repository) as server:
        sentence = answer(server.url(repository)).decode("ascii")
    check((sentence.count("\n"), sentence[-1:]), (1, "\n"))
    for word in ("hg 4.8 to 6.0", *V2):
        if word not in sentence:
            raise AssertionError(f"{word} is not in {sentence}")


@case("id", "incoming")
def what_the_client_of_version_2_cannot_do(world, command):
    """It lacks the method behind these, and says so with a traceback, whatever the server. Before that it asks properly."""
    repository = world.variant("inline")
    own = world.once(("own", OLD), lambda: own_repository(world, OLD))
    with world.serving(repository) as server:
        words = [command, "--force", "-R", own] if command == "incoming" else [command]
        done = world.client.run(*words, server.url(repository), expect=None)
    if done.status == 0:
        raise AssertionError(f"{command} works: {done.out!r}")


def answer(url):
    """The server's answer to a client that offers no upgrade."""
    with urllib.request.urlopen(f"{url.rstrip('/')}/?cmd=capabilities", timeout=SECONDS) as response:
        check((response.status, response.headers["Content-Type"]), (200, "application/hg-error"))
        return response.read()


def own_repository(world, version):
    """A repository with a changeset to push."""
    hg, place = Hg(version), world.place("own")
    hg.run("init", place)
    (place / "file").write_text("contents\n")
    hg.run("commit", "--addremove", "--message", "mine", "--date", "1000 0", "-R", place)
    return place
