"""What an exchange of another process said, judged by the exchange's documents."""

from __future__ import annotations

import json
import os
from pathlib import Path

from markets.sandbox.web import PREFIX
from tests.markets.sandbox.conformance import Judge

NAME = "overheard.jsonl"


def environment(data_dir: Path) -> dict[str, str]:
    """Return what makes a desk's exchange write down what it says."""
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths), "KALSHIWEB_OVERHEAR": str(data_dir / NAME)}


def judge(data_dir: Path, documents: Path) -> tuple[int, list[str]]:
    """Judge everything that was written down; return how much that was, and each complaint once."""
    found, heard = Judge(documents), 0
    path = data_dir / NAME
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            said = json.loads(line)
        except ValueError:
            continue  # the last line of an exchange that was killed
        heard += 1
        if "frame" in said:
            found.judge_frame(said["frame"])
        else:
            path_there = said["path"].removeprefix(PREFIX)
            body = said["body"].encode()
            found.judge_body(said["method"], path_there, said["status"], kind=said["kind"], body=body)
    return heard, list(dict.fromkeys(found.complaints))
