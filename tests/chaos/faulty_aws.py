"""A proxy between the functions and the stack's endpoint, which does to each call what the plan says."""

import asyncio
import socket
import struct
from collections import Counter, defaultdict
from collections.abc import Callable

from chaos.calls import Request
from chaos.plan import Fault, Plan

HEAD_LIMIT = 1 << 20


class Gone(Exception):
    """The other side ended the connection between two messages."""


class FaultyAws:
    """Listens on `port` once it is started within a running loop. `kill` ends the process whose connection comes from a port."""

    def __init__(self, kill: Callable[[int], bool]) -> None:
        self.plan: Plan | None = None
        self._last: Plan | None = None
        self.done = Counter()
        self.port = 0
        self._kill = kill
        self._numbers = defaultdict(int)
        self._kills_left = 0
        self._to = 0
        self._late: set[asyncio.Task] = set()

    async def listen(self) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=HEAD_LIMIT, backlog=512)
        self.port = server.sockets[0].getsockname()[1]

    def forward_to(self, port: int) -> None:
        """Where calls go."""
        self._to = port

    def begin(self, plan: Plan, kills: int) -> None:
        """From now on calls fail as `plan` says, and no more than so many callers are killed. Its calls are counted on."""
        if plan is not self._last:
            self._numbers.clear()
        self._kills_left = kills
        self.plan = self._last = plan

    def end(self) -> None:
        """From now on nothing fails."""
        self.plan = None

    async def late_calls(self) -> None:
        """Waits for the calls that are under way without their callers."""
        if self._late:
            await asyncio.wait(self._late)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await read_head(reader)
                request = parse(head)
                if request.headers.get("expect", "").lower() == "100-continue":
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                    head = head.replace(b"\r\nExpect: 100-continue", b"").replace(b"\r\nexpect: 100-continue", b"")
                message = head + await read_body(reader, request.headers)
                if not await self._answer(request, message, writer):
                    return
        except (Gone, OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    def _fate(self, operation: str) -> Fault | None:
        if self.plan is None:
            return None
        number = self._numbers[operation]
        self._numbers[operation] += 1
        fault = self.plan.of_call(operation, number)
        if fault and fault.kind.startswith("killed"):
            if self._kills_left == 0:
                return None
            self._kills_left -= 1
        return fault

    async def _answer(self, request: Request, message: bytes, writer: asyncio.StreamWriter) -> bool:
        """Says whether the connection goes on."""
        fault = self._fate(request.operation)
        if fault is None:
            writer.write(await self._forward(request, message))
            await writer.drain()
            return True
        caller = writer.get_extra_info("peername")[1]
        if fault.kind == "killed_before":
            self._count(request, fault, self._kill(caller))
            return reset(writer)
        self._count(request, fault)
        match fault.kind:
            case "reset":
                return reset(writer)
            case "late":
                # It takes effect when its caller has long tried again.
                task = asyncio.create_task(self._forward_later(request, message, fault.seconds))
                self._late.add(task)
                task.add_done_callback(self._late.discard)
                return reset(writer)
            case "error" | "throttled":
                answer = request.refusal(throttled=fault.kind == "throttled")
            case "delayed":
                await asyncio.sleep(fault.seconds)
                answer = await self._forward(request, message)
            case _:
                answer = await self._forward(request, message)
                match fault.kind:
                    case "answer_lost":
                        return reset(writer)
                    case "killed_after":
                        self._kill(caller)
                        return reset(writer)
                    case "error_afterwards":
                        answer = request.refusal(throttled=False)
                    case "truncated":
                        head = answer.find(b"\r\n\r\n") + 4
                        writer.write(answer[: head + (len(answer) - head) // 2])
                        await writer.drain()
                        return reset(writer)
        writer.write(answer)
        await writer.drain()
        return True

    def _count(self, request: Request, fault: Fault, happened: bool = True) -> None:
        if happened:
            self.done[f"{request.service} {fault.kind}"] += 1

    async def _forward_later(self, request: Request, message: bytes, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._forward(request, message)

    async def _forward(self, request: Request, message: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._to, limit=HEAD_LIMIT)
        try:
            writer.write(message)
            await writer.drain()
            head = await read_head(reader)
            if request.method == "HEAD":
                return head
            return head + await read_body(reader, parse(head).headers, until_end=True)
        finally:
            writer.close()


def reset(writer: asyncio.StreamWriter) -> bool:
    """Ends the connection as a crash would: what was sent may be lost, and the other side is told so."""
    end = writer.get_extra_info("socket")
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    return False


def parse(head: bytes) -> Request:
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, _, rest = first.partition(" ")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return Request(method, rest.rpartition(" ")[0], headers)


async def read_head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        raise Gone from error


async def read_body(reader: asyncio.StreamReader, headers: dict[str, str], until_end: bool = False) -> bytes:
    """The body, in the form in which it came."""
    if "chunked" in headers.get("transfer-encoding", "").lower():
        body = b""
        while True:
            line = await reader.readuntil(b"\r\n")
            size = int(line.split(b";")[0], 16)
            body += line + await reader.readexactly(size + 2)
            if size == 0:
                return body
    if "content-length" in headers:
        return await reader.readexactly(int(headers["content-length"]))
    return await reader.read() if until_end and headers.get("connection", "").lower() == "close" else b""
