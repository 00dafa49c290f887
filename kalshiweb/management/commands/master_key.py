"""`manage.py master_key check|rotate|rewrap|retire`: the keys that wrap all stored keys and second factors.

A turn of the ring goes: `rotate` (a new key is first from now on), `rewrap` (each sealed record's own key is wrapped
by it; may be stopped and run again at any time, the desk goes on meanwhile), `retire` (keys that wrap nothing leave).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from kalshiweb import second_factor
from trading import audit
from trading.clients import binding
from trading.models import ApiKey
from trading.ring import BadRing, CannotOpen, KeyRing
from trading.vault import KeyProvider, Sealed, open_sealed, provider, rewrap


class Command(BaseCommand):
    """Looks after the ring; prints ids of master keys and counts, never a key."""

    help = "Check, rotate and retire the master keys, and wrap stored keys by the newest."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the verb."""
        parser.add_argument("verb", choices=["check", "rotate", "rewrap", "retire"])

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it; a ring that cannot be used is one sentence."""
        try:
            getattr(self, f"_{options['verb']}")(provider())
        except CannotOpen as exc:
            raise CommandError(str(exc)) from None

    def _check(self, keys: KeyProvider) -> None:
        """Open every stored key and second factor once, and say how many each master key wraps."""
        broken = [row for row in _rows() if not _opens(row)]
        people, closed = second_factor.factors(), [factor for factor in second_factor.factors() if not factor.opens()]
        for kid, count in sorted(_counts().items()):
            in_use = "in use" if keys.knows(kid) and kid == keys.current() else "old" if keys.knows(kid) else "MISSING"
            self.stdout.write(f"{kid}  {in_use:8} wraps {count}")
        for row in broken:
            self.stdout.write(f"does not open: {row.pk}  {row.name}")
        for factor in closed:
            self.stdout.write(f"does not open: {factor}")
        if broken:
            raise CommandError(f"{len(broken)} of {len(_rows())} stored keys do not open.")
        if closed:
            raise CommandError(f"{len(closed)} of {len(people)} second factors do not open.")
        self.stdout.write(f"{len(_rows())} stored keys, all open.")
        if people:
            self.stdout.write(f"{len(people)} second factors, all open.")

    def _rotate(self, keys: KeyProvider) -> None:
        """Put a new master key first."""
        self.stdout.write(f"{_ring(keys).turn()} wraps from now on. Back the ring up, then run: master_key rewrap")

    def _rewrap(self, keys: KeyProvider) -> None:
        """Wrap each stored key and second factor by the first master key, one short transaction each."""
        current, count = keys.current(), 0
        for row in _rows():
            count += row.kid != current and _rewrap(row)
        self.stdout.write(f"{count} stored keys wrapped anew by {current}.")
        sealed = second_factor.seal_all()
        old = [factor for factor in second_factor.factors() if factor.kid != current]
        if count := sealed + sum(factor.rewrap() for factor in old):
            self.stdout.write(f"{count} second factors wrapped anew.")

    def _retire(self, keys: KeyProvider) -> None:
        """Take master keys that wrap nothing out of the ring; the one in use stays."""
        ring = _ring(keys)
        gone = [kid for kid in ring.kids()[1:] if kid not in _counts()]
        for kid in gone:
            ring.retire(kid)
        left = [f"{kid} still wraps {_counts()[kid]}" for kid in ring.kids()[1:]]
        self.stdout.write("; ".join([f"{len(gone)} master keys retired", *left]) + ".")


def _rewrap(row: ApiKey) -> bool:
    """Wrap one row anew unless it changed meanwhile; say whether it was."""
    new = rewrap(_sealed(row), binding(row))
    with transaction.atomic():
        same = ApiKey.objects.filter(pk=row.pk, kid=row.kid, wrapped_key=bytes(row.wrapped_key))
        if not same.update(kid=new.kid, wrapped_key=new.wrapped_key):
            return False
        facts = {"from": row.kid, "to": new.kid}
        audit.record(
            "key.rewrapped", None, team=row.account.team, subject=row, environment=row.environment, facts=facts
        )
    return True


def _opens(row: ApiKey) -> bool:
    try:
        open_sealed(_sealed(row), binding(row))
    except CannotOpen:
        return False
    return True


def _rows() -> list[ApiKey]:
    return list(ApiKey.objects.select_related("account__team").exclude(kid="").order_by("added_at"))


def _counts() -> Counter[str]:
    return Counter(ApiKey.objects.exclude(kid="").values_list("kid", flat=True)) + second_factor.kids()


def _sealed(row: ApiKey) -> Sealed:
    return Sealed(row.version, row.kid, bytes(row.wrapped_key), bytes(row.ciphertext))


def _ring(keys: KeyProvider) -> KeyRing:
    if not isinstance(keys, KeyRing):
        raise BadRing("The master keys are held by a service: turn them there.")
    return keys
