"""The form of a JSON text: each value replaced by what the documents can tell about it.

Two bodies of one form are both right or both wrong: a few hundred judgements do for hundreds of thousands of frames.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

# A text that is no key, or a number.
VALUE = re.compile(r'"((?:[^"\\]|\\.)*)"(?=\s*[,}\]])|(?<=[:\[,\s])-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?')
DIGIT, DIGITS = re.compile(r"\d"), re.compile(r"\d+")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")
SHORT = 32


# For a first, cheap look at frames: every whole number above nought is N, every other digit 0.
WHOLE = re.compile(r"(?<![\d.])[1-9]\d*")
ANY_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
NAUGHTS = str.maketrans("123456789", "000000000")
TRAILING = re.compile(r"\.\d*0Z")


def outline(text: str) -> str | None:
    """Return a frame without its numbers, alike only for frames of one form; None where that takes a closer look."""
    if '"code":' in text or TRAILING.search(text):
        return None
    return WHOLE.sub("N", ANY_UUID.sub("U", text)).translate(NAUGHTS)


@dataclass(frozen=True)
class Wording:
    """The words that the documents give as the only values of some field."""

    words: frozenset[str]

    @classmethod
    def of(cls, *documents: Any) -> Wording:
        """Collect every word of every enumeration and constant."""
        return cls(frozenset(word for document in documents for word in _words(document)))

    def form(self, text: str) -> str:
        """Return the text with values reduced to their form; a refusal stays as it is, for its codes are numbers."""
        return text if '"code":' in text else VALUE.sub(self._reduced, text)

    def _reduced(self, found: re.Match[str]) -> str:
        text = found[1]
        if text is None:
            return _sign(found[0])
        if text in self.words or not text:
            return found[0]
        if UUID.match(text):
            return '"uuid"'
        if len(text) <= SHORT and text[0] in "-0123456789" and text[-1] in "Z0123456789":
            whole, _, fraction = text.partition(".")
            if text.endswith("Z"):
                return f'"{DIGIT.sub("0", whole)}.{len(fraction)}{fraction[-2:-1] == "0"}"'
            return f'"{DIGITS.sub("0", whole)}.{len(fraction)}"'  # how many digits stand behind the point counts
        return '"text"'


def _sign(number: str) -> str:
    if "." in number or "e" in number or "E" in number:
        return "0.5"
    return "0" if number == "0" else "-1" if number.startswith("-") else "1"


def _words(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        for name, value in schema.items():
            if name == "enum" and isinstance(value, list):
                yield from (word for word in value if isinstance(word, str))
            elif name == "const" and isinstance(value, str):
                yield value
            else:
                yield from _words(value)
    elif isinstance(schema, list):
        for item in schema:
            yield from _words(item)
