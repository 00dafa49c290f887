"""Which log-ins behind open sockets no longer stand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from markets.sessions import LogIn, ended

pytestmark = pytest.mark.django_db


def log_in(name: str) -> tuple[User, LogIn]:
    user, _ = User.objects.get_or_create(username=name)
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return user, LogIn(str(client.session.session_key), user.pk)


def test_a_log_in_that_stands_is_not_ended() -> None:
    _, alice = log_in("alice")

    assert ended([alice]) == set()


def test_nobody_asks_for_nothing() -> None:
    assert ended([]) == set()


def log_out(user: User) -> None:
    Session.objects.all().delete()


def lock_out(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def change_password(user: User) -> None:
    user.set_password("another long password")
    user.save()


def go(user: User) -> None:
    user.delete()


def expire(user: User) -> None:
    Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))


@pytest.mark.parametrize("happens", [log_out, lock_out, change_password, go, expire])
def test_what_ends_a_log_in(happens: Callable[[User], None]) -> None:
    user, alice = log_in("alice")
    happens(user)

    assert ended([alice]) == {alice}


def test_a_session_in_which_somebody_else_has_logged_in_is_over_for_the_first() -> None:
    _, alice = log_in("alice")
    _, bob = log_in("bob")

    assert ended([LogIn(bob.session_key, alice.user_id), bob]) == {LogIn(bob.session_key, alice.user_id)}


def test_the_number_of_log_ins_costs_no_more_questions() -> None:
    many = [log_in(name)[1] for name in ("alice", "bob", "vera")] * 10

    with CaptureQueriesContext(connection) as queries:
        assert ended(many) == set()

    assert len(queries) == 2
