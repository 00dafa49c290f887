"""fanout: one change upstream to many browsers.

raw: every change to every browser, nothing merged. The hub, the published way (the consumer of the Channels tutorial:
`group_send`, a channel each, `send_json`, in-memory layer) and a bare `websockets` broadcaster take turns; hub and
published way run in one Daphne with real log-ins, each held back by what was taken, so that nothing is lost. Compared
are deliveries by the server's CPU time, which foreign load does not bend; the clock's stand beside.
conflated: relay, hub and Daphne in one process, one market at 1,000 changes/s, every browser watching it. quiet: 10
changes/s over a hundred markets, each browser watching ten of them. Latency runs from the stamp at the upstream's event
to the browser's socket on one clock; a merged frame counts from its oldest change; how late the machine wakes an idle
thread meanwhile stands beside it. Browsers live in one process of
their own, the load generator; its CPU is told. They check every number, and two of them fold whole books that are
compared at the end. through Valkey: relay and Daphne in two processes. growth: nine markets at their recorded 385
changes/s, 1 browser against many, in turns: what the feed process costs must not follow.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from kalshiweb.bench import desk
from kalshiweb.bench.children import Answer, Child
from kalshiweb.bench.figures import Report, plain, ratio
from kalshiweb.bench.machine import Lateness
from kalshiweb.bench.upstream import ticker_of

RAW_GOALS = {50: 10, 200: 18, 1_000: 13}
HOT_RATE = 1_000
QUIET_RATE, QUIET_EACH = 10, 10
GROWTH_RATE, GROWTH_MARKETS = 385, 9
MOST_MARKETS = 100
NO_UVICORN = "uvicorn is not installed (pip install uvicorn: the documented option for many browsers)"


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    raw: tuple[int, ...] = (50, 200, 1_000)
    rounds: int = 3
    raw_deliveries: int = 60_000
    hot: tuple[int, ...] = (200, 1_000)
    hot_seconds: float = 10.0
    quiet: int = 200
    quiet_seconds: float = 15.0
    growth: tuple[int, int] = (1, 500)
    growth_seconds: float = 12.0
    growth_rounds: int = 12  # a twentieth of a core is read with a spread of a quarter: the median needs many


QUICK = Size(
    raw=(20,),
    rounds=1,
    raw_deliveries=6_000,
    hot=(20,),
    hot_seconds=1.5,
    quiet=20,
    quiet_seconds=1.5,
    growth=(1, 20),
    growth_seconds=1.5,
    growth_rounds=1,
)


def run(report: Report, *, size: Size) -> None:
    """Measure everything."""
    with desk.scratch() as folder:
        measure_raw(report, folder, size)
        with one_process(folder, "daphne") as stage:
            for count in size.hot:
                measure_hot(report, stage, size, count=count)
            alone = measure_quiet(report, stage, size)
        measure_with_uvicorn(report, folder, size)
        with desk.store(folder) as url, two_processes(folder, url) as stage:
            measure_quiet_through_store(report, stage, size, alone=alone)
            measure_growth(report, stage, size)


# --- raw -----------------------------------------------------------------------------------------------


def measure_raw(report: Report, folder: Path, size: Size) -> None:
    """Measure deliveries a second of hub, published way and bare broadcaster."""
    for count in size.raw:
        with (
            Child("kalshiweb.bench.web", env=desk.child_env(folder)) as web,
            Child("kalshiweb.bench.browsers") as browsers,
            _bare() as bare,
        ):
            desk.connect(web, browsers, "naive", count)
            before = web.ask("memory")["bytes"]
            desk.connect(web, browsers, "book", count)
            after = web.ask("memory")["bytes"]
            browsers.tell("watch", tickers=[ticker_of(0)])
            web.ask("admit", browsers=count)
            browsers.answer()
            if bare is not None:
                desk.connect(bare, browsers, "plain", count)
            _raw_rounds(report, web, browsers, bare, count=count, size=size)
            if count == max(size.raw) and before is not None:
                report.add("memory per connection, opened", (after - before) / count / 1024, "KiB", at_most=64)


def _raw_rounds(report: Report, web: Child, browsers: Child, bare: Child | None, *, count: int, size: Size) -> None:
    ways = {"hub": (web, "hub", "book", 1.0), "naive": (web, "naive", "naive", 0.15)}
    if bare is not None:
        ways["bare"] = (bare, "play", "plain", 1.0)
    costs: dict[str, list[float]] = {name: [] for name in ways}
    clocks: dict[str, list[float]] = {name: [] for name in ways}
    lost = 0
    for number in range(size.rounds + 1):
        for name, (server, verb, kind, share) in ways.items():
            changes = max(10, int(size.raw_deliveries * share / count)) if number else 10
            cost, clock, missed = _raw_round(server, browsers, verb, kind=kind, changes=changes, count=count)
            lost += missed
            if number:
                costs[name].append(cost)
                clocks[name].append(clock)
    where = f"raw, {count:,} browsers"
    for name, title in (("hub", "hub"), ("naive", "published way"), ("bare", "bare websockets")):
        report.add(f"{where}: {title}, deliveries/s, one core", costs.get(name))
        report.add(f"{where}: {title}, deliveries/s, on the clock", clocks.get(name))
    times = ratio(costs["hub"], costs["naive"])
    report.add(f"{where}: times the published way", times, "×", at_least=RAW_GOALS.get(count))
    share_of_bare = None if bare is None else ratio(costs["hub"], costs["bare"])
    report.add(f"{where}: share of the bare broadcaster", share_of_bare, at_least=0.6)
    report.add(f"{where}: deliveries lost or doubled", lost, at_most=0)
    report.ratio_to_naive = median(times)


def _raw_round(
    server: Child, browsers: Child, verb: str, *, kind: str, changes: int, count: int
) -> tuple[float, float, int]:
    """Return deliveries a second by the server's CPU and by the clock, and how many were missed."""
    browsers.ask("begin")
    before = server.ask("cpu")["cpu"]
    told = server.ask(verb, changes=changes, patience=120)
    heard = browsers.ask("reached", kind=kind, last=told["last"], patience=120)
    busy = server.ask("cpu")["cpu"] - before
    wanted = changes * count
    missed = abs(wanted - heard["changes"]) + heard["holes"] + heard["repeats"]
    return wanted / busy, wanted / (heard["last_at"] - told["began"]), missed


