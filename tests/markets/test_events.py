"""Frames as text: JSON, and in ASCII whatever the exchange's own words are."""

from __future__ import annotations

import json

import pytest

from markets.events import encode


@pytest.mark.parametrize("why", ["plain words", "Börse geschlossen", "closed \U0001f680", '"quoted" \\ \n'])
def test_a_frame_is_as_many_bytes_as_characters(why: str) -> None:
    frame = {"t": "state", "why": why, "bids": [(4800, 100)], "close": None}

    text = encode(frame)

    assert text.isascii()
    assert json.loads(text) == {"t": "state", "why": why, "bids": [[4800, 100]], "close": None}
