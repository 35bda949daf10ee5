"""The line at the end of a build."""

import json
from types import SimpleNamespace
from unittest import mock

import bb
import bb.event
import bb.parse
import bb.runqueue
import test_agent
import world


class TheLine(world.Build):
    def setUp(self):
        super().setUp()
        self.data_of_build = self.data("")
        siggen = SimpleNamespace(taskhash={}, unihash={})
        self.enterContext(mock.patch.object(bb.parse, "siggen", siggen, create=True))

    def build(self, restored, run, d=None):
        """The events of a build, as the run queue fires them."""
        d = d or self.data_of_build
        queue = SimpleNamespace(rqdata=SimpleNamespace(get_task_hash=lambda _: "0" * 64))
        stats = bb.runqueue.RunQueueStats(restored + run, restored)
        bb.event.fire(bb.event.BuildStarted("1", []), d)
        for index in range(restored):
            task = f"/recipe{index}.bb:do_package"
            bb.event.fire(bb.runqueue.sceneQueueTaskCompleted(task, stats, queue), d)
        for index in range(run):
            bb.event.fire(bb.runqueue.runQueueTaskCompleted(f"/recipe{index}.bb:do_compile", stats, queue), d)
        bb.event.fire(bb.event.BuildCompleted(restored + run, "1", []), d)

    def test_has_what_was_restored_and_what_was_run(self):
        self.build(3, 2)
        self.assertEqual(self.said.notes, ["fingerpost: 3 tasks came from shared state, 2 were run."])

    def test_counts_each_build_anew(self):
        self.build(3, 2)
        self.build(1, 0)
        self.assertEqual(self.said.notes[1:], ["fingerpost: 1 tasks came from shared state, 0 were run."])

    def test_is_none_when_nothing_was_to_be_done(self):
        self.build(0, 0)
        self.assertEqual(self.said.notes, [])

    def test_has_what_equivalence_brought(self):
        bb.parse.siggen.taskhash = {"same": "1", "equivalent": "2", "not asked": "3"}
        bb.parse.siggen.unihash = {"same": "1", "equivalent": "1", "not asked": None}
        self.build(1, 0)
        self.assertIn("; 1 have the unihash of another taskhash.", self.said.notes[0])

    def test_is_printed_once_with_multiconfigs(self):
        other = self.data("", "other")
        self.build(1, 0)
        bb.event.fire(bb.event.BuildCompleted(1, "1", []), other)
        self.assertEqual(len(self.said.notes), 1)

    def asked_agent(self, told, address=None):
        original = self.original_environment()
        original.setVar("FAKE_STATUS", told)
        original.setVar("PATH", test_agent.python_first())
        path = f"{self.directory}/agent.sock"
        d = self.data("", FINGERPOST_PROGRAM=test_agent.PROGRAM, BB_ORIGENV=original)
        d.setVar("BB_HASHSERVE", address or f"unix://{path}")
        self.build(1, 0, d)
        return self.said.notes[-1]

    def test_has_what_the_agent_tells(self):
        told = json.dumps({"lookups": 100, "answered_locally": 93})
        self.assertIn("; the agent answered 93 of 100 look-ups itself.", self.asked_agent(told))

    def test_does_without_an_agent_that_tells_something_else(self):
        for told in (
            "",
            "[]",
            "{}",
            '{"lookups": "many", "answered_locally": 1}',
            '{"lookups": 0, "answered_locally": 0}',
        ):
            with self.subTest(told):
                self.assertTrue(self.asked_agent(told).endswith("0 were run."))

    def test_does_not_ask_the_local_server_for_it(self):
        told = json.dumps({"lookups": 100, "answered_locally": 93})
        note = self.asked_agent(told, f"unix://{self.directory}/hashserve.sock")
        self.assertNotIn("agent", note)

    def test_survives_an_odd_signature_generator(self):
        bb.parse.siggen = object()
        self.build(1, 0)
        self.assertEqual(len(self.said.notes), 1)
