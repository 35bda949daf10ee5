"""The real server, over each of its transports."""

import os
import sys
import unittest
from pathlib import Path

import bb.event
import world

sys.path.append(str(Path(__file__).resolve().parents[1]))

from server import Farm


class Fingerpost(world.Build, unittest.IsolatedAsyncioTestCase):
    async def check(self, transport):
        async with Farm(Path(os.environ["FINGERPOST_TEST_BINARY"]), transport) as farm:
            server = await farm.server()
            original = self.original_environment()
            original.setVar("SSL_CERT_FILE", os.environ.get("SSL_CERT_FILE", ""))
            d = self.data(server.address, BB_ORIGENV=original)
            bb.event.fire(bb.event.ConfigParsed(), d)
            self.assert_unchanged(d, server.address)

    async def test_over_tcp(self):
        await self.check("tcp")

    async def test_over_a_unix_socket(self):
        await self.check("unix")

    async def test_over_websocket(self):
        await self.check("ws")

    async def test_over_websocket_with_tls(self):
        await self.check("wss")
