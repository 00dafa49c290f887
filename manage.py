#!/usr/bin/env python
"""Django's entry to everything this desk can do from a shell."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the management command named on the command line."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kalshiweb.settings")
    if sys.argv[1:2] == ["serve"]:
        # The supervisor needs no Django of its own: it is up before its parts have read their modules.
        from kalshiweb.serve import main as serve

        sys.exit(serve(sys.argv[2:]))
    if sys.argv[1:2] == ["run_sandbox"]:
        from markets.sandbox.command import main as run_sandbox

        sys.exit(run_sandbox(sys.argv[2:]))
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
