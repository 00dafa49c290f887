"""How people are shown in templates."""

from __future__ import annotations

from django import template

from trading.models import initials as letters

register = template.Library()


@register.filter
def initials(name: str) -> str:
    """Return the two letters a person is shown by."""
    return letters(name) if name.strip(" ._-") else "?"
