"""Judges answers and frames by the exchange's own documents, both ways: what they require is there, nothing else is.

The documents are openapi.yaml and asyncapi.yaml. Where recordings contradict them the recordings win, and the exception
stands in `covered` by name. What was seen and what was not is counted for a report.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import requests
import yaml
from jsonschema import Draft202012Validator

from tests.markets.sandbox.schemas import ERRORS, closed, documented, resolved
from tests.markets.sandbox.wording import Wording, outline

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
PREFIX = "/trade-api/v2"
# The first order family is not in the document any more, yet its paths still answer.
GONE = re.compile(r"^/portfolio/orders(/batched|/[^/]+(/amend|/decrease)?)?$")
KINDS = {"market_lifecycle_v2": "marketLifecycleV2Payload"}


@lru_cache
def _read(path: Path) -> Any:
    """Return a document, read once; nobody may change it."""
    return yaml.load(path.read_text(), Loader=LOADER)  # noqa: S506


@dataclass(slots=True)
class Seen:
    """One form of one body: its fields, and how often it was heard."""

    fields: frozenset[str]
    times: int = 0


@dataclass
class Judge:
    """Both documents, and what has been judged by them so far."""

    documents: Path
    complaints: list[str] = field(default_factory=list)
    answers: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    frames: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.rest, self.stream = _read(self.documents / "openapi.yaml"), _read(self.documents / "asyncapi.yaml")
        self._paths = [
            (re.compile(re.sub(r"\{\w+\}", "[^/]+", path) + r"\Z"), path, operations)
            for path, operations in sorted(self.rest["paths"].items(), key=lambda item: item[0].count("{"))
        ]
        self._wording = Wording.of(self.rest, self.stream)
        self._validators: dict[str, Draft202012Validator] = {}
        self._schemas: dict[str, Any] = {"error": ERRORS}
        self._seen: dict[tuple[str, str], Seen] = {}
        self._outlines: dict[tuple[str, str], Seen] = {}

    # --- REST ----------------------------------------------------------------------------------------

    def operation(self, method: str, path: str) -> tuple[str, dict[str, Any]] | None:
        """Return the documented path and operation of a request."""
        for pattern, named, operations in self._paths:
            if pattern.match(path) and method.lower() in operations:
                return named, operations[method.lower()]
        return None

    def hear(self, method: str, path: str, heard: Any, *, times: int = 1) -> None:
        """Judge what a client received: one answer, or with the method WS one decoded frame."""
        if method == "WS":
            self.judge_frame(json.dumps(heard, separators=(",", ":")), times=times)
            return
        answer: requests.Response = heard
        kind = answer.headers.get("content-type", "")
        self.judge_body(method, path, answer.status_code, kind=kind, body=answer.content, times=times)

    def overhear(self, method: str, path: str, heard: Any) -> None:
        """Judge what a client received and do not count it: whoever said it is heard too."""
        self.hear(method, path, heard, times=0)

    def judge_body(self, method: str, path: str, status: int, *, kind: str, body: bytes, times: int = 1) -> None:
        """Judge one answer by its parts; `kind` is its content type."""
        where = f"{method} {path} {status}"
        found = self.operation(method, path)
        named = path if found is None else found[0]
        self.answers[method, named, status] += times
        if status in {204, 301} or kind.startswith("text/"):
            self._expect(where, body == b"" or status >= 400, "a body where there is none")
            return
        if status >= 400:
            self._validate(where, "error", body.decode(), times=times)
        elif found is None:
            self._expect(where, bool(GONE.match(path)), "the document knows no such operation")
        elif str(status) not in found[1]["responses"]:
            self.complaints.append(f"{where}: the document knows no such status")
        else:
            name = f"{method} {named} {status}"
            self._learn(name)
            self._validate(where, name, body.decode(), times=times)

    # --- frames --------------------------------------------------------------------------------------

    def judge_frame(self, text: str, *, times: int = 1) -> None:
        """Judge one frame of the stream."""
        kind, message = _kind(text)
        name = self._payload(kind, message)
        self.frames[name] += times
        if not self._learn(name):
            self.complaints.append(f"frame {kind}: the document knows no such message")
            return
        self._validate(f"frame {text[:300]}", name, text, times=times, is_sorted=False)

    def _payload(self, kind: str, message: Any) -> str:
        if kind == "ok":
            return "listSubscriptionsResponsePayload" if isinstance(message, list) else "okResponsePayload"
        if kind in {"subscribed", "unsubscribed", "error"}:
            return f"{kind}ResponsePayload"
        if kind == "market_lifecycle_v2" and '"metadata_updated"' in message:
            return "marketMetadataUpdatedPayload"
        first, *rest = kind.split("_")
        return KINDS.get(kind, f"{first}{''.join(part.capitalize() for part in rest)}Payload")

    # --- judging -------------------------------------------------------------------------------------

    def _learn(self, name: str) -> bool:
        """Keep the schema of an operation and status, or of a message; say whether the documents have one."""
        if name in self._schemas:
            return True
        if " " in name:
            method, path, status = name.split(" ")
            answer = self.rest["paths"][path][method.lower()]["responses"][status]
            schema, document = answer.get("content", {}).get("application/json", {}).get("schema", {}), self.rest
        else:
            schema, document = self.stream["components"]["schemas"].get(name), self.stream
        if schema is not None:
            self._schemas[name] = resolved(schema, document)
        return schema is not None

    def _expect(self, where: str, holds: bool, complaint: str) -> None:
        if not holds:
            self.complaints.append(f"{where}: {complaint}")

    def _validate(self, where: str, name: str, text: str, *, times: int, is_sorted: bool = True) -> None:
        """Judge a body, once for each form in which it comes: values of one form are all the same to the documents."""
        seen = self._known(name, text, is_frame=not is_sorted)
        if seen is not None:
            seen.times += times
            return
        body = json.loads(text)
        complaints = [f"{where}: {error}" for error in self._errors(name, body)]
        if is_sorted and not _is_sorted(text):
            complaints.append(f"{where}: keys are not in alphabetical order")
        self.complaints += complaints
        if not complaints:
            self._seen[name, self._wording.form(text)] = Seen(frozenset(_field_names(body)), times)

    def _known(self, name: str, text: str, *, is_frame: bool) -> Seen | None:
        """Return what is known of a body's form; frames get a cheap look first, for there are so many."""
        if not is_frame or (key := outline(text)) is None:
            return self._seen.get((name, self._wording.form(text)))
        found = self._outlines.get((name, key))
        if found is None and (found := self._seen.get((name, self._wording.form(text)))) is not None:
            self._outlines[name, key] = found
        return found

    def _errors(self, name: str, body: Any) -> Iterator[str]:
        validator = self._validators.get(name)
        if validator is None:
            validator = self._validators[name] = Draft202012Validator(closed(self._schemas[name]))
        for error in validator.iter_errors(body):
            yield f"{'.'.join(map(str, error.absolute_path))}: {error.message[:300]}"

    # --- several processes ---------------------------------------------------------------------------

    def heard(self) -> dict[str, Any]:
        """Return what was heard, without the complaints: plain values, for the judge of another process to add."""
        return {
            "answers": dict(self.answers),
            "frames": dict(self.frames),
            "schemas": sorted(self._schemas.keys() - {"error"}),
            "seen": [(*key, seen.fields, seen.times) for key, seen in self._seen.items()],
        }

    def add(self, heard: dict[str, Any]) -> None:
        """Count what the judge of another process heard as if it had been said here."""
        self.answers.update(heard["answers"])
        self.frames.update(heard["frames"])
        for name in heard["schemas"]:
            self._learn(name)
        for name, form, fields, times in heard["seen"]:
            self._seen.setdefault((name, form), Seen(fields)).times += times

    # --- reporting -----------------------------------------------------------------------------------

    def fields(self, name: str) -> dict[str, tuple[int, bool]]:
        """Return each documented field of an operation and status, or of a message: times seen, and is it required."""
        seen: Counter[str] = Counter()
        for (heard, _), found in self._seen.items():
            if heard == name:
                seen.update(dict.fromkeys(found.fields, found.times))
        return {way: (seen[way], required) for way, required in documented(self._schemas[name])}

    def unseen(self) -> Iterator[tuple[str, str]]:
        """Yield operation and status (or message) and field of everything documented that nothing ever sent."""
        for name in sorted(self._schemas.keys() - {"error"}):
            for way, (times, _) in sorted(self.fields(name).items()):
                if not times:
                    yield name, way

    def totals(self) -> str:
        """Return how often each operation and status, and each message, was heard."""
        heard = sorted(self.answers.items())
        lines = [f"{times:7} {method:6} {path} {status}" for (method, path, status), times in heard]
        return "\n".join(lines + [f"{times:7} {name}" for name, times in sorted(self.frames.items())])

    def table(self) -> str:
        """Return operation × status × field: times seen, and which are required."""
        lines = []
        for name in sorted(self._schemas.keys() - {"error"}):
            lines.append(name)
            for way, (times, required) in self.fields(name).items():
                lines.append(f"{times:9} {'required' if required else 'optional'} {way}")
        return "\n".join(lines)


def _kind(text: str) -> tuple[str, Any]:
    """Return a frame's type and its message, as text where that will do."""
    if text.startswith('{"type":"'):
        kind = text[9 : text.index('"', 9)]
        return kind, ([] if kind == "ok" and '"msg":[' in text else text)
    frame = json.loads(text)
    return frame["type"], frame.get("msg") if isinstance(frame.get("msg"), list) else text


def _field_names(body: Any, way: str = "") -> Iterator[str]:
    if isinstance(body, dict):
        for name, value in body.items():
            yield f"{way}{name}"
            yield from _field_names(value, f"{way}{name}.")
    elif isinstance(body, list):
        for item in body:
            yield from _field_names(item, way)


def _is_sorted(text: str) -> bool:
    """Say whether every object of a JSON text has its keys in alphabetical order."""
    unsorted: list[list[str]] = []

    def keep(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        if names != sorted(names):
            unsorted.append(names)
        return dict(pairs)

    json.loads(text, object_pairs_hook=keep)
    return not unsorted