@contextmanager
def _bare() -> Iterator[Child | None]:
    if find_spec("websockets") is None:
        yield None
        return
    with Child("kalshiweb.bench.broadcaster") as child:
        yield child


# --- a desk with a simulated upstream ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stage:
    """A relay and a web process, maybe the same one, to which crowds of browsers come one after another."""

    server: str
    relay: Child
    web: Child
    stamps: str

    def play(self, *, count: int, markets: int, rate: float, seconds: float, each: int = 0) -> Answer:
        """Play the first so many markets to a new crowd, and return what it and the processes saw.

        Everybody watches all of them, or `each` of them in turn.
        """
        with Child("kalshiweb.bench.browsers") as browsers:
            desk.connect(self.web, browsers, "book", count)
            tickers = [ticker_of(number) for number in range(markets)]
            browsers.ask("watch", tickers=tickers, each=each, fold=2)
            self.relay.ask("play", markets=markets, rate=rate, seconds=min(1.0, seconds / 3))  # warms up
            browsers.ask("caught_up", clocks=self.relay.ask("expected")["clocks"])
            found = self._measure(browsers, markets=markets, rate=rate, seconds=seconds)
        self.web.ask("empty")
        return found

    def _measure(self, browsers: Child, *, markets: int, rate: float, seconds: float) -> Answer:
        begun = browsers.ask("begin", stamps=self.stamps, markets=MOST_MARKETS)
        web, relay, counts = self.web.ask("cpu"), self.relay.ask("cpu"), self.relay.ask("counts")
        with Lateness() as lateness:
            self.relay.ask("play", markets=markets, rate=rate, seconds=seconds, patience=seconds + 60)
        web_after, relay_after, counts_after = self.web.ask("cpu"), self.relay.ask("cpu"), self.relay.ask("counts")
        expected = self.relay.ask("expected")
        found = browsers.ask("caught_up", clocks=expected["clocks"])
        kept = browsers.ask("books")["books"]
        lasted = web_after["at"] - web["at"]
        return found | {
            "seconds": lasted,
            "share": (web_after["cpu"] - web["cpu"]) / lasted,
            "relay_share": (relay_after["cpu"] - relay["cpu"]) / lasted,
            "load_share": (found["cpu"] - begun["cpu"]) / (found["at"] - begun["at"]),
            "messages": (counts_after["messages"] - counts["messages"]) / lasted,
            "late": lateness.p99_ms(),
            "wrong": sum(books[ticker] != expected["books"][ticker] for books in kept for ticker in books),
        }


