"""Builds behind an agent that asks its server over HTTP, and what goes wrong between the two."""

import asyncio
import hashlib
import json
import os
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

from faults import Link
from server import ADMIN, Address, certificate, made_certificate

from . import METHOD, case, check, numbered, refused
from .agent import ADDED, LOCAL, LOOKUPS, REPORTS, back, build, keys_of, world

# Deletions are heard of within this time, in seconds.
HEARD = 10
KNOWN = 10_000
HTTP = ("tcp", "wss")


def schemes(farm):
    """How an agent asks this farm's servers; nothing is BitBake's own protocol."""
    return ["https"] if farm.transport == "wss" else ["http", ""]


async def linked(farm, *options, scheme=None):
    """A server with twenty tasks, a link to it, an agent behind the link, and a client of it that knows them."""
    server = await farm.server(admin=True)
    direct = await farm.client(server)
    for number in range(20):
        await direct.report(METHOD, numbered(number), numbered(number + 1000), numbered(number))
    link = await farm.entered(Link(server.address))
    agent = await farm.agent(link.url(schemes(farm)[0] if scheme is None else scheme), *options)
    await soon(lambda: hears(agent), True)
    client = await farm.client(agent)
    check(await client.unihashes(keys_of(20)), [numbered(number) for number in range(20)])
    return server, link, agent, client


async def hears(agent):
    """Whether it hears of deletions, if it can: what it was told before that it asks again."""
    followed = (await agent.status())["followed"]
    return followed is None or followed["current_seconds"] is not None


async def fails_in_mid_build(farm, fault, over=None):
    """A build in the middle of which something begins to go wrong. Says what it took, and fails if builds wait."""
    for scheme in over or schemes(farm):
        _, link, agent, client = await linked(farm, scheme=scheme)
        half = LOOKUPS // 2
        found, before = await build(client, 10**6, half, 0)

        async def begin(link=link):
            begun = getattr(link, fault)()
            if begun is not None:
                await begun

        beginning = asyncio.ensure_future(begin())
        rest, took = await build(client, 10**6 + half, half, REPORTS)
        await beginning
        check(found + rest, [None] * LOOKUPS)
        # What was answered before is answered still.
        check(await client.unihashes(keys_of(20)), [numbered(number) for number in range(20)])
        what = f"{fault}, {scheme or 'native'}: {half} look-ups in {before:.2f} s before it"
        print(f"     {what}, as many and {REPORTS} reports in {took:.2f} s after it")
        if took > LOCAL + ADDED:
            raise AssertionError(f"the build took {took:.1f} s")
        await link.go_on()
        await back(client, keys_of(20))


async def soon(ask, expected, seconds=HEARD):
    """Asks until it is as expected; gives how long that took."""
    began = time.monotonic()
    while (found := await ask()) != expected:
        if time.monotonic() - began > seconds:
            raise AssertionError(f"after {seconds} s it is {found} and not {expected}")
        await asyncio.sleep(0.05)
    return time.monotonic() - began


@case(*HTTP)
async def an_agent_over_http_answers_as_its_server(farm):
    server, direct, agent, client = await world(farm, url=True)
    check((await agent.status())["server"]["address"].rstrip("/"), server.url)
    expected = await direct.unihashes(keys_of(40))
    for _ in range(2):
        check(await client.unihashes(keys_of(40)), expected)
    check(await client.exist([numbered(1), numbered(30)]), [True, False])
    for everything in (False, True):
        check(await client.get(METHOD, numbered(1), everything), await direct.get(METHOD, numbered(1), everything))
        check(await client.get(METHOD, numbered(99), everything), None)
    outhash = numbered(1001)
    check(await client.get_outhash(METHOD, outhash, numbered(1)), await direct.get_outhash(METHOD, outhash, numbered(1)))
    check(await client.report(METHOD, numbered(50), outhash, numbered(50), owner="me", outhash_siginfo="\u00e4\n" * 40_000), numbered(1))
    check(await direct.unihashes([(METHOD, numbered(50))]), [numbered(1)])
    check(await client.unihashes([(METHOD, numbered(50))]), [numbered(1)])
    check(await client.report_equivalent(METHOD, numbered(51), numbered(7)), numbered(7))
    check(await direct.unihashes([(METHOD, numbered(51))]), [numbered(7)])
    check((await client.call("get-stats"))["requests"].keys(), (await direct.call("get-stats"))["requests"].keys())
    marked = await client.batch("gc-mark-stream", [json.dumps({"mark": "K", "where": {"unihash": numbered(2)}})])
    check([json.loads(answer)["count"] for answer in marked], [1])
    check(await client.remove({"taskhash": numbered(51)}), 1)
    admin = await farm.client(agent, login=ADMIN)
    check((await admin.call("get-all-users"))["users"][0]["username"], ADMIN[0])
    check(client.connections, 1)


