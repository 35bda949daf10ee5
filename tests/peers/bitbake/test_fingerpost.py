"""The real server, over each of its transports, and the real agent that a build starts."""

import asyncio
import os
import sys
import unittest
from pathlib import Path

import bb.cooker
import bb.event
import world
from fingerpost import agent

sys.path.append(str(Path(__file__).resolve().parents[1]))

from client import HashClient
from server import Farm

METHOD = "oe.sstatesig.OEOuthashBasic"


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

    async def check_agent(self, transport, url):
        """A build whose agent asks a server, and is gone with BitBake."""
        program = os.environ["FINGERPOST_TEST_BINARY"]
        async with Farm(Path(program), transport) as farm:
            server = await farm.server()
            original = self.original_environment()
            for name in ("PATH", "SSL_CERT_FILE"):
                original.setVar(name, os.environ.get(name, ""))
            original.setVar("XDG_STATE_HOME", str(self.directory))
            path = f"{self.directory}/agent.sock"
            d = self.data(
                server.address,
                BB_ORIGENV=original,
                FINGERPOST_AGENT="1",
                FINGERPOST_AGENT_SOCKET=path,
                FINGERPOST_PROGRAM=program,
                FINGERPOST_SERVER=url(server),
            )
            bb.event.fire(bb.event.ConfigParsed(), d)
            self.assert_unchanged(d, f"unix://{path}")
            client = HashClient(f"unix://{path}")
            await client.open()
            self.assertEqual(await client.unihashes([(METHOD, "1" * 64)]), [None])
            self.assertEqual(await client.report(METHOD, "1" * 64, "2" * 64, "3" * 64), "3" * 64)
            self.assertEqual(await client.unihashes([(METHOD, "1" * 64)]), ["3" * 64])
            self.assertEqual(agent.status(d, path)["counts"]["reports"], 1)
            await client.close()
            process = agent.memory.of("agent")["process"]
            # The agent waits for clients to see the end, and this one is in the same loop.
            await asyncio.to_thread(bb.event.fire, bb.cooker.CookerExit(), d)
            self.assertIsNotNone(process.poll())

    async def test_behind_the_real_agent(self):
        await self.check_agent("tcp", lambda server: server.address)

    async def test_behind_the_real_agent_over_http(self):
        await self.check_agent("ws", lambda server: server.address.replace("ws://", "http://", 1).removesuffix("/"))
