"""Filters of the desk's own templates."""

from __future__ import annotations
