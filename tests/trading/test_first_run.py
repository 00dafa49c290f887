"""The first run gives a desk its people and its own key, and may be killed at any step."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from tests.trading import keyexchange
from tests.trading.keyexchange import KeyExchange, MadeKey
from trading import clients, keys, setup
from trading.models import Account, ApiKey, AuditEntry, LogInLink, Membership, RiskLimit, Team

pytestmark = pytest.mark.django_db


@pytest.fixture
def exchange(settings: Any, tmp_path: Path) -> Iterator[KeyExchange]:
    """Run an exchange that knows keys."""
    settings.KALSHIWEB_DATA_DIR = tmp_path
    with keyexchange.running(settings) as found:
        yield found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return where the local exchange leaves its credentials."""
    return tmp_path / "credentials"


@pytest.fixture
def first(exchange: KeyExchange, folder: Path) -> MadeKey:
    """Return the desk's first key, as the exchange has written it down."""
    return exchange.write_credentials(folder)


def run(folder: Path) -> str | None:
    """Run it once."""
    return setup.first_run(environment="sandbox", credentials_dir=folder)


def the_desks_key() -> ApiKey:
    """Return the one key that is in use."""
    return ApiKey.objects.get(state=ApiKey.State.ACTIVE)


def assert_complete(exchange: KeyExchange, folder: Path) -> None:
    """See one working key, lent to the feed, and nothing left of any other."""
    key = the_desks_key()
    assert list(exchange.keys) == [key.key_id]
    assert key.is_feed
    assert key.can_trade
    assert not (folder / "desk.pem").exists()
    with clients.rest_client(key, purpose="trade") as client:
        assert client.balance().cents == 1000


def test_a_new_desk_gets_a_team_an_owner_limits_and_a_key_of_its_own(
    exchange: KeyExchange, first: MadeKey, folder: Path
) -> None:
    link = run(folder)

    assert link is not None
    assert link.startswith("/welcome/")
    member = Membership.objects.get()
    assert (member.team.name, member.user.username, member.role) == ("My desk", "owner", "owner")
    assert not member.user.has_usable_password()
    limits = RiskLimit.objects.get()
    assert (limits.max_order_cost, limits.max_orders_per_minute) == (Decimal("1000.00"), 60)
    assert Account.objects.get().environment == "sandbox"
    assert the_desks_key().key_id != first.key_id
    assert_complete(exchange, folder)


def test_everything_it_does_is_on_record(exchange: KeyExchange, first: MadeKey, folder: Path) -> None:
    run(folder)

    assert list(AuditEntry.objects.order_by("pk").values_list("action", flat=True)) == [
        "team.created",
        "member.added",
        "account.added",
        "limits.changed",
        "key.generated",
        "key.probed",
        "key.lent",
        "login.link_made",
    ]


def test_a_second_run_changes_nothing_and_makes_a_new_link_while_nobody_has_come(
    exchange: KeyExchange, first: MadeKey, folder: Path
) -> None:
    link = run(folder)
    key = the_desks_key()

    again = run(folder)

    assert again not in (None, link)
    assert the_desks_key() == key
    assert (Team.objects.count(), User.objects.count(), LogInLink.objects.count()) == (1, 1, 1)
    assert_complete(exchange, folder)


def test_there_is_no_link_once_somebody_has_logged_in(
    exchange: KeyExchange, first: MadeKey, folder: Path, django_user_model: type[User]
) -> None:
    run(folder)
    owner = User.objects.get()
    owner.last_login = owner.date_joined
    owner.save(update_fields=["last_login"])

    assert run(folder) is None


def test_another_environment_is_not_touched(folder: Path, exchange: KeyExchange, first: MadeKey) -> None:
    assert setup.first_run(environment="demo", credentials_dir=folder) is None

    assert not Team.objects.exists()
    assert (folder / "desk.pem").exists()


def test_a_desk_that_was_set_up_otherwise_is_left_alone(exchange: KeyExchange, first: MadeKey, folder: Path) -> None:
    setup.create_team("Alice's desk", owner="alice", environment="sandbox")

    assert run(folder) is None
    assert exchange.heard == []


KILLED = [
    (keys, "_keep_generated"),
    (keys, "check"),
    (keys, "_delete_there"),
    (setup, "_lend"),
    (setup, "_forget"),
    (setup, "make_link"),
]


@pytest.mark.parametrize(("module", "step"), KILLED, ids=[step for _, step in KILLED])
def test_a_run_that_is_killed_before_a_step_is_completed_by_the_next(
    exchange: KeyExchange,
    first: MadeKey,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    step: str,
) -> None:
    def killed(*args: Any, **kwargs: Any) -> None:
        raise SystemExit("killed")

    with monkeypatch.context() as patch:
        patch.setattr(module, step, killed)
        with pytest.raises(SystemExit):
            run(folder)

    assert run(folder) is not None
    assert_complete(exchange, folder)


def test_a_lost_answer_to_the_generation_is_repaired_by_the_next_run(
    exchange: KeyExchange, first: MadeKey, folder: Path
) -> None:
    exchange.silent.add("POST /api_keys/generate")
    with pytest.raises(keys.KeyRefused, match="No answer came"):
        run(folder)
    exchange.silent.clear()

    run(folder)

    assert_complete(exchange, folder)


