"""What a running process used, as the kernel counts it."""

import time
from pathlib import Path

QUIET_ROUNDS, QUIET_SECONDS, SETTLE_SECONDS = 3, 0.02, 30


class Process:
    """A process of this machine by its number, `pid`."""

    pid: int

    def cpu(self) -> float:
        """Seconds of processor time of all threads so far, those that ended too: the scheduler's own count, to the nanosecond."""
        # The clock of a process as Linux numbers it: the complement of its id, and 2 for the scheduler's clock.
        return time.clock_gettime(~self.pid << 3 | 2)

    def settled_cpu(self) -> float:
        """The same once nothing is added any more, so that work after an answer counts."""
        end = time.monotonic() + SETTLE_SECONDS
        before, quiet = self.cpu(), 0
        while quiet < QUIET_ROUNDS:
            time.sleep(QUIET_SECONDS)
            now = self.cpu()
            quiet = quiet + 1 if now - before < 0.0005 else 0
            before = now
            if time.monotonic() > end:
                raise RuntimeError("the server did not become idle: its processor time is incomplete")
        return before

    def memory(self, field: str) -> int:
        """A figure of /proc/PID/status in bytes: VmHWM is the peak, VmRSS the present."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
        raise KeyError(field)

    def open_files(self) -> int:
        """How many files and sockets it has."""
        return sum(1 for _ in Path(f"/proc/{self.pid}/fd").iterdir())