@contextmanager
def one_process(folder: Path, server: str) -> Iterator[Stage]:
    """Run relay, hub and server in one process."""
    with Child("kalshiweb.bench.web", server, env=desk.child_env(folder)) as web:
        yield _begun(Stage(server, web, web, str(folder / "stamps")))


@contextmanager
def two_processes(folder: Path, url: str) -> Iterator[Stage]:
    """Run the feed and the web process apart, with a store between them."""
    env = desk.child_env(folder, redis_url=url)
    with Child("kalshiweb.bench.web", env=env) as web, Child("kalshiweb.bench.feed", env=env) as relay:
        yield _begun(Stage("daphne", relay, web, str(folder / "stamps")))


def _begun(stage: Stage) -> Stage:
    stage.relay.ask("simulate", stamps=stage.stamps, markets=MOST_MARKETS)
    return stage


def _late(found: Answer) -> str:
    late = found["late"]
    return "" if late is None else f"an idle thread woke {plain(late)} ms late (p99)"


def _add_faults(report: Report, where: str, found: Answer) -> None:
    faults = found["holes"] + found["repeats"] + found["behind"] + found["closed"] + found["wrong"]
    note = f"load generator: {found['load_share']:.0%} of a core"
    report.add(f"{where}: holes, repeats, wrong books, lost", faults, at_most=0, note=note)


# --- merged --------------------------------------------------------------------------------------------


def measure_hot(report: Report, stage: Stage, size: Size, *, count: int) -> None:
    """Measure one busy market to everybody, as many frames a second as the process can take."""
    found = stage.play(count=count, markets=1, rate=HOT_RATE, seconds=size.hot_seconds)
    where = f"conflated, {count:,} browsers, {stage.server}"
    slowest = {"daphne": 250 if count > 500 else 65, "uvicorn": 85}[stage.server]
    report.add(f"{where}: share of one core", found["share"], at_most=0.30 if count == 200 else None)
    report.add(f"{where}: p50", found.get("p50_ms"), "ms")
    report.add(f"{where}: p99", found.get("p99_ms"), "ms", at_most=slowest, note=_late(found))
    report.add(f"{where}: frames/s to each", found["frames"] / count / found["seconds"])
    _add_change_deliveries(report, where, found, count=count)
    _add_faults(report, where, found)


def _add_change_deliveries(report: Report, where: str, found: Answer, *, count: int) -> None:
    deliveries = found["changes"] / found["seconds"]
    report.add(f"{where}: change-deliveries/s", deliveries)
    name = f"raw, {count:,} browsers: published way, deliveries/s, one core"
    naive = next((figure.value for figure in report.figures if figure.name == name), None)
    times = None if naive is None else deliveries / naive
    report.add(f"{where}: times the published way's most", times, "×", at_least=300 if count == 1_000 else None)


