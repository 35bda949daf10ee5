"""The agent that a build starts, and that it is gone when the build is."""

import json
import os
import signal
import sys
import time
from pathlib import Path
from unittest import mock

import bb
import bb.cooker
import bb.event
import world
from fingerpost import agent, choice, memory

PROGRAM = str(Path(__file__).with_name("fake-fingerpost"))
SERVER = "https://fingerpost.example"
WAIT_SECONDS = 10


def python_first():
    """A PATH with which the fake agent runs by the Python of these tests."""
    return f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"


class TheAgent(world.Build):
    def setUp(self):
        super().setUp()
        self.path = f"{self.directory}/fingerpost-agent.sock"
        # A busy host may take its time to start Python; the real agent takes some milliseconds.
        self.enterContext(mock.patch.object(choice, "SERVER_SECONDS", WAIT_SECONDS))

    def original(self, **variables):
        original = self.original_environment()
        original.setVar("PATH", python_first())
        for name, value in variables.items():
            original.setVar(name, value)
        return original

    def build(self, address="wss://hash.example/ws", environment=None, **variables):
        settings = {
            "FINGERPOST_AGENT": "1",
            "FINGERPOST_SERVER": SERVER,
            "FINGERPOST_PROGRAM": PROGRAM,
            "BB_ORIGENV": self.original(**(environment or {})),
        }
        return self.parsed(address, **{**settings, **variables})

    def started(self):
        """What each agent that ran here has told of itself."""
        lines = Path(f"{self.path}.started").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def assert_gone(self, pid):
        end = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < end:
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return
            time.sleep(0.01)
        self.fail("the agent still runs")

    def test_is_what_the_build_asks(self):
        d = self.build(FINGERPOST_AGENT_OPTIONS="--snapshot 'a b'", environment={"CI_TOKEN": "of the job"})
        self.assert_unchanged(d, f"unix://{self.path}")
        [told] = self.started()
        self.assertEqual(told["arguments"], ["agent", "--server", SERVER, "--socket", self.path, "--snapshot", "a b"])
        self.assertEqual(told["token"], "of the job")

    def test_asks_the_configured_server_unless_told_otherwise(self):
        self.build(FINGERPOST_SERVER="${BB_HASHSERVE}")
        self.assertIn("wss://hash.example/ws", self.started()[0]["arguments"])

    def test_may_be_the_small_program(self):
        program = f"{self.directory}/fingerpost-agent"
        os.symlink(PROGRAM, program)
        d = self.build(FINGERPOST_PROGRAM=program, environment={"FAKE_STATUS": '{"lookups": 3}'})
        self.assert_unchanged(d, f"unix://{self.path}")
        [told] = self.started()
        self.assertEqual(told["arguments"][:2], ["--server", SERVER])
        self.assertEqual(agent.status(d, self.path), {"lookups": 3})

    def with_netrc(self, *machines, **variables):
        """The warnings of a build whose user has logins for these."""
        lines = [f"machine {machine} login ann password secret\n" for machine in machines]
        netrc = Path(self.directory, ".netrc")
        netrc.write_text("".join(lines))
        netrc.chmod(0o600)
        with mock.patch.dict(os.environ, HOME=self.directory):
            d = self.build(**variables)
        self.assertEqual(d.getVar("BB_HASHSERVE"), f"unix://{self.path}")
        memory.of("choice").clear()
        return self.said.warnings

    def test_says_what_it_needs_in_the_place_of_a_login_in_netrc(self):
        [warning] = self.with_netrc("wss://hash.example/ws")
        self.assertIn(f'"machine unix://{self.path}"', warning)
        self.assertNotIn("secret", warning)

    def test_says_nothing_of_a_login_that_is_used(self):
        address = "wss://hash.example/ws"
        self.assertEqual(self.with_netrc("sstate.example"), [])
        self.assertEqual(self.with_netrc(address, f"unix://{self.path}"), [])
        variables = {"BB_HASHSERVE_USERNAME": "ann", "BB_HASHSERVE_PASSWORD": "secret"}
        self.assertEqual(self.with_netrc(address, **variables), [])

    def test_ends_with_bitbake(self):
        d = self.build()
        bb.event.fire(bb.cooker.CookerExit(), d)
        self.assert_gone(self.started()[0]["pid"])
        self.assertFalse(os.path.exists(self.path))

    def test_stays_between_builds_of_one_bitbake(self):
        d = self.build()
        bb.event.fire(bb.event.BuildCompleted(0, "1", []), d)
        memory.of("choice").clear()
        self.assert_unchanged(self.build(), f"unix://{self.path}")
        self.assertEqual(len(self.started()), 1)

    def test_is_another_one_for_another_server(self):
        self.build()
        self.build(FINGERPOST_SERVER="https://other.example")
        first, second = self.started()
        self.assert_gone(first["pid"])
        self.assertIn("https://other.example", second["arguments"])

    def test_ends_when_bitbake_is_killed(self):
        child = os.fork()
        if child == 0:
            self.build()
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(child, 0)
        self.assert_gone(self.started()[0]["pid"])

    def test_takes_the_place_of_a_stale_socket(self):
        Path(self.path).touch()
        self.assert_unchanged(self.build(), f"unix://{self.path}")

    def assert_local_because(self, d, why):
        self.assert_local(d)
        self.assertEqual(len(self.said.warnings), 1)
        self.assertIn(f"the agent for {SERVER}: {why}", self.said.warnings[0])

    def test_that_ends_at_once_is_none(self):
        d = self.build(environment={"FAKE_AGENT": "ends"})
        self.assert_local_because(d, "it ended at once: agent: the state directory is on NFS")

    def test_that_does_not_listen_in_time_is_none(self):
        with mock.patch.object(choice, "SERVER_SECONDS", 0.3):
            d = self.build(environment={"FAKE_AGENT": "waits"})
        self.assert_local_because(d, "no answer in time")
        self.assertEqual(memory.of("agent"), {})

    def test_that_is_not_installed_is_none(self):
        d = self.build(FINGERPOST_PROGRAM="no-such-program")
        self.assert_local_because(d, "there is no program no-such-program to start")

    def test_that_would_ask_itself_is_none(self):
        d = self.build(address=f"unix://{self.path}", FINGERPOST_SERVER="${BB_HASHSERVE}")
        self.assert_local(d)
        self.assertIn("FINGERPOST_SERVER does not say", self.said.warnings[0])

    def test_whose_socket_has_no_directory_is_none(self):
        d = self.build(FINGERPOST_AGENT_SOCKET="/no/such/directory/agent.sock")
        self.assert_local(d)

    def test_is_not_started_without_a_hash_server(self):
        for address in ("", "auto"):
            with self.subTest(address), mock.patch.object(agent, "start", side_effect=AssertionError):
                self.assertEqual(self.build(address).getVar("BB_HASHSERVE"), address)

    def test_is_one_for_every_multiconfig(self):
        main, other = self.build(), self.build(BB_CURRENT_MC="other")
        self.assertEqual(main.getVar("BB_HASHSERVE"), other.getVar("BB_HASHSERVE"))
        self.assertEqual(len(self.started()), 1)
