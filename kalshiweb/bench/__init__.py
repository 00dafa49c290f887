"""Benchmarks of the paths that must be quick: `python manage.py bench NAME`. One module per bench; its docstring is its
method. The rest of the package measures, plays the exchange, and plays the browsers, each in a process of its own.
"""

from __future__ import annotations
