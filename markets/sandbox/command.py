"""`manage.py run_sandbox`: the local exchange as a process of its own. Imports no Django, so that it is up at once."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

DEFAULT_PORT = 8790
HELP = "Run the local exchange: REST, stream and its control on one port of loopback."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe what it can be asked to be."""
    from markets.sandbox.limits import TIERS
    from markets.sandbox.listing import DEFAULT_MARKETS

    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="port on loopback; 0 takes a free one")
    parser.add_argument("--credentials", type=Path, metavar="DIR", help="folder for each member's first key")
    parser.add_argument("--state", type=Path, metavar="FILE", help="what survives a restart (SQLite)")
    parser.add_argument("--tape", type=Path, action="append", default=[], metavar="FILE", help="recording to replay")
    parser.add_argument("--speed", type=float, default=1.0, help="how fast recordings run; 1 is as recorded")
    parser.add_argument("--loop", action="store_true", help="start recordings again at their end")
    parser.add_argument("--seed", type=int, default=0, help="seed of the makers and of every id")
    parser.add_argument("--markets", type=int, default=DEFAULT_MARKETS, help="how many markets are listed")
    parser.add_argument("--tier", choices=sorted(TIERS), default="basic", help="usage level of every account")
    parser.add_argument("--no-makers", action="store_true", help="leave the books to the members")


def main(arguments: Sequence[str]) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code."""
    parser = argparse.ArgumentParser(prog="manage.py run_sandbox", description=HELP)
    add_arguments(parser)
    logging.basicConfig(level=logging.WARNING)
    return serve(parser.parse_args(arguments))


def serve(options: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; what is refused is said in one line. Return the exit code."""
    from markets.sandbox.keeping import BadState
    from markets.sandbox.server import PortTaken
    from markets.sandbox.tape import BadTape

    if options.speed <= 0:
        return _refuse("--speed must be above 0.")
    try:
        _run(options)
    except (PortTaken, BadTape, BadState, OSError) as exc:
        return _refuse(str(exc))
    return 0


def _run(options: argparse.Namespace) -> None:
    from markets.sandbox.running import Options, Sandbox
    from markets.sandbox.server import Application, Server, run

    sandbox = Sandbox(
        Options(
            seed=options.seed,
            markets=options.markets,
            tapes=tuple(options.tape),
            speed=options.speed,
            loop=options.loop,
            credentials=options.credentials,
            state=options.state,
            tier=options.tier,
            has_makers=not options.no_makers,
        )
    )

    def make() -> tuple[Application, Callable[[], None]]:
        sandbox.begin()
        return sandbox.application, sandbox.end

    def ready(server: Server, port: int) -> None:
        sandbox.open_doors(server)
        sandbox.write_credentials(port)
        sys.stdout.write(f"The local exchange serves at http://127.0.0.1:{port}/trade-api/v2\n")
        sys.stdout.flush()

    run(make, options.port, ready=ready)


def _refuse(sentence: str) -> int:
    sys.stderr.write(f"{sentence}\n")
    return 1
