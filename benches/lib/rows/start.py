"""How long it takes from the start of a large server to its first answer."""

import socket
import subprocess
import time

from ..results import Result
from ..row import Row
from ..world import START_SECONDS, World, forget_pages, free_port, stopped

HELLO = b"OEHASHEQUIV 1.1\nneeds-headers: false\n\n"
QUESTION = b'{"get": {"taskhash": "' + b"0" * 64 + b'", "method": "m", "all": false}}\n'


def start(world: World) -> list[Result]:
    database = world.scratch(world.database(10_000_000 // world.scale))
    figures = {}
    for kind in ("warm", "cold"):
        figures[kind] = []
        for _ in range(world.rounds):
            if kind == "cold":
                forget_pages(database)
            figures[kind].append(first_answer(world, database))
    label = "start with 10 M rows, to the first answer, file"
    database.unlink()
    return [
        Result(f"{label} not in memory", "s", figures["cold"], 0.5),
        Result(f"{label} in memory", "s", figures["warm"], 0.5),
    ]


def first_answer(world: World, database) -> float:
    port = free_port()
    command = [world.binary, "serve", "--bind", f"127.0.0.1:{port}", "--metrics", ""]
    command += ["--database", str(database)]
    begin = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with stopped(process):
        while time.monotonic() < begin + START_SECONDS:
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
                    client.sendall(HELLO + QUESTION)
                    if client.recv(4096) == b"null\n":
                        return time.monotonic() - begin
            except ConnectionRefusedError:
                time.sleep(0.001)
    raise TimeoutError("no answer")


ROWS = [Row("start", "start with 10 M rows, to the first answer", start)]
