"""Runs the load generator, `fingerpost bench hashequiv`."""

import json
import subprocess
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

RUN_SECONDS = 1200


@dataclass(frozen=True)
class Run:
    """The figures of one run; times in microseconds."""

    requests: int
    seconds: float
    per_second: float
    p50: float
    p99: float
    p999: float
    longest: float
    cpu: float


class Generator:
    """Loads one server."""

    def __init__(self, binary: Path, server):
        self._binary = binary
        self._server = server

    def run(self, **options) -> Run:
        """Runs with the options of `bench hashequiv`, spelled as in Python.
        Wrong answers and broken connections are errors."""
        done = subprocess.run(
            self._command(options), capture_output=True, text=True, timeout=RUN_SECONDS
        )
        return parsed(done.returncode, done.stdout, done.stderr)

    @contextmanager
    def running(self, **options):
        """Loads while the block runs. Yields a function that ends the load and
        returns its figures."""
        pipe = subprocess.PIPE
        command = self._command(options | {"until_stdin_closes": True})
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)

        def finish() -> Run:
            out, errors = process.communicate(timeout=RUN_SECONDS)
            return parsed(process.returncode, out, errors)

        try:
            yield finish
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def _command(self, options: dict) -> list[str]:
        server = self._server
        command = [str(self._binary), "bench", "hashequiv", "--json", "--address", server.address]
        command += ["--protocol", server.protocol, "--pid", str(server.pid)]
        for name, value in options.items():
            flag = "--" + name.replace("_", "-")
            command += [flag] if value is True else [flag, str(value)]
        return command


def parsed(code: int, out: str, errors: str) -> Run:
    if code != 0:
        raise RuntimeError(f"the load failed ({code}): {out.strip()} {errors.strip()}")
    value = json.loads(out)
    if value.get("server_settled") is False:
        raise RuntimeError("the server did not become idle: its processor time is incomplete")
    return Run(
        requests=value["requests"],
        seconds=value["seconds"],
        per_second=value["requests_per_second"],
        p50=value["latency_p50_us"],
        p99=value["latency_p99_us"],
        p999=value["latency_p999_us"],
        longest=value["latency_max_us"],
        cpu=value["server_cpu_us_per_request"],
    )


def alternate(rounds: int, first: Callable[[], Run], second: Callable[[], Run]):
    """Runs both in turn, so that a machine whose speed drifts treats them
    alike; the one that begins changes with every round."""
    pairs = []
    for number in range(rounds):
        if number % 2 == 0:
            a, b = first(), second()
        else:
            b, a = second(), first()
        pairs.append((a, b))
    return pairs
