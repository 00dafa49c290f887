"""A web process of its own with a team that has much to tell, under the real Daphne.

Run as `python -m tests.trading.deskprocess` with the environment of `kalshiweb.bench.desk.child_env`; it is asked over
its pipes.
"""

from __future__ import annotations

import threading

import daphne.server  # noqa: F401  (the reactor it installs must be the first)
import django

from kalshiweb.bench.children import Answer, obey
from kalshiweb.bench.machine import rss_bytes
from kalshiweb.bench.web import log_ins, serve_with_daphne

NUMBERS = 500  # as far back as the desk tells


def populate() -> str:
    """Make a team with one order that changed all the time; return the cookie of somebody in it."""
    from django.contrib.auth.models import User

    from tests.trading.test_models import an_order
    from trading.models import Account, DeskEvent, Membership, Team

    (cookie,) = log_ins(1)
    team = Team.objects.create(name="North desk", slug="north-desk", number=NUMBERS)
    Membership.objects.create(team=team, user=User.objects.get(), role="trader")
    order = an_order(Account.objects.create(environment="sandbox", team=team, name="Main"))
    DeskEvent.objects.bulk_create(
        DeskEvent(team=team, number=number, environment="sandbox", kind="order", subject=str(order.pk))
        for number in range(1, NUMBERS + 1)
    )
    return cookie


def main() -> None:
    """Make the scratch database and serve."""
    django.setup()
    from django.core.management import call_command

    from kalshiweb.asgi import application

    call_command("migrate", verbosity=0)
    cookie = populate()

    def listen(port: int) -> None:
        served: Answer = {"port": port, "cookie": cookie}
        obey({"serve": lambda: served, "memory": lambda: {"bytes": rss_bytes()}})

    serve_with_daphne(
        application, lambda loop, port: threading.Thread(target=listen, args=(port,), daemon=True).start()
    )


if __name__ == "__main__":
    main()
