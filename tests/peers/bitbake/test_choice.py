"""Which hash server a build uses after ConfigParsed, and what that costs."""

import ast
import os
import socket
import threading
from pathlib import Path
from unittest import mock

import bb
import bb.data
import bb.event
import servers
import world
from fingerpost import choice, memory, mounts

UPSTREAM = "wss://upstream.example/ws"


def nowhere():
    """An address that refuses connections."""
    taken = socket.create_server(("127.0.0.1", 0))
    address = "127.0.0.1:%d" % taken.getsockname()[1]
    taken.close()
    return address


class TheChoice(world.Build):
    def test_a_server_that_answers_is_used(self):
        with servers.Reference(f"unix://{self.directory}/hash.sock") as server:
            d = self.parsed(server.address, BB_HASHSERVE_UPSTREAM=UPSTREAM)
        self.assert_unchanged(d, server.address)
        self.assertEqual(d.getVar("BB_HASHSERVE_UPSTREAM"), UPSTREAM)

    def test_of_an_absent_server_is_a_local_one_without_upstream(self):
        address = nowhere()
        d = self.parsed(address, BB_HASHSERVE_UPSTREAM=UPSTREAM)
        self.assert_local(d)
        self.assertEqual(len(self.said.warnings), 1)
        self.assertIn(f"{address}: Connection refused", self.said.warnings[0])

    def test_of_a_silent_server_with_a_login_drops_the_login(self):
        # With a login BitBake's client would not end at all; and the local server would refuse it.
        login = {"BB_HASHSERVE_USERNAME": "builder", "BB_HASHSERVE_PASSWORD": "secret"}
        with servers.Scripted(servers.silent) as server, mock.patch.object(choice, "SERVER_SECONDS", 0.2):
            d = self.parsed(server.address, **login)
        self.assert_local(d)
        self.assertEqual([d.getVar(name) for name in login], ["", ""])
        self.assertNotIn("secret", self.said.warnings[0])

    def test_does_not_show_a_login_in_the_address(self):
        for login in ("builder:secret", "builder:top@secret", "builder:secret/word", "builder:top/secret"):
            with self.subTest(login):
                memory.forget()
                self.assert_local(self.parsed(f"ws://{login}@{nowhere()}/"))
                self.assertNotIn("secret", self.said.warnings[-1])

    def test_of_an_earlier_parse_is_not_taken_when_this_one_fails(self):
        self.assert_local(self.parsed(nowhere()))
        address = nowhere()
        with mock.patch("fingerpost.choice.decide", side_effect=RuntimeError("broken")):
            stores = [self.parsed(address, name) for name in ("", "one")]
        self.assertEqual([d.getVar("BB_HASHSERVE") for d in stores], [address, address])

    def test_a_login_stays_with_a_server_that_answers(self):
        with servers.Reference("127.0.0.1:0") as server:
            d = self.parsed(server.address, BB_HASHSERVE_USERNAME="builder", BB_HASHSERVE_PASSWORD="secret")
        self.assert_unchanged(d, server.address)
        self.assertEqual(d.getVar("BB_HASHSERVE_PASSWORD"), "secret")

    def test_overrides_do_not_bring_the_absent_server_back(self):
        d = self.parsed("auto", **{"OVERRIDES": "farm", "BB_HASHSERVE:farm": nowhere()})
        self.assert_local(d)

    def test_is_none_without_a_hash_server(self):
        for address in ("", None, "auto"):
            with self.subTest(address), mock.patch("fingerpost.probe.ping", side_effect=AssertionError):
                memory.forget()
                self.assert_unchanged(self.parsed(address), address)

    def test_is_none_for_handlers_that_ask_no_server(self):
        address = nowhere()
        for handler in ("OEBasicHash", "basichash", "noop", "", None):
            with self.subTest(handler):
                memory.forget()
                self.assert_unchanged(self.parsed(address, BB_SIGNATURE_HANDLER=handler), address)

    def test_is_made_for_every_handler_that_asks_a_server(self):
        class Own(world.OEEquivHash):
            name = "SiteEquivHash"

        for handler in ("TestEquivHash", "SiteEquivHash"):
            memory.forget()
            self.assert_local(self.parsed(nowhere(), BB_SIGNATURE_HANDLER=handler))

    def test_is_none_in_workers(self):
        address = nowhere()
        self.assert_unchanged(self.parsed(address, BB_WORKERCONTEXT="1"), address)

    def test_an_event_handler_never_raises(self):
        address = nowhere()
        for settings, why in (
            ({"FINGERPOST_AGENT": "on"}, "ValueError: Invalid value for to_boolean: on"),
            ({"FINGERPOST_AGENT": "1", "FINGERPOST_AGENT_OPTIONS": "'"}, "ValueError: No closing quotation"),
        ):
            with self.subTest(settings):
                memory.forget()
                d = self.parsed(address, FINGERPOST_PROGRAM="true", **settings)
                self.assertEqual(d.getVar("BB_HASHSERVE"), address)
                self.assertIn(why, self.said.warnings[-1])

    def test_a_class_without_its_module_says_so_and_goes_on(self):
        address = nowhere()
        with mock.patch.dict("sys.modules", {"fingerpost.events": None}):
            d = self.parsed(address)
        self.assertEqual(d.getVar("BB_HASHSERVE"), address)
        self.assertIn("is not checked", self.said.warnings[0])

    def test_is_made_by_a_handler_that_gets_the_event_alone(self):
        # As kirkstone compiles it, with `d` among the builtins, and left from another handler.
        d = self.data(nowhere())
        event = bb.event.ConfigParsed()
        event.data = d
        names = {"bb": bb, "d": None}
        exec("def handler(e):\n" + d.getVar("fingerpost_eventhandler", False), names)
        names["handler"](event)
        self.assert_local(d)

    def test_is_made_by_code_that_python_3_6_reads(self):
        # That of the oldest hosts that kirkstone builds on.
        for path in Path(world.LAYER, "lib").rglob("*.py"):
            ast.parse(path.read_text(), feature_version=(3, 6))

    def test_websocket_needs_a_client_for_it(self):
        with servers.WebSocket(tls=False) as server:
            with mock.patch.dict("sys.modules", {"websockets": None}):
                self.assert_local(self.parsed(server.address))
            self.assertIn("package websockets is not installed", self.said.warnings[0])
            memory.forget()
            with mock.patch("websockets.__version__", "8.1", create=True):
                self.assert_local(self.parsed(server.address))
            self.assertIn("package websockets is older than", self.said.warnings[1])
            memory.forget()
            # As on kirkstone, which would take the address for a host and a port.
            with mock.patch("bb.asyncrpc.AsyncClient", object):
                self.assert_local(self.parsed(server.address))
            self.assertIn("does not speak WebSocket", self.said.warnings[2])

    def test_trusts_and_goes_the_way_that_bitbake_does(self):
        trusted = servers.certificate()[0]
        original = self.original_environment()
        original.setVar("SSL_CERT_FILE", trusted)
        with servers.WebSocket() as server, servers.Scripted(servers.proxying) as proxy:
            self.assert_unchanged(self.parsed(server.address, BB_ORIGENV=original), server.address)
            memory.forget()
            original.setVar("HTTPS_PROXY", f"http://{proxy.address}")
            self.assert_unchanged(self.parsed(server.address, BB_ORIGENV=original), server.address)
            self.assertEqual(len(proxy.accepted), 1)

    def test_what_cannot_be_checked_stays(self):
        original = self.original_environment()
        original.setVar("HTTPS_PROXY", "socks5h://127.0.0.1:1")
        self.assert_unchanged(self.parsed("wss://hash.example/", BB_ORIGENV=original), "wss://hash.example/")
        self.assertIn("is not known", self.said.notes[-1])