def test_an_exchange_that_was_reset_is_met_with_its_new_credentials(
    exchange: KeyExchange, first: MadeKey, folder: Path
) -> None:
    run(folder)
    old = the_desks_key()
    exchange.keys.clear()
    exchange.write_credentials(folder)

    run(folder)

    assert ApiKey.objects.get(pk=old.pk).state == ApiKey.State.REFUSED
    assert_complete(exchange, folder)


def test_an_exchange_that_is_away_costs_the_desk_nothing(exchange: KeyExchange, first: MadeKey, folder: Path) -> None:
    run(folder)
    exchange.answers["GET /account/limits"] = (503, None)

    run(folder)

    exchange.answers.clear()
    assert_complete(exchange, folder)


def test_a_first_key_stays_until_the_exchange_has_accepted_the_desks_own(
    exchange: KeyExchange, first: MadeKey, folder: Path
) -> None:
    exchange.answers["GET /account/limits"] = (429, {})
    with pytest.raises(keys.KeyRefused, match="gave no answer about the key that it made: the first key stays"):
        run(folder)
    made = ApiKey.objects.get()
    with pytest.raises(keys.KeyRefused, match="the next start tries it again"):
        run(folder)

    assert made.state == ApiKey.State.UNCHECKED
    assert ApiKey.objects.get() == made
    assert set(exchange.keys) == {first.key_id, made.key_id}
    assert (folder / "desk.pem").exists()

    exchange.answers.clear()
    run(folder)

    assert the_desks_key() == made
    assert_complete(exchange, folder)


def test_new_credentials_are_not_used_up_for_a_key_that_was_not_tried_now(
    exchange: KeyExchange, first: MadeKey, folder: Path
) -> None:
    run(folder)
    second = exchange.write_credentials(folder)
    exchange.answers["GET /account/limits"] = (503, None)

    run(folder)

    assert second.key_id in exchange.keys
    assert (folder / "desk.pem").exists()


def test_a_desk_that_was_renamed_and_has_another_owner_goes_on(
    exchange: KeyExchange, first: MadeKey, folder: Path
) -> None:
    run(folder)
    team = Team.objects.get()
    alice = User.objects.create_user("alice")
    Membership.objects.create(team=team, user=alice, role=Membership.Role.OWNER)
    Membership.objects.filter(user__username="owner").update(role=Membership.Role.TRADER)
    Team.objects.update(name="North desk")

    assert run(folder) is not None

    roles = Membership.objects.order_by("pk").values_list("user__username", "role")
    assert list(roles) == [("owner", "trader"), ("alice", "owner")]
    assert LogInLink.objects.latest("created_at").user == alice


def test_a_key_that_its_owner_has_paused_is_not_replaced(exchange: KeyExchange, first: MadeKey, folder: Path) -> None:
    run(folder)
    key = the_desks_key()
    keys.pause(key.added_by, key=key)
    exchange.write_credentials(folder)

    run(folder)

    assert ApiKey.objects.get().state == ApiKey.State.PAUSED


def test_without_credentials_the_desk_starts_without_a_key(exchange: KeyExchange, folder: Path) -> None:
    assert run(folder) is not None

    assert not ApiKey.objects.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"key_id": 1}', '{"key_id": "x", "private_key_file": "."}'])
def test_credentials_that_cannot_be_read_are_none(exchange: KeyExchange, folder: Path, text: str) -> None:
    folder.mkdir()
    (folder / "desk.json").write_text(text)

    assert run(folder) is not None
    assert not ApiKey.objects.exists()


def test_a_team_of_the_command_may_risk_nothing_until_its_owner_says_so(db: None) -> None:
    desk = setup.create_team("North desk", owner="nora", environment="demo")

    limits = RiskLimit.objects.get(team=desk.team, environment="demo")
    assert (limits.max_order_cost, limits.max_orders_per_minute) == (Decimal(0), 0)
    assert setup.create_team("North desk", owner="nora", environment="demo") == desk


@pytest.mark.parametrize("name", ["North & desk", "north desk", "North-Desk"])
def test_a_team_is_not_taken_for_another_with_the_same_short_name(db: None, name: str) -> None:
    setup.create_team("North desk", owner="nora", environment="demo")

    with pytest.raises(setup.TeamRefused, match="“North desk” goes by the short name north-desk already"):
        setup.create_team(name, owner="mallory", environment="demo")

    assert Membership.objects.count() == Team.objects.count() == 1
    assert not User.objects.filter(username="mallory").exists()


@pytest.mark.parametrize("role", [None, "trader", "viewer"])
def test_nobody_becomes_an_owner_by_having_a_team_made_once_more(db: None, role: str | None) -> None:
    desk = setup.create_team("North desk", owner="nora", environment="demo")
    if role is not None:
        Membership.objects.create(team=desk.team, user=User.objects.create_user("mallory"), role=role)
    before = list(Membership.objects.values_list("user__username", "role"))

    with pytest.raises(setup.TeamRefused, match="mallory is no owner of it"):
        setup.create_team("North desk", owner="mallory", environment="demo")

    assert list(Membership.objects.values_list("user__username", "role")) == before
    assert AuditEntry.objects.filter(action="member.added").count() == 1
