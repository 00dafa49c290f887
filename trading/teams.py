"""What the writers of a team share: its row is locked before any other, and what a person does is told to each team.

Each entry of a record locks the row of its team until the transaction ends. Whoever takes that lock first, before the
rows that are changed, and several of them in one order, never waits for somebody who waits for them.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from django.db import transaction

from trading import audit
from trading.models import Membership, Team

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser


def locked(team: Team) -> Team:
    """Return the team's row as it stands now, held until the caller's transaction ends."""
    return Team.objects.select_for_update(no_key=True).get(pk=team.pk)


def lock_all(team_ids: Iterable[uuid.UUID]) -> list[Team]:
    """Return the rows of several teams, held until the caller's transaction ends; always taken in the same order."""
    return list(Team.objects.select_for_update(no_key=True).filter(pk__in=set(team_ids)).order_by("pk"))


def lock_all_of(person: AbstractBaseUser, *, with_former: bool = False) -> list[Team]:
    """Return the rows of the teams that a person is in, or `with_former` ever was in, held as `lock_all` does."""
    theirs = Membership.objects.filter(user_id=person.pk)
    if not with_former:
        theirs = theirs.filter(is_active=True)
    return lock_all(theirs.values_list("team_id", flat=True))


def record_in_each(
    action: str, actor: AbstractBaseUser | None, *, person: AbstractBaseUser, facts: Mapping[str, Any]
) -> None:
    """Write an entry to the record of each team that a person is in, in one transaction."""
    with transaction.atomic():
        for team in lock_all_of(person):
            audit.record(action, actor, team=team, facts=facts)
