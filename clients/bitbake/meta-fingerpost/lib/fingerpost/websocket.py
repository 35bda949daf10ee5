"""As much of a WebSocket client as a ping needs, with a deadline for every step.

BitBake uses the package `websockets`. To go the way that it will go, this follows redirects, uses proxies from the
environment and trusts the same authorities.

SPDX-License-Identifier: MIT OR Apache-2.0
"""

import base64
import contextlib
import hashlib
import os
import ssl
import urllib.parse
import urllib.request

from .deadline import Absent, Unchecked, receive

# RFC 6455, section 1.3.
ACCEPT_SUFFIX = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
HEAD_BYTES_MAX = 16384
FRAME_BYTES_MAX = 65536
REDIRECTS_MAX = 5
REDIRECTS = (301, 302, 303, 307, 308)
TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
NORMAL_CLOSURE = (1000).to_bytes(2, "big")


def connect(address, deadline, environment, connect_tcp):
    """Returns an open `Channel`; raises `Absent`, `Unchecked`, `OSError` or `ValueError`."""
    for _ in range(REDIRECTS_MAX):
        url = _parse(address)
        if url is None:
            raise Absent("not an address that BitBake understands")
        channel = Channel(_open(url, deadline, environment, connect_tcp), deadline)
        try:
            moved = channel.upgrade(url)
            if moved is None:
                return channel
        except BaseException:
            channel.close()
            raise
        channel.close()
        target = urllib.parse.urljoin(address, moved)
        if not target.startswith("wss://" if url.scheme == "wss" else ("ws://", "wss://")):
            raise Absent("it redirects to %s" % target)
        address = target
    raise Absent("it redirects without end")


def _parse(address):
    """The parts of a URL that names a host, or nothing. Python's own words for why not may hold a password."""
    try:
        url = urllib.parse.urlsplit(address)
        return url if url.hostname and _port(url) else None
    except ValueError:
        return None


def _port(url):
    return url.port or (443 if url.scheme == "wss" else 80)


def _open(url, deadline, environment, connect_tcp):
    proxy = proxy_for(url, environment)
    if proxy is None:
        connection = connect_tcp(url.hostname, _port(url), deadline)
    else:
        connection = _through(proxy, url, deadline, connect_tcp)
    if url.scheme != "wss":
        return connection
    try:
        connection.settimeout(deadline.left())
        return trust(environment).wrap_socket(connection, server_hostname=url.hostname)
    except BaseException:
        connection.close()
        raise


def trust(environment):
    """The authorities that OpenSSL would take for these variables.

    They are passed by hand: BitBake sets them in its own environment only while its client connects.
    """
    file, directory = environment.get("SSL_CERT_FILE"), environment.get("SSL_CERT_DIR")
    if not file and not directory:
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    usual = ssl.get_default_verify_paths()
    file, directory = file or usual.openssl_cafile, directory or usual.openssl_capath
    # OpenSSL passes over a file that is not there, and the other place may have the authority.
    with contextlib.suppress(OSError):
        context.load_verify_locations(cafile=file)
    context.load_verify_locations(capath=directory)
    return context


def proxy_for(url, environment):
    """The proxy that `websockets` takes for this address, from version 15 on, or nothing."""
    proxies = urllib.request.getproxies_environment()
    for name in ("http", "https", "no"):
        value = environment.get(name.upper() + "_PROXY")
        # Small letters go first, and are in BitBake's own environment when oe-init-build-env lets them through.
        if value and name + "_proxy" not in os.environ:
            proxies[name] = value
    if urllib.request.proxy_bypass_environment("%s:%d" % (url.hostname, _port(url)), proxies):
        return None
    for scheme in ("wss", "socks", "https") if url.scheme == "wss" else ("ws", "socks", "https", "http"):
        if proxies.get(scheme):
            return proxies[scheme] if _uses_proxies() else None
    return None


def _uses_proxies():
    try:
        import websockets

        return int(websockets.__version__.split(".")[0]) >= 15
    except (ImportError, ValueError):
        return False