class OneParse(world.Build):
    def test_is_decided_once_for_every_multiconfig(self):
        with servers.Scripted(servers.closing) as server:
            stores = [self.parsed(server.address, name) for name in ("", "one", "two")]
            self.assertEqual(len(server.accepted), 1)
        for d in stores:
            self.assert_local(d)
        self.assertEqual(len(self.said.warnings), 1)

    def test_keeps_a_server_that_answered_for_every_multiconfig(self):
        with servers.Scripted(servers.alive) as server:
            stores = [self.parsed(server.address, name) for name in ("", "one", "two")]
            self.assertEqual(len(server.accepted), 1)
        for d in stores:
            self.assert_unchanged(d, server.address)

    def test_includes_that_the_configuration_is_read_again(self):
        # What BB_INVALIDCONF does, and BitBake's user interface at the start of a build.
        with servers.Scripted(servers.closing) as server:
            for _ in range(3):
                self.assert_local(self.parsed(server.address))
            self.assertEqual(len(server.accepted), 1)
        self.assertEqual(len(self.said.warnings), 1)

    def test_of_another_address_is_another_parse(self):
        self.assert_local(self.parsed(nowhere()))
        with servers.Reference("127.0.0.1:0") as server:
            self.assertEqual(self.parsed(server.address).getVar("BB_HASHSERVE"), server.address)

    def test_later_asks_again(self):
        with servers.Scripted(servers.closing) as server, mock.patch.object(choice, "SAME_PARSE_SECONDS", 0):
            self.parsed(server.address)
            self.parsed(server.address)
            self.assertEqual(len(server.accepted), 2)

    def test_on_kirkstone_begins_with_default(self):
        # Its first data store is that of a multiconfig called "default".
        for d in [self.parsed(nowhere(), name) for name in ("default", "one")]:
            self.assert_local(d)
        self.assertEqual(len(self.said.warnings), 1)


