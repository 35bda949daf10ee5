"""A server that has everything that /metrics can show, and some of each kind of load on it."""

import asyncio
import json
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

from postgresql import Cluster
from server import Farm, Server, certificate

COMMAND_SECONDS = 60
METHOD = "oe.sstatesig.OEOuthashBasic"
# What `hg init` writes, for a repository that nothing was committed to.
REQUIREMENTS = ["dotencode", "fncache", "generaldelta", "revlogv1", "sparserevlog", "store"]
OPEN_METRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"


def configuration(directory):
    """TLS beside plain, repositories, all kinds of stores that need no other service, a target of redirects, snapshots, an
    audit log, an issuer that nobody reaches."""
    tls = {name.rpartition("__")[2].lower(): path for name, path in certificate().items()}
    return f"""
[server]
tls = "optional"

[tls]
certificate = "{tls["certificate"]}"
key = "{tls["key"]}"

[hg.repositories]
empty = "{directory}/empty"

[cache]
disk_directory = "{directory}/answers"
tiers = ["memory", "disk", "files"]
secret = "a secret of more than 16 bytes"

[cache.objects.files]
url = "file://{directory}/objects"

[snapshots]
directory = "{directory}/snapshots"
every_hours = 1

[audit]
file = "{directory}/audit.jsonl"

[[oidc]]
issuer = "https://127.0.0.1:1"
audiences = ["https://hashes.example"]

[[oidc.rules]]
match = {{ repository_id = "1" }}
permissions = ["@read"]
user = "ci"

[redirect.targets.own]
stock_clients = true
url = "http://127.0.0.1:1"
probe = false
"""


def prepare(directory):
    """Makes what the configuration names, and gives its file."""
    store = directory / "empty" / ".hg" / "store"
    store.mkdir(parents=True)
    (store.parent / "requires").write_text("".join(f"{word}\n" for word in REQUIREMENTS))
    for name in ("objects", "answers", "snapshots"):
        (directory / name).mkdir()
    path = directory / "fingerpost.toml"
    path.write_text(configuration(directory))
    return path


def get(url, **headers):
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=COMMAND_SECONDS) as answer:
        return answer.read().decode()


async def drive(farm, server):
    """Reports, hits and misses over BitBake's protocol, some questions as JSON, some of Mercurial."""
    client = await farm.client(server)
    taskhashes = [f"{number:064x}" for number in range(50)]
    for taskhash in taskhashes[:25]:
        await client.report(METHOD, taskhash, taskhash, taskhash, PN="zlib", PV="1.3", task="do_package")
    for _ in range(3):
        await client.unihashes([(METHOD, taskhash) for taskhash in taskhashes])
    await client.exist(taskhashes)
    base = f"http://{server.address}"
    for path in (f"unihashes/{METHOD}/{taskhashes[0]}", "changes?since=0", "snapshots"):
        await asyncio.to_thread(get, f"{base}/v1/{path}")
    for command in (["bookmarks"], ["heads"], ["manifestdata", "nodes=[]", "tree="]):
        words = [farm.binary, "hg", "call", f"{base}/empty", *command]
        # What it answers is not the point.
        await asyncio.to_thread(subprocess.run, words, capture_output=True, timeout=COMMAND_SECONDS)
    # Refusals of the doors that are not asked often.
    for path in ("empty/api/none", "content/none", "v1/users"):
        try:
            await asyncio.to_thread(get, f"{base}/{path}")
        except urllib.error.HTTPError:
            pass


async def postgresql_page(binary):
    """The page of metrics of a server over PostgreSQL with a replica, as text."""
    with Cluster() as cluster:
        async with Farm(binary, "tcp", cluster) as farm:
            server = Server(farm, 0, admin=True)
            url = server.options[1]
            path = Path(farm.directory.name) / "fingerpost.toml"
            # The primary has heard of every deletion, so it will do for a replica.
            path.write_text(f'[postgresql.replicas]\neast = "{url}"\n')
            server.options += ["--config", path]
            farm.servers.append(server)
            await server.start()
            client = await farm.client(server)
            taskhashes = [f"{number:064x}" for number in range(50)]
            for taskhash in taskhashes[:25]:
                await client.report(METHOD, taskhash, taskhash, taskhash)
            await client.unihashes([(METHOD, taskhash) for taskhash in taskhashes])
            return await asyncio.to_thread(get, f"http://{server.address}/metrics")


async def pages(binary):
    """The page of metrics of a server under load, as OpenMetrics and as text."""
    async with Farm(binary, "tcp") as farm:
        parent = await farm.server()
        server = Server(farm, 1, admin=True, upstream=parent)
        server.options += ["--config", prepare(Path(farm.directory.name))]
        farm.servers.append(server)
        await server.start()
        await drive(farm, server)
        version = json.loads(await asyncio.to_thread(get, f"http://{server.address}/version"))
        if version.get("name") != "fingerpost":
            raise RuntimeError(f"/version answers {version}")
        url = f"http://{server.address}/metrics"
        return await asyncio.to_thread(get, url, Accept=OPEN_METRICS), await asyncio.to_thread(get, url)