@case(*HTTP)
async def a_black_hole_in_mid_build_costs_a_few_seconds(farm):
    await fails_in_mid_build(farm, "hang")


@case(*HTTP)
async def a_server_that_refuses_connections_costs_a_build_nothing(farm):
    await fails_in_mid_build(farm, "refuse")


@case(*HTTP)
async def a_server_that_resets_costs_a_build_nothing(farm):
    await fails_in_mid_build(farm, "reset")


@case(*HTTP)
async def a_server_that_talks_garbage_costs_a_build_nothing(farm):
    await fails_in_mid_build(farm, "talk_garbage")


@case("tcp")
async def a_server_that_fails_at_everything_costs_a_build_nothing(farm):
    await fails_in_mid_build(farm, "fail", ["http"])


@case("tcp")
async def a_certificate_that_is_over_is_not_believed(farm):
    server = await farm.server()
    direct = await farm.client(server)
    # It would be known, and the certificate is believed in all but its time. A server does not start with it.
    await direct.report(METHOD, numbered(10**6), numbered(1), numbered(1))
    over = made_certificate(days=-1)
    certificate, key = (over[f"FINGERPOST_TLS__{name}"] for name in ("CERTIFICATE", "KEY"))
    link = await farm.entered(Link(server.address, certificate, key))
    agent = await farm.agent(link.url("https"), environment={"SSL_CERT_FILE": certificate})
    client = await farm.client(agent)
    found, took = await build(client, 10**6)
    check(found, [None] * LOOKUPS)
    why = (await agent.status())["server"]["why"] or ""
    print(f"     expired: {took:.2f} s, {why}")
    if "expired" not in why.lower() or took > LOCAL + ADDED:
        raise AssertionError(f"{took:.1f} s: {why}")


@case("wss")
async def a_certificate_of_nobody_known_is_not_believed(farm):
    server = await farm.server(settings=made_certificate())
    agent = await farm.agent(server.url, environment={"SSL_CERT_FILE": certificate()["FINGERPOST_TLS__CERTIFICATE"]})
    client = await farm.client(agent)
    check(await client.unihashes(keys_of(100)), [None] * 100)
    check(await client.report(METHOD, numbered(1), numbered(2), numbered(3)), numbered(3))
    check((await agent.status())["spool"]["count"], 1)


@case(*HTTP)
async def the_agents_full_disk_keeps_no_build_waiting(farm):
    server = await farm.server()
    link = await farm.entered(Link(server.address))
    agent = await farm.agent(link.url(schemes(farm)[0]), file_bytes=200_000)
    await soon(lambda: hears(agent), True)
    client = await farm.client(agent)
    check(await client.report(METHOD, numbered(0), numbered(1), numbered(0)), numbered(0))
    # Now the reports have to be kept here, and cannot all be.
    await link.refuse()
    began = time.monotonic()
    for number in range(10**6, 10**6 + REPORTS):
        answered = await client.report(METHOD, numbered(number), numbered(number), numbered(number), outhash_siginfo="x" * 2000)
        check(answered, numbered(number))
    took = time.monotonic() - began
    check(await client.unihashes(keys_of(1)), [numbered(0)])
    status = await agent.status()
    kept, lost = status["spool"]["count"], status["counts"]["unspooled"]
    print(f"     full disk: {took:.2f} s for {REPORTS} reports, {kept} kept, {lost} not")
    if lost == 0 or took > LOCAL + ADDED:
        raise AssertionError(f"{took:.1f} s, {status}")
    await link.go_on()
    # Each that was kept reaches the server.
    await soon(lambda: spooled(agent), 0, 60)
    direct = await farm.client(server)
    known = await direct.unihashes([(METHOD, numbered(number)) for number in range(10**6, 10**6 + REPORTS)])
    delivered = sum(unihash is not None for unihash in known)
    if delivered < kept:
        raise AssertionError(f"{delivered} of {kept} are on the server")


async def spooled(agent):
    return (await agent.status())["spool"]["count"]


