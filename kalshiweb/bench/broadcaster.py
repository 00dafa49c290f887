"""The quickest plain way: a bare `websockets` server broadcasts each frame, without log-ins, markets or numbers."""

from __future__ import annotations

import asyncio
import importlib
import threading
import time
from typing import Any

from kalshiweb.bench.children import Answer, cpu, obey
from kalshiweb.bench.upstream import ticker_of

AHEAD_BYTES = 64 * 1024
BREATH = 16


class Broadcaster:
    """Serves anybody who connects."""

    def __init__(self, broadcast: Any) -> None:
        self._broadcast = broadcast
        self.peers: set[Any] = set()
        self._number = 0

    async def serve(self, peer: Any) -> None:
        """Keep one connection until it ends."""
        self.peers.add(peer)
        try:
            async for _ in peer:
                pass
        finally:
            self.peers.discard(peer)

    async def play(self, changes: int) -> Answer:
        """Send so many changes to all, as texts of the size of the desk's frames."""
        began = time.monotonic()
        for number in range(changes):
            self._number += 1
            self._broadcast(self.peers, self._text(self._number))
            if number % BREATH == BREATH - 1:
                await asyncio.sleep(0)
                while max(peer.transport.get_write_buffer_size() for peer in self.peers) > AHEAD_BYTES:
                    await asyncio.sleep(0.001)
        return {"began": began, "last": self._number}

    def _text(self, number: int) -> str:
        stamp = time.time_ns() // 1_000_000
        return (
            f'[{{"t":"delta","env":"sandbox","m":"{ticker_of(0)}","e":"raw","n":{number},"up":[1,1,{number},{number}],'
            f'"ts":{stamp},"at":{stamp},"b":[[4800,100000]],"a":[]}}]'
        )


async def main() -> None:
    """Serve and obey the bench."""
    server: Any = importlib.import_module("websockets.asyncio.server")
    one = Broadcaster(server.broadcast)
    loop = asyncio.get_running_loop()
    async with server.serve(one.serve, "127.0.0.1", 0, compression=None) as serving:
        port = serving.sockets[0].getsockname()[1]

        def play(changes: int) -> Answer:
            return asyncio.run_coroutine_threadsafe(one.play(changes), loop).result(120)

        verbs = {"serve": lambda users: {"port": port, "cookies": [""]}, "play": play, "cpu": cpu}
        threading.Thread(target=obey, args=(verbs,), daemon=True).start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
