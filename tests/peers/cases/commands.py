"""Every command, as the real client's transport sends it."""

import bb.asyncrpc

from server import ADMIN

from . import METHOD, case, check, refused, sha

T1, T2, O1, O2 = sha("1"), sha("2"), sha("a"), sha("b")


@case()
async def look_ups_and_reports(farm):
    _, client = await farm.pair()
    check(await client.ping(), {"alive": True})
    check(await client.get(METHOD, T1), None)
    check(await client.report(METHOD, T1, O1, T1, PN="zlib", PV="1.3", task="do_package"), T1)
    check(await client.report(METHOD, T2, O1, T2), T1)
    check(await client.get(METHOD, T2), {"method": METHOD, "taskhash": T2, "unihash": T1})
    row = await client.get(METHOD, T1, everything=True)
    check((row["outhash"], row["PN"], row["PV"], row["PR"], row["task"]), (O1, "zlib", "1.3", None, "do_package"))
    check(await client.get_outhash(METHOD, O1, T2), row)
    check("unihash" in await client.get_outhash(METHOD, O1, T2, with_unihash=False), False)
    check(await client.get_outhash(METHOD, O2, T2), None)
    check(await client.report_equivalent(METHOD, sha("3"), T2), T2)
    check(await client.report_equivalent(METHOD, T1, T2), T1)


@case()
async def statistics_and_tables(farm):
    _, client = await farm.pair()
    await client.report(METHOD, T1, O1, T1)
    check((await client.call("get-stats"))["requests"]["num"], 1)
    check((await client.call("reset-stats"))["requests"]["num"], 2)
    check(await client.call("backfill-wait"), {"tasks": 0})
    usage = (await client.call("get-db-usage", {}))["usage"]
    check({table: usage[table]["rows"] for table in ("unihashes_v3", "outhashes_v2")}, {"unihashes_v3": 1, "outhashes_v2": 1})
    columns = set((await client.call("get-db-query-columns", {}))["columns"])
    check(columns, {"method", "taskhash", "unihash", "gc_mark", "outhash", "owner", "PN", "PV", "PR", "task", "outhash_siginfo"})


@case()
async def removal_and_collection(farm):
    _, client = await farm.pair()
    for task, output in ((T1, O1), (T2, O2), (sha("3"), sha("c"))):
        await client.report(METHOD, task, output, task)
    check(await client.gc_mark("K", {"unihash": T1}), 1)
    check(await client.call("gc-status"), {"keep": 1, "remove": 2, "mark": "K"})
    await refused(client.gc_sweep("L"), bb.asyncrpc.InvokeError, "'L' is not the current mark. Refusing to sweep")
    check(await client.gc_sweep("K"), 2)
    check(await client.unihashes([(METHOD, T1), (METHOD, T2)]), [T1, None])
    check(await client.clean_unused(3600), 0)
    check(await client.clean_unused(0), 2)
    check(await client.remove({"taskhash": T1}), 2)


@case()
async def users(farm):
    server = await farm.server(anonymous="@none", admin=True)
    admin = await farm.client(server, login=ADMIN)
    created = await admin.call("new-user", {"username": "bob", "permissions": ["@read"]})
    bob = await farm.client(server, login=("bob", created["token"]))
    check(await bob.call("get-user", {}), {"username": "bob", "permissions": ["@read"]})
    check(await bob.get(METHOD, T1), None)
    denied = "bob is not allowed to access permissions(s) @user-admin"
    await refused(bob.call("get-all-users", {}), bb.asyncrpc.InvokeError, denied)
    token = (await bob.call("refresh-token", {}))["token"]
    changed = await admin.call("set-user-perms", {"username": "bob", "permissions": ["@report", "@read"]})
    check(changed["permissions"], ["@read", "@report"])
    bob = await farm.client(server, login=("bob", token))
    check(await bob.report(METHOD, T1, O1, T1), T1)
    check([user["username"] for user in (await admin.call("get-all-users", {}))["users"]], ["admin", "bob"])
    check((await admin.call("become-user", {"username": "bob"}))["username"], "bob")
    check((await admin.call("get-user", {}))["username"], "bob")
    check(await bob.call("delete-user", {}), {"username": "bob"})
    anyone = await farm.client(server)
    failed = "Unable to authenticate as bob"
    await refused(anyone.call("auth", {"username": "bob", "token": token}), bb.asyncrpc.InvokeError, failed)
    check(await anyone.ping(), {"alive": True})


@case("tcp")
async def an_invalid_unihash_is_told_and_the_next_call_reconnects(farm):
    _, client = await farm.pair()
    await refused(client.report(METHOD, T1, O1, "short"), bb.asyncrpc.InvokeError, "Invalid unihash")
    check(await client.get(METHOD, T1), None)
    check(client.connections, 2)


@case("tcp", "ws")
async def a_read_only_server_answers_reports_and_knows_no_writing_commands(farm):
    _, client = await farm.pair(read_only=True)
    check(await client.report(METHOD, T1, O1, T1), T1)
    check(await client.get(METHOD, T1), None)
    await refused(client.remove({"taskhash": T1}), ConnectionError)
    check(client.connections, 4)


@case()
async def an_upstream_fills_the_server_below(farm):
    above, reporter = await farm.pair()
    await reporter.report(METHOD, T1, O1, T1)
    _, client = await farm.pair(upstream=above)
    check(await client.unihashes([(METHOD, T1), (METHOD, T2)]), [T1, None])
    check(await client.exist([T1, T2]), [True, False])
    await client.call("backfill-wait")
    check(await client.get(METHOD, T2), None)
    check((await client.get(METHOD, T1, everything=True))["outhash"], O1)
    await above.stop()
    check(await client.get(METHOD, T1), {"method": METHOD, "taskhash": T1, "unihash": T1})
