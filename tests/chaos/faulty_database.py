"""A proxy between the functions and PostgreSQL, which does to each connection what the plan says."""

import asyncio
from collections import Counter

from chaos.faulty_aws import reset
from chaos.plan import Fault, Plan

PIECE = 64 * 1024
# Statements after which something has happened that the client does not know yet if it hears nothing more.
DECISIVE = (b"COMMIT", b"RENAME TO", b"CREATE DATABASE", b"DROP DATABASE")


class FaultyDatabase:
    """Listens on `port` once it is started within a running loop."""

    def __init__(self) -> None:
        self.plan: Plan | None = None
        self._last: Plan | None = None
        self.done = Counter()
        self.port = 0
        self._number = 0
        self._to = 0

    async def listen(self) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=128)
        self.port = server.sockets[0].getsockname()[1]

    def forward_to(self, port: int) -> None:
        """The port of the server."""
        self._to = port

    def begin(self, plan: Plan) -> None:
        """From now on connections fail as `plan` says. Its connections are counted on."""
        if plan is not self._last:
            self._number = 0
        self.plan = self._last = plan

    def end(self) -> None:
        """From now on nothing fails, on connections that are open neither."""
        self.plan = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fault = None
        if self.plan is not None:
            fault = self.plan.of_connection(self._number)
            self._number += 1
        if fault and fault.kind == "refused":
            self.done["postgresql refused"] += 1
            reset(writer)
            return
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            reset(writer)
            return
        connection = Connection(self, fault, writer, to_server)
        await asyncio.gather(connection.ask(reader), connection.answer(from_server), return_exceptions=True)
        for end in (writer, to_server):
            end.close()


class Connection:
    """One client's, and what is to happen to it."""

    def __init__(self, proxy: FaultyDatabase, fault: Fault | None, client: asyncio.StreamWriter, server: asyncio.StreamWriter):
        self.proxy, self.fault, self.client, self.server = proxy, fault, client, server
        self.deaf = False
        self.passed = 0

    def due(self, kind: str) -> bool:
        """Whether it is to happen, and has not yet; it is counted."""
        if self.proxy.plan is None or self.fault is None or self.fault.kind != kind:
            return False
        self.fault = None
        self.proxy.done[f"postgresql {kind}"] += 1
        return True

    def is_to_be(self, kind: str) -> bool:
        return self.fault is not None and self.fault.kind == kind

    async def ask(self, reader: asyncio.StreamReader) -> None:
        """Passes on what the client says."""
        try:
            while piece := await reader.read(PIECE):
                if self.is_to_be("commit_unheard") and any(word in piece.upper() for word in DECISIVE) and self.due("commit_unheard"):
                    self.deaf = True
                self.server.write(piece)
                await self.server.drain()
        finally:
            # A client that has gone takes its session along, whatever the server is at.
            self.server.close()

    async def answer(self, reader: asyncio.StreamReader) -> None:
        """Passes on what the server says."""
        try:
            while piece := await reader.read(PIECE):
                if self.deaf:
                    # It was done, and nobody hears of it.
                    reset(self.client)
                    return
                self.passed += len(piece)
                if self.is_to_be("slow"):
                    slowly = self.fault.seconds / 20
                    if self.passed < self.fault.size or self.due("slow"):
                        await asyncio.sleep(slowly)
                elif self.fault and self.passed >= self.fault.size:
                    if self.is_to_be("stalled"):
                        seconds = self.fault.seconds
                        if self.due("stalled"):
                            await asyncio.sleep(seconds)
                    elif self.due("cut"):
                        self.client.write(piece[: len(piece) // 2])
                        await self.client.drain()
                        reset(self.client)
                        return
                self.client.write(piece)
                await self.client.drain()
        finally:
            self.client.close()
            self.server.close()
