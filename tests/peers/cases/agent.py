"""Builds behind an agent: what they are told while its server works, and while it does not."""

import asyncio
import json
import time
from pathlib import Path

import bb.asyncrpc

from faults import OddServer, SlowLink
from server import ADMIN, Address, free_port

from . import METHOD, case, check, numbered, refused, sha

LOOKUPS = 15_000
REPORTS = 500
ALL_PERMISSIONS = ["@all", "@db-admin", "@read", "@report", "@user-admin"]
# What faults may add to a build, in seconds.
ADDED = 5
# What it takes anyway, on a machine that does other things: each report is on the disk before it is answered.
LOCAL = 15


async def world(farm, *options, url=False):
    """A server with twenty tasks, an agent of it, which asks it over HTTP if it may, and a client of each."""
    server = await farm.server(admin=True)
    direct = await farm.client(server)
    for number in range(20):
        await direct.report(METHOD, numbered(number), numbered(number + 1000), numbered(number))
    agent = await farm.agent(server.url if url else server, *options)
    return server, direct, agent, await farm.client(agent)


def keys_of(count):
    return [(METHOD, numbered(number)) for number in range(count)]


async def build(client, first, lookups=LOOKUPS, reports=REPORTS):
    """What a build asks: many look-ups at once, and a report from each task. Gives how long it took."""
    began = time.monotonic()
    found = await client.unihashes([(METHOD, numbered(number)) for number in range(first, first + lookups)])
    for number in range(first, first + reports):
        check(await client.report(METHOD, numbered(number), numbered(number + 10**9), numbered(number)), numbered(number))
    return found, time.monotonic() - began


@case("tcp", "ws")
async def an_agent_answers_as_its_server(farm):
    _, direct, _, client = await world(farm)
    check(await client.ping(), {"alive": True})
    expected = await direct.unihashes(keys_of(40))
    for _ in range(2):
        check(await client.unihashes(keys_of(40)), expected)
    check(await client.exist([numbered(1), numbered(30)]), [True, False])
    check(await client.get(METHOD, numbered(1)), await direct.get(METHOD, numbered(1)))
    check(await client.get(METHOD, numbered(99)), None)
    row = await direct.get(METHOD, numbered(1), everything=True)
    check(await client.get(METHOD, numbered(1), everything=True), row)
    outhash = numbered(1001)
    check(await client.get_outhash(METHOD, outhash, numbered(1)), await direct.get_outhash(METHOD, outhash, numbered(1)))
    check(await client.report(METHOD, numbered(50), outhash, numbered(50), owner="me", outhash_siginfo="\u00e4\n" * 40_000), numbered(1))
    check(await direct.unihashes([(METHOD, numbered(50))]), [numbered(1)])
    check(await client.unihashes([(METHOD, numbered(50))]), [numbered(1)])
    check(await client.report_equivalent(METHOD, numbered(51), numbered(7)), numbered(7))
    check(await direct.unihashes([(METHOD, numbered(51))]), [numbered(7)])
    check((await client.call("get-stats"))["requests"].keys(), (await direct.call("get-stats"))["requests"].keys())
    lines = [json.dumps({"mark": "K", "where": {"unihash": numbered(number)}}) for number in (1, 2, 30)]
    marked = await client.batch("gc-mark-stream", lines)
    check([json.loads(answer)["count"] for answer in marked], [2, 1, 0])
    check(await client.remove({"taskhash": numbered(51)}), 1)
    check(client.connections, 1)


@case("tcp")
async def what_nobody_knows_ends_a_session_behind_an_agent_too(farm):
    _, _, agent, client = await world(farm)
    await refused(client.call("no-such-command"), ConnectionError)
    other = await farm.client(agent)
    answers = await other.batch("get-stream", [f"{METHOD}  {sha('1')}"])
    check(answers, [""])
    await refused(other.batch("get-stream", ["one"]), ConnectionError)


@case("tcp", "unix", "ws", "wss")
async def a_server_that_hangs_costs_a_build_a_few_seconds(farm):
    server, _, _, client = await world(farm)
    known = await client.unihashes(keys_of(20))
    check(known, [numbered(number) for number in range(20)])
    server.hang()
    found, took = await build(client, 10**6)
    check(found, [None] * LOOKUPS)
    # What was answered before is answered still.
    check(await client.unihashes(keys_of(20)), known)
    if took > LOCAL + ADDED:
        raise AssertionError(f"the build took {took:.1f} s")
    server.go_on()
    await back(client, keys_of(20))


@case("tcp")
async def one_look_up_after_the_other_waits_no_longer(farm):
    server, _, _, client = await world(farm)
    server.hang()
    began = time.monotonic()
    for number in range(300):
        check(await client.unihashes([(METHOD, numbered(10**6 + number))]), [None])
        check(await client.get(METHOD, numbered(10**7 + number)), None)
        check(await client.exist([numbered(10**8 + number)]), [False])
    # A deadline for each of two kinds of questions, and 900 answers by the agent alone.
    if time.monotonic() - began > 2 * ADDED:
        raise AssertionError(f"it took {time.monotonic() - began:.1f} s")


