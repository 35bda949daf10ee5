"""Whether a server is there: every way to be there, and every way not to."""

import os
import socket
import tempfile
import threading
import unittest
from unittest import mock

import servers
from fingerpost import probe
from fingerpost.deadline import Absent, Deadline, Unchecked

# Long for what answers; what does not answer is given up after LITTLE.
PLENTY = 10
LITTLE = 0.2


def outcome(address, seconds=PLENTY, environment=None):
    """ "present", or why not."""
    try:
        probe.ping(address, Deadline(seconds), environment)
    except (Absent, Unchecked) as reason:
        return str(reason)
    return "present"


class Directory(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="peers-bitbake-")
        self.addCleanup(directory.cleanup)
        self.directory = directory.name
        self.path = f"{self.directory}/hash.sock"
        self.address = f"unix://{self.path}"


class APresentServer(Directory):
    def test_over_a_unix_socket(self):
        with servers.Reference(self.address) as server:
            self.assertEqual(outcome(server.address), "present")

    def test_over_a_unix_socket_whose_path_is_longer_than_an_address(self):
        directory = os.path.join(self.directory, "d" * 120)
        os.mkdir(directory)
        with servers.Reference(f"unix://{directory}/hash.sock") as server:
            self.assertEqual(outcome(server.address), "present")

    def test_over_tcp(self):
        with servers.Reference("127.0.0.1:0") as server:
            self.assertEqual(outcome(server.address), "present")

    def test_over_tcp_by_name(self):
        with servers.Reference("127.0.0.1:0") as server:
            self.assertEqual(outcome(server.address.replace("127.0.0.1", "localhost")), "present")

    def test_over_tcp_by_ipv6(self):
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError:
            self.skipTest("this host has no IPv6")
        with servers.Reference("::1:0") as server:
            self.assertTrue(server.address.startswith("[::1]:"), server.address)
            self.assertEqual(outcome(server.address), "present")

    def test_over_websocket(self):
        with servers.Reference("ws://127.0.0.1:0") as server:
            self.assertEqual(outcome(server.address), "present")

    def test_over_websocket_with_tls(self):
        trusted = {"SSL_CERT_FILE": servers.certificate()[0]}
        with servers.WebSocket() as server:
            self.assertEqual(outcome(server.address, environment=trusted), "present")

    def test_behind_a_redirect(self):
        with servers.WebSocket(tls=False) as server, servers.WebSocket(tls=False, redirect=server.address) as first:
            self.assertEqual(outcome(first.address), "present")

    def test_behind_a_proxy(self):
        environment = {"SSL_CERT_FILE": servers.certificate()[0]}
        with servers.WebSocket() as server, servers.Scripted(servers.proxying) as proxy:
            environment["HTTPS_PROXY"] = f"http://{proxy.address}"
            self.assertEqual(outcome(server.address, environment=environment), "present")
            self.assertEqual(len(proxy.accepted), 1)

    def test_behind_the_proxy_that_small_letters_name(self):
        environment = {"SSL_CERT_FILE": servers.certificate()[0], "HTTPS_PROXY": "http://127.0.0.1:1"}
        with servers.WebSocket() as server, servers.Scripted(servers.proxying) as proxy:
            with mock.patch.dict(os.environ, {"https_proxy": f"http://{proxy.address}"}):
                self.assertEqual(outcome(server.address, environment=environment), "present")
            self.assertEqual(len(proxy.accepted), 1)
            with mock.patch.dict(os.environ, {"https_proxy": ""}):
                self.assertEqual(outcome(server.address, environment=environment), "present")
            self.assertEqual(len(proxy.accepted), 1)

    def test_whose_authority_is_in_the_directory_when_the_file_is_missing(self):
        servers.trusted_directory(self.directory)
        environment = {"SSL_CERT_FILE": f"{self.directory}/none.pem", "SSL_CERT_DIR": self.directory}
        with servers.WebSocket() as server:
            self.assertEqual(outcome(server.address, environment=environment), "present")

    def test_that_needs_no_proxy(self):
        environment = {"SSL_CERT_FILE": servers.certificate()[0], "NO_PROXY": "127.0.0.1"}
        with servers.WebSocket() as server, servers.Scripted(servers.proxying) as proxy:
            environment["HTTPS_PROXY"] = f"http://{proxy.address}"
            self.assertEqual(outcome(server.address, environment=environment), "present")
            self.assertEqual(proxy.accepted, [])


