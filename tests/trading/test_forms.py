"""Numbers as people write them: exactly what was meant, or a refusal in one sentence."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError

from trading.forms import NumberField

COMMA = "A comma only groups thousands, as in 1,000: write decimals with a point, as in 2.5."
OTHER = "A quantity is a number."


@pytest.fixture
def field() -> NumberField:
    """Return a field with a sentence of its own."""
    return NumberField(sentence=OTHER)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("57.5", "57.5"),
        ("57.5¢", "57.5"),
        (" 10 ", "10"),
        (".5", "0.5"),
        ("1000", "1000"),
        ("1,000", "1000"),
        ("12,000.25", "12000.25"),
        ("1,234,567", "1234567"),
    ],
)
def test_a_number_is_read_as_it_was_written(field: NumberField, text: str, number: str) -> None:
    assert field.to_python(text) == Decimal(number)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("2,5", COMMA),
        ("0,48", COMMA),
        ("57,5", COMMA),
        ("1,,0", COMMA),
        ("1,0000", COMMA),
        ("1000,000", COMMA),
        (",500", COMMA),
        ("1,000,", COMMA),
        ("1.5,000", COMMA),
        ("ten", OTHER),
        ("-5", OTHER),
        ("1e3", OTHER),
        ("١٠", OTHER),
    ],
)
def test_what_could_mean_something_else_is_refused(field: NumberField, text: str, sentence: str) -> None:
    with pytest.raises(ValidationError) as refused:
        field.to_python(text)

    assert refused.value.messages == [sentence]


def test_nothing_is_no_number(field: NumberField) -> None:
    assert field.to_python("  ") is None
