"""What `fingerpost doctor` makes of that which BitBake prints."""

import json
import os
import subprocess

import project
import test_agent

DOCTOR_SECONDS = 30


class TheDoctor(project.Project):
    def findings(self, local_conf):
        """What each check says of the build, and in which state; the first word of a check is enough."""
        printed = self.printed(local_conf)
        doctor = subprocess.run(
            [os.environ["FINGERPOST_TEST_BINARY"], "doctor", "--bitbake-env", "-", "--json"],
            input=printed,
            env={"HOME": self.directory},
            stdout=subprocess.PIPE,
            text=True,
            timeout=DOCTOR_SECONDS,
        )
        return {finding["id"]: (finding["state"], finding["says"]) for finding in json.loads(doctor.stdout)}

    def assert_says(self, finding, state, words):
        self.assertEqual(finding[0], state, finding)
        self.assertIn(words, finding[1])

    def test_knows_the_server_that_bitbake_starts_for_itself(self):
        found = self.findings('BB_HASHSERVE = "auto"\n')
        self.assert_says(found["address"], "ok", "a server of its own")
        self.assertIn("database", found)
        self.assertNotIn("socket", found)

    def test_says_that_the_class_may_have_switched(self):
        found = self.findings(self.conf(self.missing()))
        self.assert_says(found["address"], "warning", "--server ADDR")
        self.assertNotIn("socket", found)

    def test_knows_the_agent_that_the_class_starts(self):
        found = self.findings(
            self.conf("wss://hash.example/")
            + f'FINGERPOST_AGENT = "1"\nFINGERPOST_PROGRAM = "{test_agent.PROGRAM}"\n'
            + 'FINGERPOST_SERVER = "https://u:secret@fingerpost.example"\n'
        )
        self.assert_says(found["address"], "not-checked", "asks https://fingerpost.example:")
        self.assertNotIn("socket", found)

    def test_reads_what_is_quoted(self):
        found = self.findings('BB_HASHSERVE = "unix:///of `this` $user"\n')
        self.assert_says(found["address"], "ok", "/of `this` $user")
