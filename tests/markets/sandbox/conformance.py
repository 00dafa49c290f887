"""Judges answers and frames by the exchange's own documents, both ways: what they require is there, nothing else is.

The documents are openapi.yaml and asyncapi.yaml. Where recordings contradict them the recordings win, and the exception
stands here by name. What was seen and what was not is counted for a report.
"""

from __future__ import annotations

import copy
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import yaml
from jsonschema import Draft202012Validator

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
PREFIX = "/trade-api/v2"

# Every refusal comes in one of the exchange's five shapes; the OpenAPI document knows one of them.
TEXT = {"type": "string", "minLength": 1}
ERROR_OBJECT = {
    "type": "object",
    "properties": {"code": TEXT, "message": TEXT, "details": TEXT},
    "required": ["code", "message"],
    "additionalProperties": False,
}
ERRORS = {
    "anyOf": [
        {
            "type": "object",
            "properties": {"error": ERROR_OBJECT},
            "required": ["error"],
            "additionalProperties": False,
        },
        ERROR_OBJECT,
        {"type": "object", "properties": {"msg": TEXT}, "required": ["msg"], "additionalProperties": False},
        {"type": "object", "properties": {"error": TEXT}, "required": ["error"], "additionalProperties": False},
    ]
}
# The first order family is not in the document any more, yet its paths still answer.
GONE = re.compile(r"^/portfolio/orders(/batched|/[^/]+(/amend|/decrease)?)?$")


