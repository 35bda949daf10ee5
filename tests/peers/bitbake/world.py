"""BitBake's data store and events as a build has them, with the class of the layer in it."""

import contextlib
import logging
import os
import tempfile
import unittest

import bb
import bb.cooker
import bb.data
import bb.event
import bb.parse
import bb.siggen
from fingerpost import agent, events, memory  # noqa: F401

LAYER = os.path.realpath(f"{os.path.dirname(__file__)}/../../../clients/bitbake/meta-fingerpost")


class OEEquivHash(bb.siggen.SignatureGeneratorUniHashMixIn, bb.siggen.SignatureGeneratorBasicHash):
    """As OE-Core has it: a handler that asks the hash server, by the name that everybody configures."""

    name = "OEEquivHash"


class Said(logging.Handler):
    """What was said to the user."""

    def __init__(self):
        super().__init__(logging.INFO)
        self.warnings = []
        self.notes = []

    def emit(self, record):
        (self.warnings if record.levelno >= logging.WARNING else self.notes).append(record.getMessage())


@contextlib.contextmanager
def listening():
    """Collects what is said within."""
    said, logger = Said(), logging.getLogger("BitBake")
    level = logger.level
    logger.addHandler(said)
    logger.setLevel(logging.INFO)
    try:
        yield said
    finally:
        logger.removeHandler(said)
        logger.setLevel(level)


class Build(unittest.TestCase):
    """A temporary directory, and data stores with the class inherited."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="peers-bitbake-")
        self.addCleanup(directory.cleanup)
        self.directory = directory.name
        memory.forget()
        self.addCleanup(agent.stop)
        self.said = self.enterContext(listening())
        handlers = bb.event.get_class_handlers()
        self.addCleanup(bb.event.set_class_handlers, handlers)
        bb.event.set_class_handlers(bb.event.clean_class_handlers())

    def data(self, address, multiconfig="", **variables):
        """The data store of one configuration, parsed and with its handlers registered."""
        d = bb.data.init()
        for name, value in {
            "BB_CURRENT_MC": multiconfig,
            "__bbclasstype": "global",
            "BBPATH": LAYER,
            "TOPDIR": self.directory,
            "FINGERPOST_LIB": f"{LAYER}/lib",
            "BB_SIGNATURE_HANDLER": "OEEquivHash",
            # As OE-Core has it: the address alone.
            "BB_HASHCONFIG_IGNORE_VARS": "BB_HASHSERVE BB_ORIGENV TOPDIR",
            "BB_HASHSERVE": address,
            "BB_ORIGENV": self.original_environment(),
            **variables,
        }.items():
            d.setVar(name, value)
        bb.parse.BBHandler.inherit("fingerpost", "a test", 0, d)
        for name in d.getVar("__BBHANDLERS", False):
            mask = d.getVarFlag(name, "eventmask").split()
            bb.event.register(name, d.getVar(name, False), mask, d.getVarFlag(name, "filename"), 1, d)
        return d

    def original_environment(self):
        original = bb.data.init()
        for name in ("PATH", "HOME"):
            original.setVar(name, os.environ.get(name, ""))
        return original

    def parsed(self, address, multiconfig="", **variables):
        """A data store behind ConfigParsed."""
        d = self.data(address, multiconfig, **variables)
        bb.event.fire(bb.event.ConfigParsed(), d)
        return d

    def assert_local(self, d):
        self.assertEqual(d.getVar("BB_HASHSERVE"), "auto")
        self.assertEqual(d.getVar("BB_HASHSERVE_UPSTREAM"), "")

    def assert_unchanged(self, d, address):
        self.assertEqual(d.getVar("BB_HASHSERVE"), address)
        self.assertEqual(self.said.warnings, [])
