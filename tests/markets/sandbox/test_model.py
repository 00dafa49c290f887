"""The engine against the reference exchange: any sequence of acts leaves both with the same answers and holdings."""

from __future__ import annotations

import sys
from collections import Counter

import pytest

from tests.markets.sandbox.driver import Driver
from tests.markets.sandbox.pair import Difference

STEPS = 90
RARE = 500  # how often each kind must have happened in the long run


def play(seeds: range) -> Counter[str]:
    """Play a sequence from every seed; a difference names its seed."""
    counts: Counter[str] = Counter()
    for seed in seeds:
        try:
            counts.update(Driver(seed).play(STEPS))
        except Difference as difference:
            raise Difference(f"seed {seed}: {difference}") from difference
    return counts


def test_engine_and_reference_exchange_agree_on_random_sequences() -> None:
    counts = play(range(250))

    assert counts["order ends executed Trade"] > 500
    assert counts["settlement row"] > 20


@pytest.mark.long
def test_engine_and_reference_exchange_agree_on_ten_thousand_sequences() -> None:
    counts = play(range(1_000, 11_000))

    sys.stdout.writelines(f"{times:9,} {kind}\n" for kind, times in sorted(counts.items()))
    rare = {kind: times for kind, times in counts.items() if times < RARE}
    assert not rare
