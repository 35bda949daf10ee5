"""Agents and servers that are killed while builds report: nothing that was spooled is lost."""

import asyncio
import os
import random
import time

from . import METHOD, case, check, numbered
from .agent_https import hears, soon

# `make test` has time for some, `make soak` for a hundred.
ROUNDS = int(os.environ.get("FINGERPOST_AGENT_KILLS", "5"))
CLIENTS = 4
# Tasks with the same output, of which the first names all.
TWINS = 3


@case("tcp", "wss", seconds=60 + 6 * ROUNDS)
async def kills_of_agent_and_server_lose_no_report_that_was_answered(farm):
    random.seed(ROUNDS)
    server = await farm.server()
    agent = await farm.agent(server.url)
    await soon(lambda: hears(agent), True)
    answered, asked = {}, set()
    numbers = iter(range(1, 10**9))
    going = True

    async def report(number):
        """As a task does: again until it is answered."""
        output = numbered(10**9 + number // TWINS)
        while going:
            client = await farm.client(agent)
            try:
                asked.add(number)
                return await client.report(METHOD, numbered(number), output, numbered(number))
            except OSError:
                await asyncio.sleep(0.02)
            finally:
                await client.close()
                farm.clients.remove(client)
        return None

    async def tasks():
        while going:
            number = next(numbers)
            unihash = await report(number)
            if unihash is not None:
                answered[number] = unihash
            await asyncio.sleep(random.uniform(0, 0.01))

    building = [asyncio.ensure_future(tasks()) for _ in range(CLIENTS)]
    began = time.monotonic()
    for number in range(ROUNDS):
        await asyncio.sleep(random.uniform(0.05, 0.4))
        victims = ([server], [agent], [server, agent], [agent, server])[number % 4]
        for victim in victims:
            await victim.kill()
        await asyncio.sleep(random.uniform(0, 0.3))
        for victim in reversed(victims):
            await victim.start()
    await asyncio.sleep(0.3)
    going = False
    await asyncio.gather(*building)
    # All that waits is brought.
    await soon(lambda: waiting(agent), 0, 60)
    took = time.monotonic() - began
    status = await agent.status()
    check(status["dead_letters"], 0)
    direct = await farm.client(server)
    tasks = sorted(answered)
    known = await direct.unihashes([(METHOD, numbered(task)) for task in tasks])
    lost = [task for task, unihash in zip(tasks, known) if unihash is None]
    check(lost, [])
    # Each is the name of one of those that had its output, and the server has it once.
    strange = [
        (task, unihash) for task, unihash in zip(tasks, known)
        if unihash not in {numbered(twin) for twin in range(task // TWINS * TWINS, task // TWINS * TWINS + TWINS)}
    ]  # fmt: skip
    check(strange, [])
    by_output = {}
    for task, unihash in zip(tasks, known):
        by_output.setdefault(task // TWINS, set()).add(unihash)
    differing = [output for output, unihashes in by_output.items() if len(unihashes) > 1]
    check(differing, [])
    usage = (await direct.call("get-db-usage"))["usage"]
    rows = {table: counts["rows"] for table, counts in usage.items()}
    print(f"     {ROUNDS} rounds in {took:.0f} s: {len(answered)} answered, {len(asked)} asked, rows {rows}")
    client = await farm.client(agent)
    check(await client.unihashes([(METHOD, numbered(task)) for task in tasks]), known)
    # The same once more changes nothing.
    for task in tasks[:: max(1, len(tasks) // 50)]:
        output = numbered(10**9 + task // TWINS)
        check(await client.report(METHOD, numbered(task), output, numbered(task)), known[tasks.index(task)])
    again = (await direct.call("get-db-usage"))["usage"]
    check({table: counts["rows"] for table, counts in again.items()}, rows)


async def waiting(agent):
    return (await agent.status())["spool"]["count"]
