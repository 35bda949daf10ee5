"""A small project, read by BitBake's cooker: the layer, the class and the fragment as a build has them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import servers
import world

PARSE_SECONDS = 30

# What OE-Core has in its place, as far as it matters here.
BITBAKE_CONF = """
CACHE = "${TOPDIR}/cache"
PERSISTENT_DIR = "${TOPDIR}/persistent"
TMPDIR = "${TOPDIR}/tmp"
T = "${TMPDIR}/tasks/${PN}"
STAMP = "${TMPDIR}/stamps/${PN}"
PN = "${@bb.parse.vars_from_file(d.getVar('FILE', False), d)[0] or 'none'}"
PV = "1"
PF = "${PN}"
BB_HASHCONFIG_IGNORE_VARS = "BB_HASHSERVE BBPATH TOPDIR BB_ORIGENV FILE BBINCLUDED DATE TIME"
BB_HASHSERVE ??= "auto"
BB_SIGNATURE_HANDLER ?= "TestEquivHash"
OE_FRAGMENTS ?= ""
OE_FRAGMENTS_METADATA_VARS ?= "BB_CONF_FRAGMENT_SUMMARY BB_CONF_FRAGMENT_DESCRIPTION"
OE_FRAGMENTS_BUILTIN ?= ""
include conf/local.conf
include conf/multiconfig/${BB_CURRENT_MC}.conf
addfragments conf/fragments OE_FRAGMENTS OE_FRAGMENTS_METADATA_VARS OE_FRAGMENTS_BUILTIN
"""

FILES = {
    "core/conf/layer.conf": """
BBPATH .= ":${LAYERDIR}"
BBFILES += "${LAYERDIR}/*.bb"
BBFILE_COLLECTIONS += "core"
BBFILE_PATTERN_core = "^${LAYERDIR}/"
BBFILE_PRIORITY_core = "5"
LAYERSERIES_CORENAMES = "%(series)s"
LAYERSERIES_COMPAT_core = "%(series)s"
""",
    "core/conf/bitbake.conf": BITBAKE_CONF,
    "core/classes/base.bbclass": """
addtask build
do_build[nostamp] = "1"
python do_build() {
    bb.note("built")
}
""",
    "core/small.bb": 'DESCRIPTION = "a recipe"\n',
    "build/conf/bblayers.conf": 'BBPATH = "${TOPDIR}"\nBBFILES ?= ""\nBBLAYERS = "%(core)s %(layer)s"\n',
    "build/conf/multiconfig/other.conf": 'OTHER = "1"\n',
}


class AProject(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="peers-bitbake-")
        self.addCleanup(directory.cleanup)
        self.directory = directory.name

    def parse(self, local_conf, series="wrynose"):
        """Has a cooker read the configuration and the recipe; what came out."""
        names = {"core": f"{self.directory}/core", "layer": world.LAYER, "series": series}
        for name, content in FILES.items():
            path = Path(self.directory) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            text = content if name.endswith("bitbake.conf") else content % names
            # BitBake would take a new time for a change.
            if not path.exists() or path.read_text() != text:
                path.write_text(text)
        path = Path(self.directory) / "build/conf/local.conf"
        if not path.exists() or path.read_text() != local_conf:
            path.write_text(local_conf)
        return self.cook()

    def cook(self):
        """Runs `cook` in the build directory, with what it starts ended in any case."""
        with tempfile.TemporaryFile("w+") as output:
            process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("cook"))],
                cwd=f"{self.directory}/build",
                env={"PATH": os.environ["PATH"], "HOME": self.directory, "LC_ALL": "C.UTF-8"},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            try:
                code = process.wait(PARSE_SECONDS)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            output.seek(0)
            text = output.read()
        self.assertEqual(code, 0, text)
        told = json.loads(text.splitlines()[-1])
        self.assertEqual(told["answer"], {"alive": True})
        return told

    def conf(self, address):
        return (
            f'INHERIT += "fingerpost"\nBB_HASHSERVE = "{address}"\nBB_HASHSERVE_UPSTREAM = "wss://upstream.example"\n'
        )

    def missing(self):
        return f"unix://{self.directory}/missing.sock"

    def local(self):
        return f"unix://{self.directory}/build/hashserve.sock"

    def assert_local(self, told):
        # BitBake puts the address of its own server in the place of "auto".
        self.assertEqual(set(told["hashserve"].values()), {self.local()})
        [started] = told["started"]
        self.assertEqual((started["address"], started["upstream"]), (self.local(), None))
        [warning] = told["warnings"]
        self.assertIn("This build goes on with a local one", warning)

    def test_without_its_server_starts_a_local_one(self):
        told = self.parse(self.conf(self.missing()))
        self.assert_local(told)
        self.assertEqual(told["parsed"], 1)

    def test_with_its_server_uses_it(self):
        with servers.Reference(f"unix://{self.directory}/hash.sock") as server:
            told = self.parse(self.conf(server.address))
        self.assertEqual(told["hashserve"], {"": server.address})
        self.assertEqual((told["started"], told["warnings"]), ([], []))

    def test_switches_without_parsing_again(self):
        address = f"unix://{self.directory}/hash.sock"
        with servers.Reference(address):
            self.assertEqual(self.parse(self.conf(address))["parsed"], 1)
        told = self.parse(self.conf(address))
        self.assert_local(told)
        self.assertEqual((told["parsed"], told["cached"]), (0, 1))

    def test_switches_every_multiconfig(self):
        told = self.parse(self.conf(self.missing()) + 'BBMULTICONFIG = "other"\n')
        self.assertEqual(set(told["hashserve"]), {"", "other"})
        self.assert_local(told)

    def test_is_read_by_every_release_that_the_layer_names(self):
        layer = Path(world.LAYER, "conf/layer.conf").read_text()
        [names] = [line.split('"')[1] for line in layer.splitlines() if line.startswith("LAYERSERIES_COMPAT_")]
        self.assertEqual(names.split()[0], "kirkstone")
        for series in ("kirkstone", names.split()[-1]):
            with self.subTest(series):
                self.assert_local(self.parse(self.conf(self.missing()), series))

    def test_with_the_fragment_asks_the_agent_of_the_host(self):
        told = self.parse('OE_FRAGMENTS += "fingerpost/agent"\n')
        self.assert_local(told)
        self.assertIn("unix:///run/fingerpost-agent/agent.sock", told["warnings"][0])

    def test_with_the_fragment_has_the_last_word(self):
        with servers.Reference(f"unix://{self.directory}/hash.sock") as server:
            told = self.parse(f'OE_FRAGMENTS += "fingerpost/agent"\nBB_HASHSERVE = "{server.address}"\n')
        self.assertEqual(told["hashserve"], {"": server.address})
