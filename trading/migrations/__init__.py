"""How the desk's tables came to be."""

from __future__ import annotations