class TheHashOfTheConfiguration(world.Build):
    def test_is_the_same_after_switching(self):
        variables = {
            "BB_HASHSERVE_UPSTREAM": UPSTREAM,
            "BB_HASHSERVE_USERNAME": "builder",
            "BB_HASHSERVE_PASSWORD": "secret",
            "BB_HASHSERVE_DB_DIR": "/mnt/nfs",
        }
        with servers.Reference(f"unix://{self.directory}/hash.sock") as server:
            used = self.parsed(server.address, **variables)
        memory.forget()
        with mock.patch("bb.utils.is_path_on_nfs", return_value=True):
            switched = self.parsed(server.address, **variables)
        self.assert_local(switched)
        self.assertEqual(used.get_hash(), switched.get_hash())

    def test_is_the_same_after_switching_from_variables_that_were_not_set(self):
        with servers.Reference(f"unix://{self.directory}/hash.sock") as server:
            used = self.parsed(server.address)
        memory.forget()
        switched = self.parsed(server.address)
        self.assert_local(switched)
        self.assertEqual(used.get_hash(), switched.get_hash())

    def test_still_changes_with_everything_else(self):
        address = nowhere()
        self.assertNotEqual(self.parsed(address).get_hash(), self.parsed(address, DISTRO="other").get_hash())