def _through(proxy, url, deadline, connect_tcp):
    """Has an HTTP proxy make the connection."""
    way = _parse(proxy)
    if way is None or way.scheme != "http":
        raise Unchecked("it is behind a proxy that is none of http://HOST:PORT")
    connection = connect_tcp(way.hostname, _port(way), deadline)
    try:
        host = "[%s]" % url.hostname if ":" in url.hostname else url.hostname
        lines = ["CONNECT %s:%d HTTP/1.1" % (host, _port(url)), "Host: %s:%d" % (host, _port(url))]
        if way.username:
            lines.append("Proxy-Authorization: " + _basic(way))
        status, _, rest = _exchange(connection, lines, deadline)
        if status // 100 != 2 or rest:
            raise Absent("the proxy %s answers %d" % (way.hostname, status))
        return connection
    except BaseException:
        connection.close()
        raise


def _basic(url):
    user = "%s:%s" % (urllib.parse.unquote(url.username), urllib.parse.unquote(url.password or ""))
    return "Basic " + base64.b64encode(user.encode()).decode()


def _exchange(connection, lines, deadline):
    """Sends the head of a request; returns the answer's status, its headers, and what was received behind them."""
    connection.settimeout(deadline.left())
    connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
    received = b""
    while b"\r\n\r\n" not in received:
        if len(received) > HEAD_BYTES_MAX:
            raise Absent("its answer is not one of a WebSocket server")
        received += receive(connection, deadline)
    head, rest = received.split(b"\r\n\r\n", 1)
    status_line, *fields = head.decode("latin-1").split("\r\n")
    parts = status_line.split(" ", 2)
    if not parts[0].startswith("HTTP/1.") or len(parts) < 2 or not parts[1].isdigit():
        raise Absent("its answer is not one of a WebSocket server")
    headers = {}
    for field in fields:
        name, _, value = field.partition(":")
        headers[name.strip().lower()] = value.strip()
    return int(parts[1]), headers, rest


class Channel:
    """Text messages over one connection."""

    def __init__(self, connection, deadline):
        self._connection = connection
        self._deadline = deadline
        self._received = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._connection.close()

    def part(self):
        """Says that this was all; servers log what ends without."""
        self._frame(CLOSE, NORMAL_CLOSURE)

    def upgrade(self, url):
        """Returns nothing when the other side has become a WebSocket, else where it redirects to."""
        key = base64.b64encode(os.urandom(16))
        lines = [
            "GET %s%s HTTP/1.1" % (url.path or "/", "?" + url.query if url.query else ""),
            "Host: " + url.netloc.rpartition("@")[2],
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: " + key.decode(),
            "Sec-WebSocket-Version: 13",
        ]
        if url.username:
            lines.append("Authorization: " + _basic(url))
        status, headers, self._received = _exchange(self._connection, lines, self._deadline)
        if status in REDIRECTS and headers.get("location"):
            return headers["location"]
        if status != 101:
            raise Absent("it answers %d in place of a WebSocket" % status)
        accept = base64.b64encode(hashlib.sha1(key + ACCEPT_SUFFIX).digest()).decode()
        if headers.get("sec-websocket-accept") != accept:
            raise Absent("its answer is not one of a WebSocket server")
        return None

    def send(self, text):
        """Sends a short message; what a client sends is masked."""
        self._frame(TEXT, text.encode())

    def _frame(self, kind, payload):
        assert len(payload) < 126, "longer frames have another head"
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        self._connection.settimeout(self._deadline.left())
        self._connection.sendall(bytes((0x80 | kind, 0x80 | len(payload))) + mask + masked)

    def receive(self):
        """Returns the next text message."""
        while True:
            first, length = self._take(2)
            kind, length = first & 0x0F, length & 0x7F
            if length >= 126:
                length = int.from_bytes(self._take(2 if length == 126 else 8), "big")
            if length > FRAME_BYTES_MAX:
                raise Absent("its answer is not one of a hash equivalence server")
            payload = self._take(length)
            if kind == PING:
                self._frame(PONG, payload[:125])
            elif kind == CLOSE:
                raise Absent("it closed the connection")
            elif kind == TEXT and first & 0x80:
                return payload
            elif kind != PONG:
                raise Absent("its answer is not one of a hash equivalence server")

    def _take(self, count):
        while len(self._received) < count:
            self._received += receive(self._connection, self._deadline)
        taken, self._received = self._received[:count], self._received[count:]
        return taken
