"""The desk's pages and the calls they make; one file per noun. A view is: door, form, one call, answer."""

from __future__ import annotations
