"""What a bench has found: figures with their spread and their goal, printed for people or as lines of JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Figure:
    """One result; `value` None means that it could not be measured, and `note` says why."""

    name: str
    value: float | None
    unit: str = ""
    spread: tuple[float, float] | None = None
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""

    @property
    def is_met(self) -> bool | None:
        """Say whether the goal is met; None where there is no goal or no value."""
        if self.value is None or (self.at_least is None and self.at_most is None):
            return None
        if self.at_least is not None and self.value < self.at_least:
            return False
        return self.at_most is None or self.value <= self.at_most

    def goal(self) -> str:
        """Return the goal as text, empty where there is none."""
        if self.at_least is not None:
            return f"≥ {plain(self.at_least)}"
        return "" if self.at_most is None else f"≤ {plain(self.at_most)}"

    def line(self) -> str:
        """Return the figure as one line for people."""
        measured = NOT_MEASURED if self.value is None else f"{plain(self.value)} {self.unit}".strip()
        spread = "" if self.spread is None else f"{plain(self.spread[0])} … {plain(self.spread[1])}"
        verdict = {True: "met", False: "MISSED", None: ""}[self.is_met]
        return f"{self.name:<58} {measured:>22}  {spread:<24} {self.goal():<12} {verdict:<7} {self.note}".rstrip()


@dataclass(slots=True)
class Report:
    """All figures of one run; `ratio_to_naive` compares with the published way measured in the same run."""

    bench: str
    method: str
    machine: dict[str, Any]
    figures: list[Figure] = field(default_factory=list)
    ratio_to_naive: float | None = None
    warnings: list[str] = field(default_factory=list)

    def add(self, name: str, values: Sequence[float] | float | None, unit: str = "", **more: Any) -> None:
        """Add a figure: the median of several values with their spread, or one value, or None."""
        if values is None or isinstance(values, int | float):
            self.figures.append(Figure(name, values, unit, **more))
            return
        spread = (min(values), max(values)) if len(values) > 1 else None
        self.figures.append(Figure(name, median(values), unit, spread, **more))

    def value(self, name: str) -> float | None:
        """Return the value of a figure. Raises StopIteration for a name that is not there."""
        return next(figure.value for figure in self.figures if figure.name == name)

    def text(self) -> str:
        """Return the report for people."""
        facts = " · ".join(f"{name} {value}" for name, value in self.machine.items())
        lines = [f"bench {self.bench}", "", self.method.strip(), "", facts, ""]
        lines += [f"{'figure':<58} {'median':>22}  {'spread':<24} {'goal':<12}"]
        lines += [figure.line() for figure in self.figures]
        lines += ["", *(f"WARNING: {warning}" for warning in self.warnings)]
        ratio = NOT_MEASURED if self.ratio_to_naive is None else f"{self.ratio_to_naive:.1f} ×"
        return "\n".join([*lines, f"ratio to the naive way: {ratio}"])

    def json_lines(self) -> str:
        """Return one JSON object a line: the run, each figure, and last the ratio."""
        head = {"bench": self.bench, "method": self.method, "machine": self.machine, "warnings": self.warnings}
        rows = [asdict(figure) | {"is_met": figure.is_met} for figure in self.figures]
        return "\n".join(json.dumps(row) for row in [head, *rows, {"ratio_to_naive": self.ratio_to_naive}])


def plain(value: float) -> str:
    """Write a number with as many digits as it deserves."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value == int(value) and abs(value) >= 10 else f"{value:.3g}"


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that `share` of all values (0 to 1) do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Return how many times theirs ours is, round by round: neighbours in time met the same machine."""
    return [one / other for one, other in zip(ours, theirs, strict=True)]
