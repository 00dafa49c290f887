"""The machine a bench runs on: what it is, and how much of it others used meanwhile."""

from __future__ import annotations

import os
import platform
import resource
import threading
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from kalshiweb.bench.figures import percentile

FOREIGN_MOST = 0.15
LOOK_SECONDS = 0.5
NAP_SECONDS = 0.002
PACKAGES = ("django", "channels", "daphne", "msgspec", "websocket-client", "pykalshi", "websockets", "uvicorn")
_TICKS = os.sysconf("SC_CLK_TCK")


def describe() -> dict[str, Any]:
    """Return what figures depend on: processor, system, versions, date."""
    versions = {name: version for name in PACKAGES if (version := _version(name)) is not None}
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **versions,
    }


class Watch:
    """Measures the share of the whole machine that did not go into this bench and its children."""

    def __init__(self) -> None:
        self._busy, self._at = _busy_seconds(), time.monotonic()
        self._own = _own_seconds()

    def foreign(self) -> float | None:
        """Return the share since the start, 0 to 1; None where the system does not say. Children must have ended."""
        busy = _busy_seconds()
        if busy is None or self._busy is None:
            return None
        seconds = (time.monotonic() - self._at) * (os.cpu_count() or 1)
        return max(0.0, (busy - self._busy - (_own_seconds() - self._own)) / seconds)


class Lateness:
    """How late this machine wakes a thread that has nothing else to do: no latency measured beside it can be better."""

    def __init__(self) -> None:
        self._late: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sleep, daemon=True)

    def __enter__(self) -> Lateness:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        """End."""
        self._stop.set()
        self._thread.join()

    def p99_ms(self) -> float | None:
        """Return the lateness that 99 of 100 awakenings do not exceed."""
        return percentile(self._late, 0.99) * 1000 if self._late else None

    def _sleep(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            time.sleep(NAP_SECONDS)
            self._late.append(time.monotonic() - began - NAP_SECONDS)


def foreign_now() -> float | None:
    """Return the foreign share over half a second of our own silence."""
    watch = Watch()
    time.sleep(LOOK_SECONDS)
    return watch.foreign()


def warning(before: float | None, during: float | None) -> str | None:
    """Say clearly that others used the machine, or that nobody knows."""
    if before is None or during is None:
        return "how much others used this machine could not be measured"
    if max(before, during) <= FOREIGN_MOST:
        return None
    return (
        f"others used {before:.0%} of this machine before and {during:.0%} during the run (limit {FOREIGN_MOST:.0%}): "
        "times on the clock are worse than they should be; ratios and CPU times hold"
    )


def rss_bytes() -> int | None:
    """Return this process's memory; None where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return None


def _busy_seconds() -> float | None:
    try:
        fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    except OSError:
        return None
    return (sum(fields) - fields[3] - fields[4]) / _TICKS  # all but idle and waiting for disks


def _own_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
