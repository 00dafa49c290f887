"""The judge of books, judged: a wrong level, side or position does not pass."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests import judges

SNAPSHOT = {
    "type": "orderbook_snapshot",
    "msg": {"market_ticker": "T-1", "yes_dollars_fp": [["0.4800", "10.00"]], "no_dollars_fp": [["0.4900", "33.25"]]},
}
DELTA = {
    "type": "orderbook_delta",
    "msg": {"market_ticker": "T-1", "price_dollars": "0.4900", "delta_fp": "-3.25", "side": "no"},
}
CLOSE = {"type": "orderbook_snapshot", "msg": {"market_ticker": "T-1"}}


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    path = tmp_path / "tape.jsonl"
    lines = [{"recv_ms": at, "frame": frame} for at, frame in enumerate([SNAPSHOT, DELTA, CLOSE])]
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def held(line: int, bids: list[list[int]], asks: list[list[int]], ticker: str = "T-1") -> dict[str, Any]:
    return {"m": ticker, "line": line, "bids": bids, "asks": asks}


def test_a_true_book_passes_at_each_position(tape: Path) -> None:
    samples = [
        held(1, [[4800, 1000]], [[5100, 3325]]),
        held(2, [[4800, 1000]], [[5100, 3000]]),
        held(3, [], []),
    ]

    assert judges.differences(tape, samples) == []


@pytest.mark.parametrize(
    "sample",
    [
        held(2, [[4800, 1000]], [[5100, 3325]]),  # a delta behind
        held(2, [[4800, 1000]], [[4900, 3000]]),  # NO not mirrored
        held(2, [[4800, 1000], [4700, 100]], [[5100, 3000]]),  # a level too many
        held(2, [], [[5100, 3000]]),  # a level missing
        held(2, [[4800, 1000]], [[5100, 3000]], ticker="T-2"),  # another market's position
        held(9, [], []),  # a position that does not exist
    ],
)
def test_a_wrong_book_is_named(tape: Path, sample: dict[str, Any]) -> None:
    assert len(judges.differences(tape, [sample])) == 1
