"""A small project for BitBake's cooker, with the layer in it, and what becomes of it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

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


class Project(unittest.TestCase):
    """A temporary directory with the project."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="peers-bitbake-")
        self.addCleanup(directory.cleanup)
        self.directory = directory.name

    def write(self, local_conf, series="wrynose"):
        """Writes the project, as far as it is not there already."""
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

    def parse(self, local_conf, series="wrynose"):
        """Has a cooker read the configuration and the recipe; what came out."""
        self.write(local_conf, series)
        told = json.loads(self.cook().splitlines()[-1])
        self.assertEqual(told["answer"], {"alive": True})
        return told

    def printed(self, local_conf):
        """What `bitbake -e` prints."""
        self.write(local_conf)
        return self.cook("-e")

    def cook(self, *arguments):
        """Runs `cook` in the build directory, with what it starts ended in any case; gives what it printed."""
        with tempfile.TemporaryFile("w+") as output:
            process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("cook")), *arguments],
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
        return text

    def conf(self, address):
        return (
            f'INHERIT += "fingerpost"\nBB_HASHSERVE = "{address}"\nBB_HASHSERVE_UPSTREAM = "wss://upstream.example"\n'
        )

    def missing(self):
        return f"unix://{self.directory}/missing.sock"

    def local(self):
        return f"unix://{self.directory}/build/hashserve.sock"
