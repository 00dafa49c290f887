"""The judge of what an exchange of another process said hears what is wrong, and a last line that was cut."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from tests import overheard

SUBSCRIBED = {"frame": json.dumps({"id": 1, "type": "subscribed", "msg": {"channel": "trade", "sid": 1}})}
NAMELESS = {"frame": json.dumps({"id": 1, "type": "subscribed", "msg": {"chanel": "trade", "sid": 1}})}
STATUS = {"method": "GET", "path": "/trade-api/v2/exchange/status", "status": 200, "kind": "application/json"}


def write(folder: Path, *said: Mapping[str, object]) -> None:
    lines = [json.dumps(words) for words in said]
    (folder / overheard.NAME).write_text("\n".join([*lines, '{"frame": "cut o']))


def test_documented_words_pass(tmp_path: Path, exchange_documents: Path) -> None:
    write(tmp_path, SUBSCRIBED)

    assert overheard.judge(tmp_path, exchange_documents) == (1, [])


def test_a_misnamed_field_of_a_frame_is_heard(tmp_path: Path, exchange_documents: Path) -> None:
    write(tmp_path, SUBSCRIBED, NAMELESS)

    heard, complaints = overheard.judge(tmp_path, exchange_documents)

    assert heard == 2
    assert any("chanel" in complaint or "channel" in complaint for complaint in complaints)


def test_a_missing_field_of_an_answer_is_heard(tmp_path: Path, exchange_documents: Path) -> None:
    write(tmp_path, {**STATUS, "body": json.dumps({"exchange_active": True})})

    _, complaints = overheard.judge(tmp_path, exchange_documents)

    assert any("trading_active" in complaint for complaint in complaints)
