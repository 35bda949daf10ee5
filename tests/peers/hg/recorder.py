"""A proxy that looks for words in what a server answers."""

import socket
import threading

CONNECT_SECONDS = 10
PIECE = 1 << 16


class Recorder:
    """Forwards connections to a server and searches every answer for words that may not be in it.

    Words are found where they are not compressed, so the client has to ask for identity encoding.
    """

    def __init__(self, address, words):
        self.address, self.words = address, words
        self.longest = max(map(len, words))
        self.found = []
        self.bytes = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/"
        self.accepting = threading.Thread(target=self.accept, daemon=True)

    def __enter__(self):
        self.accepting.start()
        return self

    def __exit__(self, *_):
        # Closing alone does not wake the thread that accepts.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.accepting.join(CONNECT_SECONDS)

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(self.address, CONNECT_SECONDS)
            server.settimeout(None)
            for source, sink, search in ((client, server, False), (server, client, True)):
                threading.Thread(target=self.forward, args=(source, sink, search), daemon=True).start()

    def forward(self, source, sink, search):
        tail = b""
        try:
            while data := source.recv(PIECE):
                if search:
                    self.bytes += len(data)
                    tail += data
                    self.found += [word for word in self.words if word in tail]
                    tail = tail[-self.longest :]
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            # Either end may go away at any time; the other one is told.
            for end in (source, sink):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