@case("tcp", "ws")
async def a_server_that_is_gone_costs_nothing_and_comes_back(farm):
    server, _, _, client = await world(farm)
    await server.kill()
    found, took = await build(client, 10**6)
    check(found, [None] * LOOKUPS)
    if took > LOCAL + ADDED:
        raise AssertionError(f"the build took {took:.1f} s")
    await server.start()
    await back(client, keys_of(20))


@case("tcp", "ws")
async def reports_are_kept_for_a_server_that_is_away(farm):
    server, direct, agent, client = await world(farm)
    await server.kill()
    check(await client.report(METHOD, sha("1"), sha("a"), sha("1")), sha("1"))
    # The rules are the server's: the first task with an output names it.
    check(await client.report(METHOD, sha("2"), sha("a"), sha("2"), outhash_siginfo="\u00e4"), sha("1"))
    check(await client.report(METHOD, sha("2"), sha("b"), sha("3")), sha("1"))
    expected = [sha("1"), sha("1"), None]
    keys = [(METHOD, sha(letter)) for letter in "129"]
    check(await client.unihashes(keys), expected)
    check(await client.get(METHOD, sha("2")), {"method": METHOD, "taskhash": sha("2"), "unihash": sha("1")})
    await agent.kill()
    await agent.start()
    client = await farm.client(agent)
    check(await client.unihashes(keys), expected)
    await server.start()
    for _ in range(600):
        if await direct.unihashes(keys) == expected:
            break
        await asyncio.sleep(0.05)
    check(await direct.unihashes(keys), expected)
    check((await direct.get(METHOD, sha("2"), everything=True))["outhash_siginfo"], "\u00e4")
    await back(client, keys)


@case("tcp")
async def the_word_of_the_server_counts_in_the_end(farm):
    server, direct, _, client = await world(farm)
    check(await direct.report(METHOD, sha("1"), sha("a"), sha("1")), sha("1"))
    server.hang()
    # Nobody here knows that somebody reported this output before.
    check(await client.report(METHOD, sha("2"), sha("a"), sha("2")), sha("2"))
    check(await client.unihashes([(METHOD, sha("2"))]), [sha("2")])
    server.go_on()
    for _ in range(600):
        if await client.unihashes([(METHOD, sha("2"))]) == [sha("1")]:
            break
        await asyncio.sleep(0.05)
    check(await client.unihashes([(METHOD, sha("2"))]), [sha("1")])
    check(await direct.unihashes([(METHOD, sha("2"))]), [sha("1")])


@case("tcp")
async def a_slow_link_is_crossed_a_few_times(farm):
    server = await farm.server()
    async with SlowLink(server.address, 0.05) as link:
        agent = await farm.agent(link)
        client = await farm.client(agent)
        await client.unihashes([(METHOD, numbered(0))])
        began = time.monotonic()
        check(await client.unihashes(keys_of(10_000)), [None] * 10_000)
        together = time.monotonic() - began
        began = time.monotonic()
        for number in range(10_000):
            await client.unihashes([(METHOD, numbered(10**6 + number))])
        one_by_one = time.monotonic() - began
        # What is known is found, however slowly it comes.
        known = await farm.client(server)
        for number in range(60):
            taskhash = numbered(10**7 + number)
            await known.report(METHOD, taskhash, numbered(10**8 + number), taskhash)
        other = await farm.client(agent)
        for number in range(60):
            taskhash = numbered(10**7 + number)
            check(await other.unihashes([(METHOD, taskhash)]), [taskhash])
        # The server was asked all the same, behind the build's back.
        answers = int((await client.call("get-stats"))["requests"]["num"])
        await client.close()
    print(f"     {together:.2f} s together, {one_by_one:.2f} s one by one, {answers} asked")
    if together > 2 or one_by_one > 2 * ADDED:
        raise AssertionError(f"{together:.2f} s together, {one_by_one:.2f} s one by one")


@case("tcp")
async def nonsense_is_not_passed_on(farm):
    def answer(line):
        if line.startswith("{"):
            return '{"alive": true}' if "ping" in line else '"ok"' if "-stream" in line else '{"unihash": "<html>"}' if "report" in line else "<html>"
        return "<html>" if line and not line.startswith(("OEHASHEQUIV", "needs-headers")) else None

    async with OddServer(answer) as server:
        client = await farm.client(await farm.agent(server))
        check(await client.unihashes(keys_of(50)), [None] * 50)
        check(await client.exist([numbered(1)]), [False])
        check(await client.get(METHOD, numbered(1)), None)
        check(await client.get(METHOD, numbered(1), everything=True), None)
        for number in range(5):
            check(await client.report(METHOD, numbered(number), numbered(7), numbered(number)), numbered(0))
        await client.close()


