"""The stream modes, with batches that nobody waits for."""

import json

import bb.asyncrpc

from . import METHOD, case, check, numbered, refused, sha

BATCH_LINES = 5000


@case()
async def a_large_batch_comes_back_in_order(farm):
    _, client = await farm.pair()
    for number in range(20):
        await client.report(METHOD, numbered(number), numbered(number + 1000), numbered(number))
    keys = [(METHOD, numbered(number % 40)) for number in range(BATCH_LINES)]
    expected = [taskhash if int(taskhash, 16) < 20 else None for _, taskhash in keys]
    check(await client.unihashes(keys), expected)
    check(await client.exist([taskhash for _, taskhash in keys]), [found is not None for found in expected])


@case()
async def streams_and_requests_take_turns(farm):
    _, client = await farm.pair()
    await client.report(METHOD, sha("1"), sha("a"), sha("1"))
    for _ in range(5):
        check(await client.unihashes([(METHOD, sha("1"))]), [sha("1")])
        check(await client.exist([sha("1"), "no hash at all"]), [True, False])
        check(await client.ping(), {"alive": True})
    check(client.connections, 1)


@case()
async def marks_are_streamed(farm):
    _, client = await farm.pair()
    for letter, output in zip("123", "abc"):
        await client.report(METHOD, sha(letter), sha(output), sha(letter))
    lines = [json.dumps({"mark": "K", "where": {"unihash": sha(letter)}}) for letter in "129"]
    check([json.loads(answer) for answer in await client.batch("gc-mark-stream", lines)], [{"count": n} for n in (1, 1, 0)])
    check(await client.call("gc-status"), {"keep": 2, "remove": 1, "mark": "K"})
    check(await client.gc_sweep("K"), 1)


@case("tcp", "ws")
async def a_bad_mark_is_told(farm):
    _, client = await farm.pair()
    (answer,) = await client.batch("gc-mark-stream", [json.dumps({"mark": "K"})])
    check(json.loads(answer), {"invoke-error": {"message": "Input line is missing key ''where'' "}})


@case("tcp", "ws")
async def a_stream_that_is_not_permitted_is_told(farm):
    _, client = await farm.pair(anonymous="@none")
    denied = "Anonymous user is not allowed to access permissions(s) @read"
    await refused(client.unihashes([(METHOD, sha("1"))]), bb.asyncrpc.InvokeError, denied)
