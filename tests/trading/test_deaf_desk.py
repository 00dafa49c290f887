"""Pages of a team that never read, through a real Daphne: they are closed, and cost the process next to nothing."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from kalshiweb.bench.children import Child
from kalshiweb.bench.desk import ORIGIN, child_env
from kalshiweb.bench.socketclient import SocketClient

DEAF = 3
CLOSED_WITHIN_SECONDS = 10.0
APART_SECONDS = 0.06  # under the pace at which whoever talks too much is closed
MEMORY_MOST_BYTES = 8 * 1024 * 1024
ASK = b'{"op":"after","n":0}'


class Reader:
    """A page that reads and says what has arrived."""

    def __init__(self) -> None:
        self.arrived = 0
        self.frames: list[dict[str, Any]] = []

    def hear(self, text: bytes, now: int) -> None:
        self.arrived += len(text)
        self.frames += json.loads(text)

    @property
    def numbers(self) -> list[int]:
        return [frame["n"] for frame in self.frames if frame["t"] == "order"]


async def connect(served: dict[str, Any], reader: Reader) -> SocketClient:
    request = (
        f"GET /ws/desk/ HTTP/1.1\r\nHost: 127.0.0.1:{served['port']}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
        f"Origin: {ORIGIN}\r\nCookie: {served['cookie']}\r\n\r\n"
    ).encode()
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(
        lambda: SocketClient(request, reader.hear), "127.0.0.1", int(served["port"])
    )
    await client.opened
    return client


async def read_all(client: SocketClient, reader: Reader) -> None:
    """Ask page by page for everything, as a page does that was away."""
    for after in range(0, 500, 100):
        client.send(b'{"op":"after","n":%d}' % after)
        while reader.numbers[-1:] != [after + 100]:
            await asyncio.sleep(0.01)
        client.send(b'{"op":"ack","bytes":%d}' % reader.arrived)


async def test_pages_that_never_read_are_closed_and_cost_no_memory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Child("tests.trading.deskprocess", env=child_env(tmp_path)) as web:
        served = await asyncio.to_thread(web.ask, "serve")
        reader = Reader()
        reads = await connect(served, reader)
        async with asyncio.timeout(10):
            await read_all(reads, reader)
        before = (await asyncio.to_thread(web.ask, "memory"))["bytes"]

        deaf = [await connect(served, Reader()) for _ in range(DEAF)]
        for client in deaf:
            client.transport.pause_reading()
        most = before
        async with asyncio.timeout(CLOSED_WITHIN_SECONDS):
            while not all(client.is_closed for client in deaf):
                for client in deaf:
                    client.send(ASK)
                most = max(most, (await asyncio.to_thread(web.ask, "memory"))["bytes"])
                await asyncio.sleep(APART_SECONDS)
        with capsys.disabled():
            sys.stdout.write(f"\n{DEAF} deaf pages: memory {(most - before) / 2**20:+.1f} MiB\n")
        assert most - before < MEMORY_MOST_BYTES
        heard = reader.arrived
        async with asyncio.timeout(5):
            while reader.arrived == heard:
                await asyncio.sleep(0.01)
        assert not reads.is_closed
        assert reader.numbers == list(range(1, 501))
        reads.transport.abort()
