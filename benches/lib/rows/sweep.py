"""Look-ups beside a sweep that deletes half of the rows."""

import json
import shutil
import socket
import time

from ..results import Result
from ..row import Row
from ..world import World

ROWS_KEPT = 500_000
OTHER_METHOD = "oe.sstatesig.OEOuthashBasic-poky-scarthgap-qemuarm-64"
METHOD = "oe.sstatesig.OEOuthashBasic-poky-scarthgap-qemux86-64"
SWEEP_SECONDS = 900
PERMISSIONS = ["--anon-perms", "@read,@report,@db-admin"]


def sweep(world: World) -> list[Result]:
    rows = ROWS_KEPT // world.scale
    full = world.scratch(world.database(rows))
    world.run("bench", "fill", full, "--rows", rows, "--method", OTHER_METHOD)
    rounds = [one_round(world, full, rows) for _ in range(min(world.rounds, 5))]
    idle, swept, seconds = ([one[place] for one in rounds] for place in range(3))
    label = f"400 look-ups/s while {rows:,} of {2 * rows:,} rows are swept"
    note = f"sweeps took {min(seconds):.1f}–{max(seconds):.1f} s"
    longest = f"longest {max(run.longest for run in swept) / 1000:.3g} ms"
    beside = [Result("the same look-ups, nothing swept, p99", "ms", [run.p99 / 1000 for run in idle]),
              Result("the same look-ups, nothing swept, p99.9", "ms", [run.p999 / 1000 for run in idle])]
    return [
        Result(f"{label}: p99", "ms", [run.p99 / 1000 for run in swept], 10, note=note),
        Result(f"{label}: p99.9", "ms", [run.p999 / 1000 for run in swept], 50, note=longest),
        *beside,
    ]


def one_round(world: World, full, rows: int):
    """Idle and swept figures, and how long the sweep took."""
    database = world.scratch(full)
    load = {"mode": "get-stream", "connections": 16, "keys": rows, "rate": 400}
    with world.fingerpost(database, *PERMISSIONS) as server:
        generator = world.generator(server)
        idle = generator.run(**load, duration=10 / world.scale, warmup=1)
        with Client(server.address) as client:
            marked = client.ask({"gc-mark": {"mark": "keep", "where": {"method": METHOD}}})
            assert marked == {"count": rows}, marked
            with generator.running(**load) as finish:
                start = time.monotonic()
                swept = client.ask({"gc-sweep": {"mark": "keep"}})
                seconds = time.monotonic() - start
                beside = finish()
            assert swept == {"count": rows}, swept
    shutil.rmtree(database.parent)
    return idle, beside, seconds


class Client:
    """One connection that speaks just enough of the protocol."""

    def __init__(self, address: str):
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=SWEEP_SECONDS)
        self._file = self._socket.makefile("rwb")
        self._file.write(b"OEHASHEQUIV 1.1\nneeds-headers: false\n\n")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()
        self._socket.close()

    def ask(self, request: dict):
        self._file.write(json.dumps(request).encode() + b"\n")
        self._file.flush()
        answer = self._file.readline()
        if not answer:
            raise RuntimeError(f"closed without answer: {request}")
        return json.loads(answer)


ROWS = [Row("sweep", "look-ups paced at 400/s while half of 1 M rows are swept", sweep)]
