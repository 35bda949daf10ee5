"""A small project, read by BitBake's cooker: the layer, the class and the fragment as a build has them."""

from pathlib import Path

import project
import servers
import world


class AProject(project.Project):
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
