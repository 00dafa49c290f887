"""Keys of the desk, by theme: adding, wrong files, what is left of them, and what is done with stored ones."""

from __future__ import annotations