@case(*HTTP)
async def the_second_of_two_servers_answers_while_the_first_hangs(farm):
    server = await farm.server()
    direct = await farm.client(server)
    for number in range(20):
        await direct.report(METHOD, numbered(number), numbered(number + 1000), numbered(number))
    link = await farm.entered(Link(server.address))
    agent = await farm.agent(link.url(schemes(farm)[0]), "--server", server.url, "--snapshots=false")
    client = await farm.client(agent)
    check(await client.unihashes(keys_of(1)), [numbered(0)])
    link.hang()
    began = time.monotonic()
    for number in range(1, 20):
        check(await client.unihashes([(METHOD, numbered(number))]), [numbered(number)])
        check(await client.report(METHOD, numbered(number + 10**6), numbered(number + 1000), numbered(1)), numbered(number))
    took = time.monotonic() - began
    print(f"     second server: {took:.2f} s ({schemes(farm)[0]})")
    if took > ADDED:
        raise AssertionError(f"{took:.1f} s")
    check((await agent.status())["server"]["address"].rstrip("/"), server.url)
    await link.go_on()


@case(*HTTP)
async def reports_are_kept_and_brought_over_http(farm):
    server, link, agent, client = await linked(farm)
    await link.refuse()
    for number in range(100, 200):
        # Of two with one output the first names it, here as there.
        output = number // 2
        check(await client.report(METHOD, numbered(number), numbered(10**6 + output), numbered(number)), numbered(2 * output))
    # What may have been on its way when the connection broke is sent again.
    check(await spooled(agent), 100)
    expected = [numbered(number // 2 * 2) for number in range(100, 200)]
    keys = [(METHOD, numbered(number)) for number in range(100, 200)]
    check(await client.unihashes(keys), expected)
    await agent.kill()
    await agent.start()
    client = await farm.client(agent)
    check(await client.unihashes(keys), expected)
    await link.go_on()
    await soon(lambda: spooled(agent), 0, 60)
    check(await (await farm.client(server)).unihashes(keys), expected)
    check(await client.unihashes(keys), expected)


@case(*HTTP)
async def a_login_costs_nothing_while_the_server_hangs(farm):
    password = Path(farm.directory.name) / "password"
    password.write_text(ADMIN[1])
    _, link, agent, client = await linked(farm, "--username", ADMIN[0], "--password-file", password)
    link.hang()
    began = time.monotonic()
    # Each task of a build connects, and logs in.
    for number in range(50):
        each = LOOKUPS // 50
        task = await farm.client(agent, login=ADMIN)
        found, _ = await build(task, 10**6 + number * each, each, 0)
        check(found, [None] * each)
        await task.close()
    took = time.monotonic() - began
    print(f"     login, black hole: {LOOKUPS} look-ups of 50 tasks in {took:.2f} s ({schemes(farm)[0]})")
    if took > LOCAL + ADDED:
        raise AssertionError(f"{took:.1f} s")
    await link.go_on()
    await back(client, keys_of(20))


def hashed(number):
    return hashlib.sha256(str(number).encode()).hexdigest()


def report_many(server, count):
    """Brings tasks to a server at once."""
    reports = [
        {"method": METHOD, "taskhash": hashed(number), "outhash": hashed(-number - 1), "unihash": hashed(number)}
        for number in range(count)
    ]
    body = json.dumps(reports).encode()
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(f"{server.url}/v1/reports/batch", body, headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        check(len(json.load(answer)), count)


async def with_snapshot(farm, count, *options):
    """A server with so many tasks that made a snapshot of them, and an agent that has it."""
    server = await farm.server()
    await asyncio.to_thread(report_many, server, count)
    await server.kill()
    server.settings = {
        "FINGERPOST_SNAPSHOTS__DIRECTORY": f"{server.path}.snapshots",
        "FINGERPOST_SNAPSHOTS__EVERY_HOURS": "1",
        "FINGERPOST_SNAPSHOTS__PUBLISHED_ONLY": "false",
    }
    await server.start()
    agent = await made_and_fetched(farm, server, count, *options)
    return server, agent, await farm.client(agent)


async def made_and_fetched(farm, server, count, *options):
    directory = Path(f"{server.path}.snapshots")

    async def made():
        return any(directory.glob("*/manifest.json"))

    await soon(made, True, 30)
    agent = await farm.agent(server.url, *options)

    async def followed():
        found = (await agent.status())["followed"] or {}
        return found.get("snapshot_rows", 0), found.get("knows_all", False)

    await soon(followed, (count, True), 30)
    return agent


@case(*HTTP)
async def what_is_in_a_snapshot_is_not_asked_for(farm):
    server, agent, client = await with_snapshot(farm, KNOWN)
    keys = [(METHOD, hashed(number)) for number in range(KNOWN)]
    began = time.monotonic()
    check(await client.unihashes(keys), [hashed(number) for number in range(KNOWN)])
    together = time.monotonic() - began
    unknown = [(METHOD, hashed(number)) for number in range(KNOWN, 2 * KNOWN)]
    began = time.monotonic()
    check(await client.unihashes(unknown), [None] * KNOWN)
    missing = time.monotonic() - began
    began = time.monotonic()
    for key in unknown[:1000]:
        check(await client.unihashes([key]), [None])
    singly = time.monotonic() - began
    check((await agent.status())["counts"]["asked"], 0)
    print(f"     snapshot: {KNOWN} known in {together * 1e3:.0f} ms, {KNOWN} unknown in {missing * 1e3:.0f} ms, "
          f"1000 singly in {singly * 1e3:.0f} ms; none asked ({schemes(farm)[0]})")  # fmt: skip
    # The server's death changes none of it.
    await server.kill()
    check(await client.unihashes(keys[:100]), [hashed(number) for number in range(100)])


@case(*HTTP)
async def what_the_server_deletes_and_adds_is_heard_of(farm):
    server, agent, client = await with_snapshot(farm, 1000)
    direct = await farm.client(server)
    # One that was looked up here, and one that was not.
    check(await client.unihashes([(METHOD, hashed(1))]), [hashed(1)])
    for number in (1, 2):
        await direct.remove({"taskhash": hashed(number)})
    gone = [(METHOD, hashed(number)) for number in (1, 2)]
    deleted = await soon(lambda: client.unihashes(gone), [None, None])
    check(await client.unihashes([(METHOD, hashed(3))]), [hashed(3)])
    await direct.report(METHOD, numbered(5), numbered(6), numbered(7))
    added = await soon(lambda: client.unihashes([(METHOD, numbered(5))]), [numbered(7)])
    print(f"     a removal was heard of after {deleted:.1f} s, an addition after {added:.1f} s")
    check((await agent.status())["counts"]["asked"], 0)


@case("tcp")
async def what_is_remembered_needs_no_question_while_deletions_are_heard_of(farm):
    server, _, agent, client = await world(farm, "--snapshots=false", url=True)
    await soon(lambda: hears(agent), True)
    check(await client.unihashes(keys_of(20)), [numbered(number) for number in range(20)])
    asked = (await agent.status())["counts"]["asked"]
    # Longer than an answer is good for where nobody hears of deletions.
    await asyncio.sleep(12)
    check(await client.unihashes(keys_of(20)), [numbered(number) for number in range(20)])
    check((await agent.status())["counts"]["asked"], asked)


@case("tcp")
async def an_agent_without_snapshots_hears_of_deletions(farm):
    server, direct, _, client = await world(farm, "--snapshots=false", url=True)
    check(await client.unihashes(keys_of(20)), [numbered(number) for number in range(20)])
    await direct.remove({"taskhash": numbered(4)})
    await soon(lambda: client.unihashes([(METHOD, numbered(4))]), [None])


@case(*HTTP)
async def a_snapshot_answers_while_the_server_is_away_and_after_a_restart(farm):
    server, agent, client = await with_snapshot(farm, 1000)
    direct = await farm.client(server)
    await direct.remove({"taskhash": hashed(1)})
    await soon(lambda: client.unihashes([(METHOD, hashed(1))]), [None])
    await agent.stop()
    await server.kill()
    await agent.start()
    client = await farm.client(agent)
    keys = [(METHOD, hashed(number)) for number in (0, 1, 2)]
    # What was deleted stays so.
    await soon(lambda: client.unihashes(keys), [hashed(0), None, hashed(2)])


class Rings:
    """Key rings of a test, made with the program."""

    def __init__(self, farm):
        self.binary, self.directory = farm.binary, Path(farm.directory.name)

    def run(self, *words):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FINGERPOST_")}
        subprocess.run([self.binary, *map(str, words)], check=True, capture_output=True, timeout=30, env=environment)

    def made(self, name):
        """A ring with a secret, and the one for readers."""
        secret, public = (self.directory / f"{name}{suffix}.toml" for suffix in ("", "-public"))
        self.run("key", "new", "--ring", secret, "--name", name)
        self.run("key", "export-public", "--ring", secret, "--output", public)
        return secret, public


@case(*HTTP)
async def only_what_somebody_signed_who_is_believed_is_told(farm):
    server = await farm.server()
    rings = Rings(farm)
    ours, readers = rings.made("ours")
    theirs, _ = rings.made("theirs")
    direct = await farm.client(server)
    for number, ring in enumerate((ours, None, theirs)):
        signing = ("--sign-with", ring) if ring else ()
        task, output = numbered(number), numbered(number + 1000)
        rings.run("client", "--address", server.address, *signing, "report", METHOD, task, output, task)
    keys = keys_of(3)
    check(await direct.unihashes(keys), [numbered(number) for number in range(3)])
    for policy, expected in (
        ("require", [numbered(0), None, None]),
        ("prefer", [numbered(0), numbered(1), None]),
    ):
        agent = await farm.agent(server.url, "--signatures", policy, "--ring", readers)
        client = await farm.client(agent)
        for _ in range(2):
            check(await client.unihashes(keys), expected)
        check(await client.get(METHOD, numbered(2)), None)
        check((await client.get(METHOD, numbered(0)))["unihash"], numbered(0))
        for number, unihash in enumerate(expected):
            task, output = numbered(number), numbered(number + 1000)
            for row in (await client.get(METHOD, task, True), await client.get_outhash(METHOD, output, task)):
                check(row and row["unihash"], unihash)
        check((await agent.status())["counts"]["disbelieved"] > 0, True)
        # Of another unihash than the reported one somebody must have signed the row.
        equivalent = {"method": METHOD, "taskhash": numbered(1), "unihash": numbered(9)}
        row = await client.call("report-equiv", equivalent)
        check(row and row["unihash"], expected[1])
        check(await client.unihashes(keys), expected)
        check(await client.report_equivalent(METHOD, numbered(8), numbered(9)), numbered(9))


@case(*HTTP)
async def a_ring_that_changes_is_read_again(farm):
    server = await farm.server()
    rings = Rings(farm)
    ours, readers = rings.made("ours")
    _, others = rings.made("others")
    task = (METHOD, numbered(1))
    rings.run("client", "--address", server.address, "--sign-with", ours, "report", *task, numbered(2), numbered(1))
    agent = await farm.agent(server.url, "--signatures", "require", "--ring", readers)
    client = await farm.client(agent)
    check(await client.unihashes([task]), [numbered(1)])
    ring = readers.read_bytes()

    def write(content):
        new = readers.with_suffix(".new")
        new.write_bytes(content)
        new.rename(readers)

    # What cannot be read changes nothing.
    write(b"no ring")
    await said(agent, "a key ring cannot be read", 20)
    check(await client.unihashes([task]), [numbered(1)])
    write(others.read_bytes())
    await soon(lambda: client.unihashes([task]), [None], 20)
    # Neither do those who come after a restart find it.
    await agent.stop()
    await agent.start()
    client = await farm.client(agent)
    check(await client.unihashes([task]), [None])
    write(ring)
    await soon(lambda: client.unihashes([task]), [numbered(1)], 20)


async def said(agent, words, seconds):
    """Waits until it says something in its log."""

    async def is_said():
        return words in agent.log()

    await soon(is_said, True, seconds)


@case(*HTTP)
async def what_an_agent_signs_others_believe(farm):
    server = await farm.server()
    ours, readers = Rings(farm).made("ours")
    config = Path(farm.directory.name) / "agent.toml"
    user = f"users = [{os.getuid()}]\npermissions = ['@read', '@report']\nsign = true\n"
    config.write_text(f"[[profiles]]\nname = 'ci'\n{user}")
    signing = await farm.agent(server.url, "--config", config, "--sign-with", ours, "--signatures", "require")
    reading = await farm.agent(server.url, "--signatures", "require", "--ring", readers)
    client, other = await farm.client(signing), await farm.client(reading)
    check(await client.report(METHOD, numbered(1), numbered(2), numbered(1)), numbered(1))
    await soon(lambda: other.unihashes(keys_of(2)), [None, numbered(1)])
    check((await signing.status())["counts"]["signed"], 1)


def key_of(snapshot):
    return (snapshot / "manifest.sig").read_text().split(":")[1]


async def listed_key(server):
    """The key that the server says its newest snapshot is signed with; it looks once a second."""
    listing = await asyncio.to_thread(urllib.request.urlopen, f"{server.url}/v1/snapshots", timeout=10)
    with listing:
        return json.load(listing)["snapshots"][0]["signed_by"]


@case("tcp")
async def a_snapshot_is_believed_only_of_its_publishers(farm):
    rings = Rings(farm)
    ours, publishers = rings.made("ours")
    theirs, _ = rings.made("theirs")
    server, _, _ = await with_snapshot(farm, 1000)
    (snapshot,) = Path(f"{server.path}.snapshots").glob("snapshot-*")
    for ring, rows in ((theirs, 0), (ours, 1000)):
        rings.run("snapshot", "publish", snapshot, "--key", ring)
        await soon(lambda: listed_key(server), key_of(snapshot))
        agent = await farm.agent(server.url, "--publishers", publishers)
        client = await farm.client(agent)

        async def settled(agent=agent):
            followed = (await agent.status())["followed"] or {}
            return followed.get("snapshot_rows", 0), followed.get("current_seconds") is not None

        await soon(settled, (rows, True), 30)
        # The server is believed all the same.
        check(await client.unihashes([(METHOD, hashed(1))]), [hashed(1)])
        check((await agent.status())["counts"]["asked"], 0 if rows else 1)


@case(*HTTP)
async def an_agent_that_is_killed_between_look_ups_is_found_again(farm):
    _, _, agent, client = await world(farm, url=True)
    check(await client.unihashes(keys_of(1)), [numbered(0)])
    for number in range(1, 4):
        await agent.kill()
        await agent.start()
        check(await client.unihashes([(METHOD, numbered(number))]), [numbered(number)])
    check(client.connections, 4)
    # Without another one BitBake hears of it at once, and does not wait.
    await agent.kill()
    began = time.monotonic()
    await refused(client.unihashes([(METHOD, numbered(9))]), OSError)
    check(time.monotonic() - began < 1, True)


@case("tcp")
async def builds_wait_for_an_agent_that_is_killed_where_somebody_else_holds_the_socket(farm):
    server = await farm.server()
    path = Path(farm.directory.name) / "held.sock"
    with socket.socket(socket.AF_UNIX) as held:
        held.bind(str(path))
        held.listen(64)
        agent = await farm.agent(server.url, held=held)
        client = await farm.client(Address(f"unix://{path}"))
        check(await client.report(METHOD, numbered(0), numbered(1), numbered(0)), numbered(0))
        for _ in range(3):
            await agent.kill()
            asked = asyncio.ensure_future(client.unihashes(keys_of(2)))
            await asyncio.sleep(0.2)
            check(asked.done(), False)
            await agent.start()
            check(await asked, [numbered(0), None])


@case(*HTTP)
async def a_build_that_logs_in_is_asked_for_as_itself(farm):
    server = await farm.server(admin=True, anonymous="@none")
    direct = await farm.client(server, login=ADMIN)
    for number, scheme in enumerate(schemes(farm), 1):
        task, other, third = (numbered(10 * number + place) for place in range(3))
        link = await farm.entered(Link(server.address))
        agent = await farm.agent(link.url(scheme))
        builder = await farm.client(agent, login=ADMIN)
        check(await builder.report(METHOD, task, numbered(10**6 + number), task), task)
        check(await builder.unihashes([(METHOD, task), (METHOD, other)]), [task, None])
        check(await builder.exist([task]), [True])
        check((await direct.get(METHOD, task, everything=True))["owner"], ADMIN[0])
        # Nobody else is let in with that login.
        nobody = await farm.client(agent)
        check(await nobody.report(METHOD, third, numbered(10**8 + number), third), third)
        check(await direct.unihashes([(METHOD, third)]), [None])
        # What waits is brought as whoever reported it, once that user's token is known.
        await link.refuse()
        check(await builder.report(METHOD, other, numbered(10**7 + number), other), other)
        check(await spooled(agent), 1)
        await agent.kill()
        await agent.start()
        await link.go_on()
        await asyncio.sleep(1)
        check(await spooled(agent), 1)
        check(await direct.unihashes([(METHOD, other)]), [None])
        again = await farm.client(agent, login=ADMIN)
        check(await again.ping(), {"alive": True})
        await soon(lambda agent=agent: spooled(agent), 0, 60)
        check((await direct.get(METHOD, other, everything=True))["owner"], ADMIN[0])


@case(*HTTP)
async def a_report_outlives_the_token_of_who_reported(farm):
    server = await farm.server(admin=True, anonymous="@none")
    direct = await farm.client(server, login=ADMIN)
    for number, scheme in enumerate(schemes(farm), 1):
        task, other = numbered(10 * number), numbered(10 * number + 1)
        name = f"builder{number}"
        new = await direct.call("new-user", {"username": name, "permissions": ["@read", "@report"]})
        link = await farm.entered(Link(server.address))
        agent = await farm.agent(link.url(scheme))
        builder = await farm.client(agent, login=(name, new["token"]))
        admin = await farm.client(agent, login=ADMIN)
        for client in (builder, admin):
            check(await client.ping(), {"alive": True})
        await link.refuse()
        check(await builder.report(METHOD, task, numbered(10**6 + number), task), task)
        check(await admin.report(METHOD, other, numbered(10**7 + number), other), other)
        check(await spooled(agent), 2)
        new = await direct.call("refresh-token", {"username": name})
        await link.go_on()
        # It waits for its user, and keeps nobody back.
        await soon(lambda agent=agent: spooled(agent), 1, 60)
        check(await direct.unihashes([(METHOD, task), (METHOD, other)]), [None, other])
        again = await farm.client(agent, login=(name, new["token"]))
        check(await again.ping(), {"alive": True})
        await soon(lambda agent=agent: spooled(agent), 0, 60)
        check((await direct.get(METHOD, task, everything=True))["owner"], name)


@case(*HTTP)
async def reports_outlive_a_token_that_is_over(farm):
    server = await farm.server(admin=True, anonymous="@none")
    direct = await farm.client(server, login=ADMIN)
    await direct.call("new-user", {"username": "host", "permissions": ["@read", "@report"]})

    async def new_token(name):
        new = await direct.call("new-token", {"username": "host", "name": name, "permissions": ["@read", "@report"]})
        file.write_text(new["token"])
        return new["id"]

    file = Path(farm.directory.name) / "token"
    old = await new_token("old")
    link = await farm.entered(Link(server.address))
    agent = await farm.agent(link.url(schemes(farm)[0]), "--snapshots=false", "--token-file", str(file))
    client = await farm.client(agent)
    check(await client.report(METHOD, numbered(1), numbered(1001), numbered(1)), numbered(1))
    check(await direct.unihashes([(METHOD, numbered(1))]), [numbered(1)])
    await link.refuse()
    check(await client.report(METHOD, numbered(2), numbered(1002), numbered(2)), numbered(2))
    await direct.call("revoke-token", {"username": "host", "id": old})
    await link.go_on()

    async def is_refused():
        return (await agent.status())["server"]["login_refused"] is not None

    await soon(is_refused, True, 30)
    # What is reported now waits as well.
    check(await client.report(METHOD, numbered(3), numbered(1003), numbered(3)), numbered(3))
    status = await agent.status()
    check((status["spool"]["count"], status["dead_letters"], status["counts"]["refused"]), (2, 0, 0))
    check("does not take the login" in agent.log(), True)
    check(await direct.unihashes([(METHOD, numbered(2)), (METHOD, numbered(3))]), [None, None])
    await new_token("new")
    # Who looks something up finds that the login is taken.
    check(await client.unihashes([(METHOD, numbered(99))]), [None])
    await soon(lambda: spooled(agent), 0, 30)
    check(await direct.unihashes([(METHOD, numbered(2)), (METHOD, numbered(3))]), [numbered(2), numbered(3)])
    check(await is_refused(), False)


@case("tcp")
async def what_is_too_long_for_a_proxy_is_a_dead_letter(farm):
    server, link, agent, client = await linked(farm, "--snapshots=false")
    direct = await farm.client(server)
    listing = os.urandom(200_000).hex()

    async def report(number, **metadata):
        check(await client.report(METHOD, numbered(number), numbered(1000 + number), numbered(number), **metadata), numbered(number))

    await link.refuse()
    await report(100, outhash_siginfo=listing)
    await report(101)
    await link.go_on()
    link.limit(100_000)
    await soon(lambda: spooled(agent), 0, 60)
    check(await direct.unihashes([(METHOD, numbered(100)), (METHOD, numbered(101))]), [None, numbered(101)])
    letters = Path(f"{agent.path}.state/dead-letters.ndjson").read_text().splitlines()
    (letter,) = [json.loads(letter) for letter in letters]
    check("413" in letter["why"] and numbered(100) in letter["request"], True)
    # While the server answers it is no better, and nobody behind it waits.
    await report(102, outhash_siginfo=listing)
    await report(103)
    check(await direct.unihashes([(METHOD, numbered(102)), (METHOD, numbered(103))]), [None, numbered(103)])


@case("tcp")
async def a_report_that_always_fails_keeps_no_other_back(farm):
    server, link, agent, client = await linked(farm, "--snapshots=false")
    direct = await farm.client(server)
    # As a firewall that takes offence at a word.
    link.take_offence(numbered(100).encode())
    for number in (100, 101):
        check(await client.report(METHOD, numbered(number), numbered(1000 + number), numbered(number)), numbered(number))
    await soon(lambda: spooled(agent), 1, 60)
    check(await direct.unihashes([(METHOD, numbered(100)), (METHOD, numbered(101))]), [None, numbered(101)])
    await link.go_on()
    # It is not given up yet, and tried now and then.
    check((await agent.status())["dead_letters"], 0)


@case(*HTTP)
async def a_login_and_what_a_build_asks_then_share_a_wait(farm):
    server = await farm.server(admin=True)
    for scheme in schemes(farm):
        link = await farm.entered(Link(server.address))
        # It has no login of its own, and nobody who would find out that the server does not answer.
        agent = await farm.agent(link.url(scheme))
        link.hang()
        began = time.monotonic()
        builder = await farm.client(agent, login=ADMIN)
        check(await builder.unihashes(keys_of(20)), [None] * 20)
        check(await builder.exist([numbered(1)]), [False])
        check(await builder.report(METHOD, numbered(1), numbered(2), numbered(1)), numbered(1))
        took = time.monotonic() - began
        print(f"     a build's login, black hole: a build in {took:.2f} s ({scheme or 'native'})")
        if took > ADDED:
            raise AssertionError(f"{took:.1f} s")
        await link.go_on()


@case("tcp")
async def only_what_builds_look_up_is_counted_as_looked_up(farm):
    _, link, agent, client = await linked(farm, "--snapshots=false")
    await agent.stop()
    await link.refuse()
    await agent.start()
    client = await farm.client(agent)
    await soon(lambda: client.unihashes(keys_of(1)), [numbered(0)])

    async def looked_up():
        status = await agent.status()
        return status["lookups"], status["answered_locally"]

    lookups, local = await looked_up()
    # The agent looks them up on its disk, to answer reports by itself.
    for number in range(1, 20):
        check(await client.report(METHOD, numbered(number), numbered(5000 + number), numbered(77)), numbered(number))
    check(await looked_up(), (lookups, local))
    check(await client.unihashes(keys_of(20)), [numbered(number) for number in range(20)])
    check(await looked_up(), (lookups + 20, local + 20))


@case(*HTTP)
async def answers_of_before_are_on_disk(farm):
    server, link, agent, client = await linked(farm, "--snapshots=false")
    known = [numbered(number) for number in range(20)]
    # They are written every few seconds, and at the end.
    await agent.stop()
    await agent.start()
    await soon(lambda: hears(agent), True)
    client = await farm.client(agent)
    check(await client.unihashes(keys_of(20)), known)
    status = await agent.status()
    check((status["counts"]["asked"], status["hit_ratios"]["store"]), (0, 1.0))
    # What was deleted while nobody listened is not among them.
    await agent.stop()
    direct = await farm.client(server, login=ADMIN)
    await direct.remove({"taskhash": numbered(3)})
    await agent.start()
    await soon(lambda: hears(agent), True)
    client = await farm.client(agent)
    check(await client.unihashes(keys_of(20)), known[:3] + [None] + known[4:])
    # And they are better than nothing while the server is away.
    await agent.stop()
    await link.refuse()
    await agent.start()
    client = await farm.client(agent)
    await soon(lambda: client.unihashes(keys_of(20)), known[:3] + [None] + known[4:])


@case(*HTTP)
async def who_is_placed_elsewhere_gets_the_answers_of_there(farm):
    lab = f'[hashequiv.namespaces.lab]\nusers = ["{ADMIN[0]}"]\n'
    server = await farm.server(admin=True, config=lab)
    everybody, admin = await farm.client(server), await farm.client(server, login=ADMIN)
    new = await admin.call("new-user", {"username": "bob", "permissions": ["@read", "@report"]})
    bob = ("bob", new["token"])
    for number in range(40):
        await everybody.report(METHOD, numbered(number), numbered(number + 1000), numbered(number))
        await admin.report(METHOD, numbered(number), numbered(number + 1000), numbered(number + 500))
    keys, here, there = keys_of(20), list(map(numbered, range(20))), list(map(numbered, range(500, 520)))
    for scheme in schemes(farm):
        link = await farm.entered(Link(server.address))
        agent = await farm.agent(link.url(scheme))
        await soon(lambda agent=agent: hears(agent), True)
        clients = [await farm.client(agent, login=login) for login in (None, ADMIN, bob)]
        for _ in range(2):
            check([await client.unihashes(keys) for client in clients], [here, there, here])
        # What anybody may know is asked once.
        if scheme:
            asked = (await agent.status())["counts"]["asked"]
            for client in (clients[2], clients[0]):
                check(await client.unihashes([(METHOD, numbered(30))]), [numbered(30)])
            check((await agent.status())["counts"]["asked"] - asked, 1)
        await link.refuse()
        check([await client.unihashes(keys) for client in clients], [here, there, here])
        # Who comes anew may be anybody.
        late = await farm.client(agent, login=ADMIN)
        check(await late.unihashes(keys), there)
        # What one reports now is answered to that one.
        task = (METHOD, numbered(70))
        await clients[1].report(*task, numbered(1071), numbered(71))
        check([await client.unihashes([task]) for client in clients], [[None], [numbered(71)], [None]])
        await link.go_on()
        await soon(lambda admin=admin, task=task: admin.unihashes([task]), [numbered(71)], 30)
        check(await everybody.unihashes([task]), [None])
        await admin.remove({"taskhash": numbered(70)})
