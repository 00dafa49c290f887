"""Migrations of the exchange's catalogue."""

from __future__ import annotations
