"""A part of the desk that needs Django: reads its modules at once, then waits until what it needs is true.

Run by the supervisor as `python -m kalshiweb.child NAME`. The wait is what makes a start quick: three
parts read their modules side by side, while one of them migrates and the exchange comes up.
"""

from __future__ import annotations

import gc
import os
import socket
import sys
import warnings

import django
from django.core.exceptions import ImproperlyConfigured

from kalshiweb import env, prepare
from kalshiweb.processes import CONTROL_FD

WORKER_OPTIONS = ("--pool", "threads", "--concurrency", "4", "--without-mingle", "--without-gossip")


class Facts:
    """The part's end of its control socket: what the whole desk knows, and what we add to it."""

    def __init__(self) -> None:
        self._control = socket.socket(fileno=int(os.environ.pop(CONTROL_FD)))
        self._control.set_inheritable(False)
        self._lines = self._control.makefile("r")
        self._known: dict[str, str] = {}

    def wait(self, *names: str) -> None:
        """Block until all are true; end the part if the supervisor has gone."""
        while not set(names) <= self._known.keys():
            line = self._lines.readline()
            if not line:
                sys.exit(0)
            name, _, value = line.strip().partition(" ")
            self._known[name] = value

    def report(self, name: str, value: str = "") -> None:
        """Tell the desk that something is true from now on."""
        self._control.sendall(f"{name} {value}\n".encode())


def web(facts: Facts) -> None:
    """Serve pages and browser sockets."""
    import daphne.cli

    prepare.collect_static()
    # Read while the database is being made, and after the files are there: its middleware looks for them once.
    import kalshiweb.asgi  # noqa: F401

    facts.wait("migrated", "valkey")
    # What exists by now stays: the collector need not walk over it between two frames.
    gc.collect()
    gc.freeze()
    daphne.cli.CommandLineInterface().run(
        [
            *("--bind", os.environ["KALSHIWEB_BIND"], "--port", os.environ["KALSHIWEB_PORT"]),
            *("--application-close-timeout", "2", "--no-server-name", "--verbosity", "0"),
            "kalshiweb.asgi:application",
        ]
    )


def feed(facts: Facts) -> None:
    """Make the database, give a first desk its people, key and markets, then read the exchange's stream."""
    prepare.migrate()
    prepare.check_doors()
    prepare.seal_second_factors()
    facts.report("migrated")
    from kalshiweb import feed_process  # noqa: F401  (read while the exchange comes up)

    facts.wait("valkey", "exchange")
    link = prepare.first_run() or ""
    prepare.first_catalogue()
    facts.report("owner", link)
    from django.core.management import call_command

    call_command("run_feed")


def worker(facts: Facts) -> None:
    """Run the tasks, and in the same process the schedule that sends them."""
    from celery.beat import EmbeddedService
    from celery.platforms import SecurityWarning

    from kalshiweb.celery import app

    # Celery fears pickled tasks run by root; only JSON is accepted here (CELERY_ACCEPT_CONTENT).
    warnings.simplefilter("ignore", SecurityWarning)
    app.loader.import_default_modules()
    facts.wait("migrated", "valkey", "exchange", "owner")
    # A thread, not Celery's -B: that forks a process which outlives a killed worker.
    EmbeddedService(app, thread=True).start()
    app.worker_main(["--quiet", "worker", "--loglevel", "WARNING", *WORKER_OPTIONS])


PARTS = {"web": web, "feed": feed, "worker": worker}
YIELDING = {"worker": 5}  # what nobody waits for gives way to pages and books, at the start above all


def main() -> None:
    """Run the part named on the command line; a start that cannot succeed says so to the supervisor."""
    facts = Facts()
    if sys.argv[1] in YIELDING:
        os.nice(YIELDING[sys.argv[1]])
    try:
        django.setup()
        PARTS[sys.argv[1]](facts)
    except (prepare.CannotPrepare, env.BadSetting, ImproperlyConfigured) as exc:
        facts.report("failed", " ".join(str(exc).split()))
        raise SystemExit(1) from None
    except prepare.NotYet as exc:
        sys.exit(str(exc))


if __name__ == "__main__":
    main()
