"""The documents' schemas as JSON Schema that forbids what they do not name, and the fields that they do name."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

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
# How a text is written that the documents describe in words: counts have two decimals, dollars four to six.
FORMATS = {
    "date-time": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,5}[1-9])?Z$",
    "uuid": r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
}
ENDINGS = {"_fp": r"^-?\d+\.\d{2}$", "_dollars": r"^-?\d+\.\d{4}(\d{2})?$"}


def closed(schema: Any, name: str = "") -> Any:
    """Return an OpenAPI schema as JSON Schema in which objects have no other properties than the named ones."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: closed(value) for key, value in schema.items() if key not in {"example", "examples", "nullable"}}
    if isinstance(schema.get("properties"), dict):
        found["properties"] = {key: closed(value, key) for key, value in schema["properties"].items()}
        found.setdefault("additionalProperties", False)
    if found.get("type") == "string" and "enum" not in found:
        pattern = FORMATS.get(found.get("format", "")) or next(
            (pattern for ending, pattern in ENDINGS.items() if name.endswith(ending)), None
        )
        found |= {} if pattern is None else {"pattern": pattern}
    if schema.get("nullable"):
        return {"anyOf": [found, {"type": "null"}]}
    return found


def resolved(schema: Any, root: dict[str, Any], depth: int = 0) -> Any:
    """Return a schema without references, `allOf` of one merged into its parent."""
    if isinstance(schema, list):
        return [resolved(item, root, depth) for item in schema]
    if not isinstance(schema, dict) or depth > 40:
        return schema
    if "$ref" in schema:
        target: Any = root
        for name in schema["$ref"].removeprefix("#/").split("/"):
            target = target[name]
        merged = {**copy.deepcopy(target), **{key: value for key, value in schema.items() if key != "$ref"}}
        return resolved(merged, root, depth + 1)
    found = {name: resolved(value, root, depth + 1) for name, value in schema.items()}
    for part in found.pop("allOf", []):
        for name, value in part.items():
            if name == "properties":
                found["properties"] = {**found.get("properties", {}), **value}
            elif name == "required":
                found["required"] = [*found.get("required", []), *value]
            else:
                found.setdefault(name, value)
    return found


def documented(schema: Any, way: str = "") -> Iterator[tuple[str, bool]]:
    """Yield every field that a schema names, with whether it is required where it stands."""
    if not isinstance(schema, dict):
        return
    required = schema.get("required", [])
    for name, inner in (schema.get("properties") or {}).items():
        yield f"{way}{name}", name in required
        yield from documented(inner, f"{way}{name}.")
    yield from documented(schema.get("items"), way)