class AnAbsentServer(Directory):
    def test_a_missing_socket(self):
        self.assertEqual(outcome(self.address), "No such file or directory")

    def test_a_missing_directory(self):
        self.assertEqual(outcome(f"unix://{self.directory}/none/hash.sock"), "No such file or directory")

    def test_a_stale_socket(self):
        servers.stale(self.path)
        self.assertEqual(outcome(self.address), "Connection refused")

    def test_a_file_that_is_no_socket(self):
        with open(self.path, "w"):
            pass
        self.assertEqual(outcome(self.address), "Connection refused")

    def refused_for_others(self):
        if os.getuid() == 0:
            return servers.as_somebody_else(lambda: outcome(self.address))
        return outcome(self.address)

    def test_a_socket_of_mode_0600_of_somebody_else(self):
        os.chmod(self.directory, 0o755)
        with servers.Scripted(servers.alive, self.path):
            os.chmod(self.path, 0o600 if os.getuid() == 0 else 0)
            self.assertEqual(self.refused_for_others(), "Permission denied")

    def test_a_directory_of_mode_0700_of_somebody_else(self):
        with servers.Scripted(servers.alive, self.path):
            os.chmod(self.directory, 0o700 if os.getuid() == 0 else 0)
            self.addCleanup(os.chmod, self.directory, 0o700)
            self.assertEqual(self.refused_for_others(), "Permission denied")

    def test_a_full_backlog(self):
        listener, held = servers.full_backlog(self.path)
        self.assertEqual(outcome(self.address, LITTLE), "it has not accepted in time; its backlog is full")
        for connection in [listener, *held]:
            connection.close()

    def test_a_backlog_that_gets_a_place_in_time_is_no_absence(self):
        listener, held = servers.full_backlog(self.path)
        tried = threading.Event()
        pause = probe._pause

        def pausing(deadline):
            tried.set()
            pause(deadline)

        def serve():
            tried.wait(PLENTY)
            while True:
                try:
                    servers.alive(listener.accept()[0])
                except BrokenPipeError:
                    # One of those that filled the backlog.
                    continue
                except OSError:
                    return

        for connection in held:
            connection.close()
        threading.Thread(target=serve, daemon=True).start()
        with mock.patch.object(probe, "_pause", pausing):
            self.assertEqual(outcome(self.address), "present")
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()

    def test_refused_tcp(self):
        taken = socket.create_server(("127.0.0.1", 0))
        address = "127.0.0.1:%d" % taken.getsockname()[1]
        taken.close()
        self.assertEqual(outcome(address), "Connection refused")
        self.assertEqual(outcome(f"ws://{address}/"), "Connection refused")

    def test_a_name_that_is_unknown(self):
        failure = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        with mock.patch("socket.getaddrinfo", side_effect=failure):
            self.assertEqual(outcome("hash.example:8686"), "Name or service not known")

    def test_a_name_that_does_not_resolve_in_time(self):
        done = threading.Event()
        self.addCleanup(done.set)
        with mock.patch("socket.getaddrinfo", side_effect=lambda *_, **__: done.wait(PLENTY)):
            for address in ("hash.example:8686", "ws://hash.example", "wss://hash.example/ws"):
                self.assertEqual(outcome(address, LITTLE), "no answer in time")

    def test_a_server_that_accepts_and_never_answers(self):
        with servers.Scripted(servers.silent) as server:
            for address in (server.address, f"ws://{server.address}/"):
                self.assertEqual(outcome(address, LITTLE), "it accepts connections and does not answer")
            self.assertIn("handshake operation timed out", outcome(f"wss://{server.address}/", LITTLE))
        with servers.Scripted(servers.silent, self.path):
            self.assertEqual(outcome(self.address, LITTLE), "it accepts connections and does not answer")

    def test_a_server_that_drips(self):
        with servers.Scripted(servers.dripping) as server:
            reasons = ("it accepts connections and does not answer", "no answer in time")
            self.assertIn(outcome(server.address, LITTLE), reasons)

    def test_a_server_that_closes(self):
        with servers.Scripted(servers.closing) as server:
            self.assertIn(outcome(server.address), ("it closed the connection", "Connection reset by peer"))
            self.assertEqual(outcome(f"ws://{server.address}/"), "it closed the connection")

    def test_garbage(self):
        no_hash_server = "its answer is not one of a hash equivalence server"
        for answer in (
            b"garbage\n",
            b"\xff\xfe\n",
            b"null\n",
            b'{"alive": 1}\n',
            b'{"invoke-error": {}}\n',
            b"[]\n",
            b"\n",
        ):
            with self.subTest(answer), servers.Scripted(servers.saying(answer)) as server:
                self.assertEqual(outcome(server.address), no_hash_server)
        with servers.Scripted(servers.endless) as server:
            self.assertEqual(outcome(server.address), no_hash_server)

    def test_garbage_in_place_of_a_websocket(self):
        no_websocket = "its answer is not one of a WebSocket server"
        upgraded = b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: wrong\r\n\r\n"
        for answer, why in (
            (b"SSH-2.0-OpenSSH\r\n\r\n", no_websocket),
            (b"HTTP/1.1 none\r\n\r\n", no_websocket),
            (upgraded, no_websocket),
            (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "it answers 502 in place of a WebSocket"),
            (b"HTTP/1.1 302 Found\r\nLocation: http://example/login\r\n\r\n", "it redirects to http://example/login"),
            (b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", "it redirects without end"),
        ):
            with self.subTest(answer), servers.Scripted(servers.saying(answer)) as server:
                self.assertEqual(outcome(f"ws://{server.address}/"), why)
        with servers.Scripted(servers.endless) as server:
            self.assertEqual(outcome(f"ws://{server.address}/"), no_websocket)

    def test_a_certificate_that_nobody_vouches_for(self):
        with servers.WebSocket() as server:
            self.assertIn("CERTIFICATE_VERIFY_FAILED", outcome(server.address))

    def test_a_proxy_that_refuses(self):
        with servers.Scripted(servers.saying(b"HTTP/1.1 403 Forbidden\r\n\r\n")) as proxy:
            environment = {"HTTPS_PROXY": f"http://{proxy.address}"}
            self.assertEqual(outcome("wss://hash.example/", environment=environment), "the proxy 127.0.0.1 answers 403")

    def test_a_proxy_of_another_kind_leaves_it_unknown(self):
        for proxy in ("socks5h://127.0.0.1:1", "http://user:secret/word@127.0.0.1:1", "http://"):
            with self.subTest(proxy), self.assertRaises(Unchecked) as raised:
                probe.ping("wss://hash.example/", Deadline(PLENTY), {"HTTPS_PROXY": proxy})
            self.assertNotIn("secret", str(raised.exception))

    def test_addresses_that_bitbake_does_not_understand(self):
        for address in (
            "hash.example",
            "::1:8686",
            "hash.example:",
            "a:b:1",
            "http://hash.example",
            "ws://",
            "wss://x:y",
        ):
            with self.subTest(address):
                self.assertNotEqual(outcome(address), "present")
