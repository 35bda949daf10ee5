"""Our server and the reference, with their processor time and memory as the kernel counts them."""

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from ..process import Process
from ..world import await_port, free_port, stopped

ROOT = Path(__file__).resolve().parents[3]
HG = ROOT / ".venv-hg-6.0.3" / "bin" / "hg"


class HgServer(Process):
    """A process that serves one repository at `/`."""

    def __init__(self, process: subprocess.Popen, port: int):
        self.process, self.pid = process, process.pid
        self.address = ("127.0.0.1", port)
        self.url = f"http://127.0.0.1:{port}/"

    def forget_peak(self) -> None:
        """Begins the peak of memory anew."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def bytes_read(self) -> int:
        """What it has read so far, from files and sockets."""
        line = Path(f"/proc/{self.pid}/io").read_text().splitlines()[0]
        return int(line.split()[1])


@contextmanager
def ours(world, repository: Path, *words):
    """`fingerpost hg serve` on a repository, with these options."""
    port = free_port()
    command = [world.binary, "hg", "serve", "--bind", f"127.0.0.1:{port}", *words, repository]
    with started(world, command, port, os.environ) as server:
        yield server


@contextmanager
def configured(world, repository: Path, text: str):
    """`fingerpost serve` on a repository at `/`, with these lines in its configuration; PORT in them is its port."""
    port = free_port()
    directory = Path(tempfile.mkdtemp(dir=world.path))
    config = directory / "fingerpost.toml"
    config.write_text(
        f"[server]\nbind = ['127.0.0.1:{port}']\ndata_dir = '{directory}'\n[metrics]\nbind = ''\n"
        f"[log]\nlevel = 'warning'\n[hg.repositories]\n'' = '{repository}'\n{text.replace('PORT', str(port))}"
    )
    try:
        with started(world, [world.binary, "serve", "--config", config], port, os.environ) as server:
            yield server
    finally:
        shutil.rmtree(directory)


@contextmanager
def nginx(world, directory: Path, sendfile: bool = True):
    """nginx that serves the files of a directory, as one process."""
    subprocess.run([ROOT / "scripts" / "need", "nginx"], check=True)
    port = free_port()
    own = Path(tempfile.mkdtemp(dir=world.path))
    temporary = "".join(f"{name}_temp_path {own};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    config = own / "nginx.conf"
    config.write_text(
        f"daemon off; master_process off; pid {own}/pid; error_log {own}/errors;\nevents {{}}\n"
        f"http {{\naccess_log off; sendfile {'on' if sendfile else 'off'}; keepalive_requests 1000000;\n{temporary}"
        f"server {{ listen 127.0.0.1:{port}; root {directory}; }}\n}}\n"
    )
    command = ["nginx", "-c", config, "-e", own / "errors"]
    with started(world, command, port, os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin"}) as server:
        yield server


@contextmanager
def reference(world, repository: Path):
    """`hg serve` 6.0.3 as it is, with version 2 switched on."""
    port = free_port()
    command = [HG, "serve", "--address", "127.0.0.1", "--port", str(port), "--repository", repository]
    command += ["--accesslog", os.devnull]
    for name in ("experimental.web.apiserver", "experimental.web.api.http-v2"):
        command += ["--config", f"{name}=true"]
    with started(world, command, port, hg_environment()) as server:
        yield server


@contextmanager
def started(world, command: list, port: int, environment):
    log = world.path / "hg-server.log"
    with log.open("w+") as errors:
        process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=errors, env=environment)
        with stopped(process):
            try:
                await_port(process, port)
            except (RuntimeError, TimeoutError) as error:
                raise RuntimeError(f"{error}: {log.read_text()}") from None
            yield HgServer(process, port)


def hg_environment() -> dict:
    return os.environ | {"HGRCPATH": "", "HGPLAIN": "1", "HGENCODING": "utf-8"}


def hg(*words, seconds: float = 3600) -> None:
    """Runs the client to its end."""
    command = [HG, *map(str, words)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=hg_environment(), timeout=seconds)


def prefix(server: HgServer) -> str:
    return urlsplit(server.url).path.rstrip("/")
