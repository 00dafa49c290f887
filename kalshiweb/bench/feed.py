"""The desk's feed process for a bench: the relay alone, on a simulated feed, towards the layer."""

from __future__ import annotations

import asyncio
import gc
import threading

import django

from kalshiweb.bench.children import cpu, obey


async def main() -> None:
    """Obey the bench while the loop runs."""
    from kalshiweb.bench.relaying import Relaying

    relaying = Relaying(asyncio.get_running_loop())
    gc.collect()
    gc.freeze()  # as the feed process does
    threading.Thread(target=obey, args=({"cpu": cpu, **relaying.verbs()},), daemon=True).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    django.setup()
    asyncio.run(main())