def measure_with_uvicorn(report: Report, folder: Path, size: Size) -> None:
    """Measure the documented quicker server where it is installed."""
    most = max(size.hot)
    where = f"conflated, {most:,} browsers × 10 of 100 markets, uvicorn"
    if find_spec("uvicorn") is None:
        report.add(f"conflated, {most:,} browsers, uvicorn: p99", None, note=NO_UVICORN)
        report.add(f"{where}: p99", None, note=NO_UVICORN)
        return
    with one_process(folder, "uvicorn") as stage:
        measure_hot(report, stage, size, count=most)
        found = stage.play(count=most, markets=MOST_MARKETS, rate=HOT_RATE, seconds=size.hot_seconds, each=10)
    report.add(f"{where}: share of one core", found["share"])
    report.add(f"{where}: p99", found.get("p99_ms"), "ms", at_most=20, note=_late(found))
    _add_faults(report, where, found)


def _play_quiet(stage: Stage, size: Size) -> Answer:
    seconds = size.quiet_seconds
    return stage.play(count=size.quiet, markets=MOST_MARKETS, rate=QUIET_RATE, seconds=seconds, each=QUIET_EACH)


def measure_quiet(report: Report, stage: Stage, size: Size) -> float | None:
    """Measure the leading edge; return its p50 in ms."""
    found = _play_quiet(stage, size)
    where = f"quiet, {size.quiet} browsers, one process"
    p50: float | None = found.get("p50_ms")
    report.add(f"{where}: p50", p50, "ms", at_most=3)
    report.add(f"{where}: p99", found.get("p99_ms"), "ms", at_most=10, note=_late(found))
    _add_faults(report, where, found)
    return p50


# --- two processes -------------------------------------------------------------------------------------


def measure_quiet_through_store(report: Report, stage: Stage, size: Size, *, alone: float | None) -> None:
    """Measure what the layer adds to the leading edge."""
    found = _play_quiet(stage, size)
    where = f"quiet, {size.quiet} browsers, through Valkey"
    report.add(f"{where}: p50", found.get("p50_ms"), "ms")
    report.add(f"{where}: p99", found.get("p99_ms"), "ms", note=_late(found))
    added = found["p50_ms"] - alone if alone is not None and "p50_ms" in found else None
    report.add(f"{where}: p50 added", added, "ms", at_most=2)
    _add_faults(report, where, found)


def measure_growth(report: Report, stage: Stage, size: Size) -> None:
    """Measure what the feed process costs with few and with many browsers, in turns."""
    few, many = size.growth
    found: dict[int, list[Answer]] = {few: [], many: []}
    for _ in range(size.growth_rounds):
        for count, kept in found.items():
            seconds = size.growth_seconds
            kept.append(stage.play(count=count, markets=GROWTH_MARKETS, rate=GROWTH_RATE, seconds=seconds))
    where = f"growth, {few} → {many} browsers"
    pairs = list(zip(found[few], found[many], strict=True))
    cpu = [(after["relay_share"] / before["relay_share"] - 1) * 100 for before, after in pairs]
    messages = [(after["messages"] / before["messages"] - 1) * 100 for before, after in pairs]
    cost = [
        (after["share"] - before["share"]) * after["seconds"] / (after["texts"] - before["texts"]) * 1e6
        for before, after in pairs
    ]
    report.add(f"{where}: feed process's CPU, change", cpu, "%", at_most=5)
    report.add(f"{where}: layer messages/s, change", messages, "%", at_most=5)
    report.add(f"{where}: layer messages/s", [after["messages"] for _, after in pairs])
    report.add(f"{where}: feed process, share of one core", [after["relay_share"] for _, after in pairs])
    report.add(f"{where}: web process's CPU per browser and text", cost, "µs", at_most=60)
    for count, rounds in found.items():
        for one in rounds:
            _add_faults(report, f"growth, {count} browsers", one)
