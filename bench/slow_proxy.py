"""A proxy that makes a server on this machine as slow to reach as one elsewhere."""

import contextlib
import socket
import threading
import time

# Bytes a second and connection, and seconds each way.
RATE = 50_000_000
DELAY = 0.0005
PIECE = 256 * 1024


class Proxy(threading.Thread):
    """Gives each connection RATE bytes a second from the server, and adds DELAY each way."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(daemon=True)
        self._to = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""
        return self._listener.getsockname()[1]

    def run(self) -> None:
        while True:
            client, _ = self._listener.accept()
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._to) as server:
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            asked = threading.Thread(target=_pump, args=(client, server, None), daemon=True)
            asked.start()
            _pump(server, client, RATE)
            asked.join()


def _pump(source: socket.socket, target: socket.socket, rate: int | None) -> None:
    """Passes on what comes until it ends; each system call without the interpreter's lock."""
    piece, free = memoryview(bytearray(PIECE)), 0.0
    # An end that goes away is the other one's affair.
    with contextlib.suppress(OSError):
        while length := source.recv_into(piece):
            now = time.monotonic()
            time.sleep(max(DELAY, free - now))
            free = max(free, now) + (length / rate if rate else 0)
            target.sendall(piece[:length])
        target.shutdown(socket.SHUT_WR)