class TheDirectoryOfTheDatabase(world.Build):
    def test_on_nfs_is_not_used_by_the_local_server(self):
        with mock.patch("bb.utils.is_path_on_nfs", return_value=True):
            d = self.parsed(nowhere(), BB_HASHSERVE_DB_DIR="/mnt/nfs")
        self.assert_local(d)
        self.assertEqual(d.getVar("BB_HASHSERVE_DB_DIR"), "")
        self.assertEqual(len(self.said.warnings), 1)
        self.assertIn("/mnt/nfs is on NFS", self.said.warnings[0])

    def test_on_a_disk_stays(self):
        d = self.parsed(nowhere(), BB_HASHSERVE_DB_DIR=self.directory)
        self.assert_local(d)
        self.assertEqual(d.getVar("BB_HASHSERVE_DB_DIR"), self.directory)

    def unanswered(self, directory):
        """What becomes of a directory whose file system does not say what it is."""
        done = threading.Event()
        self.addCleanup(done.set)
        with (
            mock.patch("bb.utils.is_path_on_nfs", side_effect=lambda _: done.wait(10)),
            mock.patch.object(choice, "ALL_SECONDS", 0.2),
        ):
            return self.parsed(nowhere(), BB_HASHSERVE_DB_DIR=directory).getVar("BB_HASHSERVE_DB_DIR")

    def test_of_a_busy_host_stays(self):
        self.assertEqual(self.unanswered(self.directory), self.directory)

    def test_that_does_not_answer_is_on_nfs_if_the_kernel_says_so(self):
        table = f"{self.directory}/mountinfo"
        lines = (
            "21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw",
            "30 21 0:40 / /mnt/with\\040space rw shared:5 - nfs4 server:/export rw",
            "31 30 8:2 / /mnt/with\\040space/disk rw - ext4 /dev/sdb1 rw",
            "32 21 0:41 / /mnt/over rw - nfs server:/export rw",
            "33 32 8:3 / /mnt/over rw - ext4 /dev/sdc1 rw",
            "of no sense",
        )
        Path(table).write_text("\n".join(lines) + "\n")
        expected = {
            "/mnt/with space": True,
            "/mnt/with space/state/": True,
            "/mnt/with space/disk/state": False,
            "/mnt/with spaces": False,
            "/mnt/over/state": False,
            "/home": False,
        }
        self.assertEqual({path: mounts.is_on_nfs(path, table) for path in expected}, expected)
        self.assertFalse(mounts.is_on_nfs("/mnt", f"{self.directory}/none"))
        with mock.patch.object(mounts, "is_on_nfs", return_value=True):
            self.assertEqual(self.unanswered("/mnt/nfs"), "")

    def test_is_left_alone_by_releases_that_do_not_know_it(self):
        check = bb.utils.is_path_on_nfs
        del bb.utils.is_path_on_nfs
        self.addCleanup(setattr, bb.utils, "is_path_on_nfs", check)
        d = self.parsed(nowhere(), BB_HASHSERVE_DB_DIR="/mnt/nfs")
        self.assertEqual(d.getVar("BB_HASHSERVE_DB_DIR"), "/mnt/nfs")

    def test_stays_with_a_server_that_answers(self):
        with servers.Reference("127.0.0.1:0") as server:
            d = self.parsed(server.address, BB_HASHSERVE_DB_DIR="/mnt/nfs")
        self.assertEqual(d.getVar("BB_HASHSERVE_DB_DIR"), "/mnt/nfs")


class TheSockets(world.Build):
    """The ways in which a socket is no server, through the class; `test_probe` has the reasons."""

    def test_missing(self):
        self.assert_local(self.parsed(f"unix://{self.directory}/hash.sock"))

    def test_stale(self):
        servers.stale(f"{self.directory}/hash.sock")
        self.assert_local(self.parsed(f"unix://{self.directory}/hash.sock"))

    def test_with_a_full_backlog(self):
        listener, held = servers.full_backlog(f"{self.directory}/hash.sock")
        with mock.patch.object(choice, "SERVER_SECONDS", 0.2):
            self.assert_local(self.parsed(f"unix://{self.directory}/hash.sock"))
        for connection in [listener, *held]:
            connection.close()

    def unreadable(self, path, mode):
        d = self.data(f"unix://{self.directory}/hash.sock")

        def ask():
            bb.event.fire(bb.event.ConfigParsed(), d)
            return d.getVar("BB_HASHSERVE")

        with servers.Scripted(servers.alive, f"{self.directory}/hash.sock"):
            root = os.getuid() == 0
            os.chmod(path, mode if root else 0)
            self.addCleanup(os.chmod, self.directory, 0o700)
            return servers.as_somebody_else(ask) if root else ask()

    def test_of_mode_0600_of_somebody_else(self):
        os.chmod(self.directory, 0o755)
        self.assertEqual(self.unreadable(f"{self.directory}/hash.sock", 0o600), "auto")

    def test_in_a_directory_of_mode_0700_of_somebody_else(self):
        self.assertEqual(self.unreadable(self.directory, 0o700), "auto")