@case("tcp")
async def a_server_that_takes_no_reports_costs_a_build_a_few_seconds(farm):
    def answer(line):
        if line.startswith("{"):
            return '{"alive": true}' if "ping" in line else '"ok"' if "-stream" in line else None
        return "" if line and not line.startswith(("OEHASHEQUIV", "needs-headers")) else None

    async with OddServer(answer) as server:
        client = await farm.client(await farm.agent(server))
        began = time.monotonic()
        # Further apart than the first pauses, so that the server is tried between them.
        for number in range(8):
            check(await client.report(METHOD, numbered(number), numbered(number), numbered(number)), numbered(number))
            check(await client.unihashes([(METHOD, numbered(10**6 + number))]), [None])
            await asyncio.sleep(1.2)
        took = time.monotonic() - began - 8 * 1.2
        await client.close()
    if took > ADDED:
        raise AssertionError(f"the reports took {took:.1f} s")


@case("tcp")
async def a_login_succeeds_whatever_the_server_does(farm):
    server, _, agent, _ = await world(farm)
    admin = await farm.client(agent, login=ADMIN)
    check((await admin.call("auth", dict(zip(("username", "token"), ADMIN))))["permissions"], ["@all"])
    # What is no look-up and no report is asked as the build that asks.
    check(await admin.call("get-all-users"), {"users": [{"username": ADMIN[0], "permissions": ALL_PERMISSIONS}]})
    await refused((await farm.client(agent)).call("get-all-users"), bb.asyncrpc.InvokeError)
    for hang in (False, True):
        if hang:
            server.hang()
        began = time.monotonic()
        # Each task of a build connects, and logs in.
        for number in range(50):
            client = await farm.client(agent, login=("nobody", "wrong"))
            check(await client.unihashes([(METHOD, numbered(10**6 + number))]), [None])
        if time.monotonic() - began > 2 * ADDED:
            raise AssertionError(f"it took {time.monotonic() - began:.1f} s")
    check((await admin.call("auth", dict(zip(("username", "token"), ADMIN))))["permissions"], ["@all"])
    server.go_on()


@case("tcp")
async def a_strict_agent_tells_that_a_login_failed(farm):
    _, _, agent, _ = await world(farm, "--strict-auth")
    client = await farm.client(agent, login=("nobody", "wrong"))
    await refused(client.ping(), bb.asyncrpc.InvokeError)


@case("tcp")
async def whoever_has_no_profile_reads_and_changes_nothing(farm):
    port = free_port()
    config = Path(farm.directory.name) / "agent.toml"
    config.write_text(f"bind = ['127.0.0.1:{port}']\n[[profiles]]\nname = 'ci'\ngroups = ['no such group']\n")
    _, direct, agent, by_socket = await world(farm, "--config", config)
    by_port = [await farm.client(Address(f"{scheme}127.0.0.1:{port}")) for scheme in ("", "ws://")]
    for client in (by_socket, *by_port):
        check(await client.unihashes(keys_of(25)), await direct.unihashes(keys_of(25)))
        check(await client.exist([numbered(1), numbered(30)]), [True, False])
        check((await client.call("get-stats"))["requests"]["num"] > 0, True)
        # Known here, and not known.
        check(await client.report(METHOD, numbered(1), numbered(10**6), numbered(77)), numbered(1))
        check(await client.report(METHOD, numbered(50), numbered(1001), numbered(50)), numbered(50))
        check(await client.report_equivalent(METHOD, numbered(51), numbered(7)), numbered(7))
        await refused(client.remove({"taskhash": numbered(1)}), bb.asyncrpc.InvokeError, "ask the server itself")
    await refused((await farm.client(agent)).batch("gc-mark-stream", ["{}"]), bb.asyncrpc.InvokeError, "unmapped")
    login = await farm.client(agent, login=("nobody", "wrong"))
    check(await login.unihashes(keys_of(1)), [numbered(0)])
    check(await direct.unihashes([(METHOD, numbered(number)) for number in (1, 50, 51)]), [numbered(1), None, None])


@case("tcp")
async def a_server_that_refuses_does_not_fail_a_build(farm):
    server = await farm.server(anonymous="@none")
    client = await farm.client(await farm.agent(server))
    check(await client.unihashes(keys_of(3)), [None] * 3)
    check(await client.exist([numbered(1)]), [False])
    check(await client.get(METHOD, numbered(1)), None)
    check(await client.report(METHOD, numbered(1), numbered(2), numbered(1)), numbered(1))
    check(client.connections, 1)


async def back(client, keys):
    """The server is asked again within its longest pause."""
    known = {sha("2"): sha("1"), sha("9"): None}
    expected = [known.get(taskhash, taskhash) for _, taskhash in keys]
    for _ in range(600):
        new = await client.exist([numbered(1)])
        if new == [True] and expected == await client.unihashes(keys):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the agent does not ask again")