def closed(schema: Any) -> Any:
    """Return an OpenAPI schema as JSON Schema in which objects have no other properties than the named ones."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: closed(value) for name, value in schema.items() if name not in {"example", "examples", "nullable"}}
    if "properties" in found and isinstance(found["properties"], dict) and "additionalProperties" not in found:
        found["additionalProperties"] = False
    if schema.get("nullable"):
        return {"anyOf": [found, {"type": "null"}]}
    return found


def _resolved(schema: Any, root: dict[str, Any], depth: int = 0) -> Any:
    """Return a schema without references, `allOf` of one merged into its parent."""
    if isinstance(schema, list):
        return [_resolved(item, root, depth) for item in schema]
    if not isinstance(schema, dict) or depth > 40:
        return schema
    if "$ref" in schema:
        target: Any = root
        for name in schema["$ref"].removeprefix("#/").split("/"):
            target = target[name]
        merged = {**copy.deepcopy(target), **{key: value for key, value in schema.items() if key != "$ref"}}
        return _resolved(merged, root, depth + 1)
    found = {name: _resolved(value, root, depth + 1) for name, value in schema.items()}
    parts = found.pop("allOf", None)
    if parts is None:
        return found
    merged = dict(found)
    for part in parts:
        for name, value in part.items():
            if name == "properties":
                merged["properties"] = {**merged.get("properties", {}), **value}
            elif name == "required":
                merged["required"] = [*merged.get("required", []), *value]
            else:
                merged.setdefault(name, value)
    return merged


@dataclass
class Judge:
    """Both documents, and what has been judged by them so far."""

    documents: Path
    complaints: list[str] = field(default_factory=list)
    answers: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    frames: Counter[str] = field(default_factory=Counter)
    fields: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def __post_init__(self) -> None:
        self.rest = yaml.load((self.documents / "openapi.yaml").read_text(), Loader=LOADER)  # noqa: S506
        self.stream = yaml.load((self.documents / "asyncapi.yaml").read_text(), Loader=LOADER)  # noqa: S506
        self._paths = [
            (re.compile(re.sub(r"\{\w+\}", "[^/]+", path) + r"\Z"), path, operations)
            for path, operations in sorted(self.rest["paths"].items(), key=lambda item: item[0].count("{"))
        ]
        self._validators: dict[str, Draft202012Validator] = {}
        self._schemas: dict[str, Any] = {}

    # --- REST ----------------------------------------------------------------------------------------

    def operation(self, method: str, path: str) -> tuple[str, dict[str, Any]] | None:
        """Return the documented path and operation of a request."""
        for pattern, named, operations in self._paths:
            if pattern.match(path) and method.lower() in operations:
                return named, operations[method.lower()]
        return None

    def hear(self, method: str, path: str, answer: Any) -> None:
        """Judge one answer or one frame; what is wrong with it is kept for the end of the test."""
        if method == "WS":
            self.judge_frame(answer)
        else:
            self.judge_answer(method, path, answer)

    def judge_answer(self, method: str, path: str, answer: requests.Response) -> None:
        """Judge one REST answer."""
        where = f"{method} {path} {answer.status_code}"
        found = self.operation(method, path)
        named = path if found is None else found[0]
        self.answers[method, named, answer.status_code] += 1
        if answer.status_code in {204, 301} or answer.headers.get("content-type", "").startswith("text/"):
            self._expect(where, answer.content == b"" or answer.status_code >= 400, "a body where there is none")
            return
        body = answer.json()
        self._expect(where, _is_sorted(answer.text), "keys are not in alphabetical order")
        if answer.status_code >= 400:
            self._validate(where, "error", ERRORS, body)
        elif found is not None:
            self._judge_success(where, f"{method} {named}", found[1], answer.status_code, body)
        else:
            self._expect(where, bool(GONE.match(path)), "the document knows no such operation")

    def _judge_success(self, where: str, name: str, operation: dict[str, Any], status: int, body: Any) -> None:
        documented = operation["responses"].get(str(status))
        if documented is None:
            self.complaints.append(f"{where}: the document knows no such status")
            return
        content = documented.get("content", {}).get("application/json")
        schema = {} if content is None else content["schema"]
        self._validate(where, f"{name} {status}", self._whole(name, schema, self.rest), body)
        self._count(name, body)

    def _whole(self, name: str, schema: Any, root: dict[str, Any]) -> Any:
        """Return a schema without references, made once."""
        if name not in self._schemas:
            self._schemas[name] = _resolved(schema, root)
        return self._schemas[name]

    # --- frames --------------------------------------------------------------------------------------

    def judge_frame(self, frame: dict[str, Any]) -> None:
        """Judge one frame of the stream."""
        name = self._payload(frame)
        self.frames[name] += 1
        schema = self.stream["components"]["schemas"].get(name)
        if schema is None:
            self.complaints.append(f"frame {frame['type']}: the document knows no such message")
            return
        whole = self._whole(name, schema, self.stream)
        self._validate(f"frame {frame['type']} {json.dumps(frame)[:300]}", name, whole, frame)
        self._count(name, frame)

    def _payload(self, frame: dict[str, Any]) -> str:
        kind = frame["type"]
        if kind == "ok":
            return "listSubscriptionsResponsePayload" if isinstance(frame.get("msg"), list) else "okResponsePayload"
        if kind in {"subscribed", "unsubscribed", "error"}:
            return f"{kind}ResponsePayload"
        if kind == "market_lifecycle_v2" and frame["msg"].get("event_type") == "metadata_updated":
            return "marketMetadataUpdatedPayload"
        special = {"market_lifecycle_v2": "marketLifecycleV2Payload"}
        first, *rest = kind.split("_")
        return special.get(kind, f"{first}{''.join(part.capitalize() for part in rest)}Payload")

    # --- judging -------------------------------------------------------------------------------------

    def _expect(self, where: str, holds: bool, complaint: str) -> None:
        if not holds:
            self.complaints.append(f"{where}: {complaint}")

    def _validate(self, where: str, name: str, schema: Any, body: Any) -> None:
        validator = self._validators.get(name)
        if validator is None:
            validator = self._validators[name] = Draft202012Validator(closed(schema))
        for error in validator.iter_errors(body):
            self.complaints.append(f"{where}: {'.'.join(map(str, error.absolute_path))}: {error.message[:300]}")

    def _count(self, name: str, body: Any) -> None:
        self.fields[name].update(_field_names(body))

    def report(self) -> str:
        """Return what was heard: times, operation, status; times, message; then documented fields nobody ever sent."""
        heard = sorted(self.answers.items())
        lines = [f"{times:6} {method:6} {path} {status}" for (method, path, status), times in heard]
        lines += [f"{times:6} {name}" for name, times in sorted(self.frames.items())]
        for name, schema in sorted(self._schemas.items()):
            unseen = sorted(set(_documented(schema)) - set(self.fields[name]))
            if unseen:
                lines.append(f"never in {name}: {', '.join(unseen)}")
        return "\n".join(lines)


def _documented(schema: Any, way: str = "") -> Iterator[str]:
    """Yield every field that a schema names."""
    if not isinstance(schema, dict):
        return
    for name, inner in (schema.get("properties") or {}).items():
        yield f"{way}{name}"
        yield from _documented(inner, f"{way}{name}.")
    yield from _documented(schema.get("items"), way)


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
