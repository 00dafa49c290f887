"""Benchmarks tell what they are asked to tell, and lose nothing on the way. Nobody here judges how quick that is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kalshiweb.bench import fanout, figures, frames, ingest, machine, sandbox
from kalshiweb.bench.figures import Figure, Report
from kalshiweb.management.commands import bench

pytestmark = pytest.mark.usefixtures("a_scratch_home")

TINY_INGEST = ingest.Size(
    3_000,
    rounds=1,
    compared=1_000,
    compared_best=500,
    bursts=1,
    browsers=3,
    markets=20,
    pipeline_frames=4_000,
    pipeline_rate=20_000,
)
TINY_SANDBOX = sandbox.Size(rounds=1, operations=2_000, frames=2_000, wired=1_000, creates=20)
TINY_FANOUT = fanout.Size(
    raw=(4,),
    rounds=1,
    raw_deliveries=400,
    hot=(4,),
    hot_seconds=0.3,
    quiet=4,
    quiet_seconds=0.5,
    growth=(1, 4),
    growth_seconds=0.3,
    growth_rounds=1,
)


@pytest.fixture
def a_scratch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what a bench's processes write apart, and away from any store."""
    monkeypatch.setenv("KALSHIWEB_DATA_DIR", str(tmp_path / "home"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def run(one: Any, size: Any) -> Report:
    report = Report(one.__name__, one.__doc__ or "", machine.describe())
    one.run(report, size=size)
    return report


def measured(report: Report) -> dict[str, float]:
    return {figure.name: figure.value for figure in report.figures if figure.value is not None}


def faults(report: Report) -> dict[str, float]:
    """Return every count of something lost, doubled or wrong that is not zero."""
    words = ("lost", "wrong", "missing", "holes", "differ", "doubled")
    return {name: value for name, value in measured(report).items() if any(word in name for word in words) and value}


def test_ingest_tells_its_figures_and_loses_nothing() -> None:
    report = run(ingest, TINY_INGEST)

    assert faults(report) == {}
    assert measured(report)["frames/s, socket to best prices, one core"] > 0
    assert measured(report)["pipeline: frames/s to all browsers"] > 0
    assert measured(report)["ms until a burst is in the books"] > 0
    assert report.ratio_to_naive is not None


def test_frames_of_the_local_exchange_serve_where_there_is_no_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KALSHIWEB_RECORDINGS", "/nowhere")
    made = frames.stream(500)

    assert made.source == "our own local exchange"
    assert len(made.yes_scale) == len(made.no_scale) == 500
    numbers = [json.loads(frame)["seq"] for frame in made.yes_scale if json.loads(frame)["sid"] == 1]
    assert numbers == list(range(1, len(numbers) + 1))
    sides = [side for books in made.books.values() for side in books.values()]
    assert all(size > 0 for side in sides for size in side.values())


def test_sandbox_tells_its_figures_and_loses_nothing() -> None:
    report = run(sandbox, TINY_SANDBOX)

    assert faults(report) == {}
    assert measured(report)["engine: operations/s without I/O, one core"] > 0
    assert measured(report)["encoded book frames/s to one subscriber, one core"] > 0
    assert measured(report)["signed creates/s over REST, on the clock"] > 0
    assert report.ratio_to_naive is not None


def test_fanout_loses_nothing_to_browsers_of_one_process(tmp_path: Path) -> None:
    report = Report("fanout", "", {})
    fanout.measure_raw(report, tmp_path, TINY_FANOUT)
    with fanout.one_process(tmp_path, "daphne") as stage:
        fanout.measure_hot(report, stage, TINY_FANOUT, count=4)

    assert faults(report) == {}
    assert measured(report)["raw, 4 browsers: times the published way"] > 0
    assert measured(report)["conflated, 4 browsers, daphne: p99"] > 0
    assert report.ratio_to_naive is not None


@pytest.mark.long
def test_fanout_tells_all_its_figures_and_loses_nothing() -> None:
    report = run(fanout, TINY_FANOUT)

    assert faults(report) == {}
    assert measured(report)["raw, 4 browsers: times the published way"] > 0
    assert measured(report)["conflated, 4 browsers, daphne: p99"] > 0
    assert measured(report)["quiet, 4 browsers, through Valkey: p50"] > 0
    assert measured(report)["growth, 1 → 4 browsers: layer messages/s"] > 0
    assert report.ratio_to_naive is not None


def test_a_figure_that_could_not_be_measured_is_printed_as_such() -> None:
    line = Figure("p99 with uvicorn", None, "ms", at_most=85, note="uvicorn is not installed").line()

    assert "not measured" in line and "uvicorn is not installed" in line
    assert "met" not in line and "MISSED" not in line


def test_a_missed_goal_is_printed_as_missed() -> None:
    assert "MISSED" in Figure("p99", 90.0, "ms", at_most=85).line()
    assert "MISSED" in Figure("frames/s", 79_999, at_least=80_000).line()
    assert " met" in Figure("frames/s", 80_000, at_least=80_000).line()


def test_several_rounds_give_their_median_and_spread() -> None:
    report = Report("x", "", {})
    report.add("frames/s", [3.0, 1.0, 2.0])

    assert report.figures == [Figure("frames/s", 2.0, "", (1.0, 3.0))]


def test_a_percentile_is_the_value_that_so_many_do_not_exceed() -> None:
    assert figures.percentile([5, 1, 4, 2, 3], 0.5) == 3
    assert figures.percentile(range(1, 101), 0.99) == 100


def test_rounds_are_compared_with_their_neighbours_in_time() -> None:
    assert figures.ratio([10.0, 30.0], [5.0, 10.0]) == [2.0, 3.0]


@pytest.mark.parametrize(
    ("before", "during", "is_said"), [(0.05, 0.10, False), (0.50, 0.10, True), (0.05, 0.50, True), (None, 0.0, True)]
)
def test_foreign_load_is_said_clearly(before: float | None, during: float | None, is_said: bool) -> None:
    assert (machine.warning(before, during) is not None) is is_said


@pytest.mark.parametrize("is_json", [False, True])
def test_the_command_prints_method_machine_figures_and_last_the_ratio(
    is_json: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(sandbox, "run", _say_something)
    bench.Command().run_from_argv(["manage.py", "bench", "sandbox", "--quick", *(["--json"] if is_json else [])])

    lines = capsys.readouterr().out.splitlines()
    if is_json:
        head, figure, last = (json.loads(line) for line in lines)
        assert head["bench"] == "sandbox" and "python" in head["machine"] and "signed creates" in head["method"]
        assert (figure["name"], figure["value"], figure["is_met"]) == ("frames/s", 7.0, True)
        assert last == {"ratio_to_naive": 3.5}
    else:
        assert lines[0] == "bench sandbox" and lines[-1] == "ratio to the naive way: 3.5 ×"


def _say_something(report: Report, *, size: sandbox.Size) -> None:
    assert size is sandbox.QUICK
    report.add("frames/s", 7.0, at_least=5)
    report.ratio_to_naive = 3.5


@pytest.mark.parametrize("name", bench.NAMES)
def test_every_bench_describes_its_method_and_has_both_sizes(name: str) -> None:
    modules: dict[str, Any] = {"fanout": fanout, "ingest": ingest, "sandbox": sandbox}
    one = modules[name]
    run_it: Callable[..., None] = one.run

    assert callable(run_it) and one.Size() != one.QUICK
    assert "naive way" in one.__doc__ or "published way" in one.__doc__
