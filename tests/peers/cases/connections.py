"""Long messages, many connections, lost connections."""

import asyncio
import multiprocessing
import random

from client import BlockingClient
from server import ADMIN

from . import METHOD, case, check, numbered, sha

MIB = 1024 * 1024
CONNECTIONS = 200


def listing(length, seed):
    """Text as in a listing of files, non-ASCII and runs of blanks included: `length` characters."""
    draw = random.Random(seed)
    lines = []
    size = 0
    while size < length:
        blanks = " " * draw.choice((1, 1, 1, 7, 40))
        lines.append(f"-rw-r--r--{blanks}root {draw.randrange(10**9):>12} ./usr/lib/größe-{draw.getrandbits(128):032x}\n")
        size += len(lines[-1])
    return "".join(lines)[:length]


@case("tcp", "unix")
async def five_mebibytes_go_both_ways_in_pieces(farm):
    _, client = await farm.pair()
    siginfo = listing(5 * MIB, seed=5)
    check(await client.report(METHOD, sha("1"), sha("a"), sha("1"), outhash_siginfo=siginfo), sha("1"))
    row = await client.get(METHOD, sha("1"), everything=True)
    check(row["outhash_siginfo"] == siginfo, True)
    check(client.connections, 1)


@case("ws")
async def a_long_message_goes_both_ways_whole(farm):
    _, client = await farm.pair()
    siginfo = listing(700_000, seed=7)
    check(await client.report(METHOD, sha("1"), sha("a"), sha("1"), outhash_siginfo=siginfo), sha("1"))
    row = await client.get_outhash(METHOD, sha("a"), sha("1"))
    check(row["outhash_siginfo"] == siginfo, True)


@case("tcp")
async def blanks_that_fill_whole_pieces_reach_the_client(farm):
    # This client drops blanks at the end of a piece, and takes lines of 64 KiB at most.
    _, client = await farm.pair()
    client.max_chunk = 60_000
    siginfo = "x" + " " * 40_000 + "y"
    await client.report(METHOD, sha("1"), sha("a"), sha("1"), outhash_siginfo=siginfo)
    for _ in range(2):
        row = await client.get(METHOD, sha("1"), everything=True)
        check(row["outhash_siginfo"] == siginfo, True)


@case("tcp")
async def many_blanks_in_a_row_reach_the_client(farm):
    _, client = await farm.pair()
    # Sent raw, for the client's own pieces would be nothing but blanks.
    message = '{"report": {"method": "%s", "taskhash": "%s", "outhash": "%s", "unihash": "%s", "outhash_siginfo": "x%sy"}}'
    blanks = "\\u0020" * 100_000
    await client.connect()
    text = message % (METHOD, sha("1"), sha("a"), sha("1"), blanks)
    pieces = [text[start : start + 60_000] for start in range(0, len(text), 60_000)]
    await client.send_lines(['{"chunk-stream": null}', *pieces, ""])
    check((await client.socket.recv_message())["unihash"], sha("1"))
    row = await client.get(METHOD, sha("1"), everything=True)
    check(row["outhash_siginfo"] == "x" + " " * 100_000 + "y", True)


@case()
async def two_hundred_connections_at_once(farm):
    server = await farm.server()
    clients = [await farm.client(server) for _ in range(CONNECTIONS)]

    async def work(number, client):
        own = numbered(number)
        # Neighbours report the same output: one of the two names it.
        unihash = await client.report(METHOD, own, numbered(number // 2 + 10**6), own)
        for _ in range(3):
            check(await client.unihashes([(METHOD, own), (METHOD, sha("f"))]), [unihash, None])
        return unihash

    unihashes = await asyncio.gather(*(work(number, client) for number, client in enumerate(clients)))
    check([unihashes[n] == unihashes[n + 1] for n in range(0, CONNECTIONS, 2)], [True] * (CONNECTIONS // 2))
    check({client.connections for client in clients}, {1})


@case()
async def a_client_survives_a_restart_of_the_server(farm):
    server = await farm.server(admin=True)
    client = await farm.client(server, login=ADMIN)
    await client.report(METHOD, sha("1"), sha("a"), sha("1"))
    check(await client.unihashes([(METHOD, sha("1"))]), [sha("1")])
    check(await server.stop() < 5, True)
    await server.start()
    check(await client.unihashes([(METHOD, sha("1"))]), [sha("1")])
    await server.kill()
    await server.start()
    check((await client.call("get-user", {}))["username"], ADMIN[0])
    check(await client.get(METHOD, sha("1")), {"method": METHOD, "taskhash": sha("1"), "unihash": sha("1")})
    check(client.connections, 3)


@case()
async def headers_are_answered_when_they_are_asked_for(farm):
    server = await farm.server()
    client = await farm.client(server, needs_headers=True)
    check(await client.ping(), {"alive": True})
    check(client.server_headers, {})


@case("tcp")
async def every_transport_on_one_port(farm):
    server = await farm.server()
    await (await farm.client(server)).report(METHOD, sha("1"), sha("a"), sha("1"))
    server.address = f"ws://{server.address}"
    client = await farm.client(server)
    check(await client.unihashes([(METHOD, sha("1"))]), [sha("1")])


@case("unix")
async def a_path_longer_than_a_socket_address(farm):
    server = await farm.server()
    await server.stop()
    deep = server.path.parent / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    server.address = f"unix://{deep}/hashserve.sock"
    await server.start()
    check(server.address, f"unix://{deep}/hashserve.sock")
    client = await farm.client(server)
    check(await client.ping(), {"alive": True})


@case("tcp", "unix")
async def blocking_clients_in_processes_of_their_own(farm):
    server = await farm.server()
    context = multiprocessing.get_context("spawn")
    with context.Pool(4) as pool:
        results = pool.starmap_async(report_alone, [(server.address, number) for number in range(16)])
        unihashes = await asyncio.to_thread(results.get, 60)
    check(unihashes, [numbered(number) for number in range(16)])


def report_alone(address, number):
    """What a task does at its end, with a connection of its own."""
    with BlockingClient(address) as client:
        client.open()
        own = numbered(number)
        unihash = client.report(METHOD, own, numbered(number + 10**6), own, outhash_siginfo=listing(20_000, number))
        check(client.unihashes([(METHOD, own)]), [unihash])
        return unihash
