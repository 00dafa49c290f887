"""What the matrix is asked in: two teams with one of everything, who asks, and what each route is given."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tests.trading.conftest import ENV, TICKER
from tests.trading.exchange import ScriptedExchange
from tests.trading.matrix import Row
from tests.trading.passkeys import Passkey
from trading.models import Account, ApiKey, DeskSession, Invitation, Membership, Order, Team

FAR_AWAY = "203.0.113.9"
NONE = "00000000-0000-4000-8000-000000000000"


@dataclass
class Side:
    """A team and one of everything that belongs to it."""

    team: Team
    account: Account
    key: ApiKey
    order: Order
    members: dict[str, Membership] = field(default_factory=dict)
    invitations: dict[str, Invitation] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)


@dataclass
class World:
    """Both teams, the cast's sessions, and the exchange."""

    own: Side
    other: Side
    sessions: dict[str, str]
    people: dict[str, User]
    exchange: ScriptedExchange

    def side(self, case: str) -> Side:
        return self.other if case == "other" else self.own

    def ask(self, who: str, row: Row) -> HttpResponse:
        client = self.proved or self.browser(who)
        path = self.path(row)
        if row.method == "GET":
            return client.get(path)  # type: ignore[return-value]
        return client.post(path, self.body(row, who), headers={"Accept": self.accepts(row)})  # type: ignore[return-value]

    def browser(self, who: str) -> Client:
        client = Client(REMOTE_ADDR=FAR_AWAY, raise_request_exception=False)
        if who in self.sessions:
            client.cookies[settings.SESSION_COOKIE_NAME] = self.sessions[who]
        return client

    def prepare(self, who: str, row: Row) -> bool:
        """Give what a row asks for and the world has not got; say whether that changed the database."""
        self.proved = None
        if row.route not in PASSKEYS or row.case == "-":
            return False
        passkey = Passkey()
        self.passkeys = {"other": Passkey(b"a colleague's").belongs_to(self.people["colleague"]).pk}
        if who in self.people:
            self.passkeys["own"] = passkey.belongs_to(self.people[who]).pk
            self.proved = self._proved(who, passkey)
        return True

    def _proved(self, who: str, passkey: Passkey) -> Client:
        """Return the browser of somebody who proved with a passkey who they are; who is not let in cannot."""
        client, address = self.browser(who), reverse("mfa_reauthenticate_webauthn")
        page = client.get(address)
        if page.status_code == 200:
            asked = page.context["js_data"]["request_options"]["publicKey"]["challenge"]
            client.post(address, {"credential": passkey.answer(asked)})
        return client

    passkeys: dict[str, int] = field(default_factory=dict)
    proved: Client | None = None

    def accepts(self, row: Row) -> str:
        return "application/json" if row.route.startswith("trading:order_") else "text/html"

    def path(self, row: Row) -> str:
        if row.route.startswith("admin:"):
            return self.admin_path(row.route.removeprefix("admin:"))
        arguments = {**self.arguments(row), **ARGUMENTS.get(row.route, {})}
        return reverse(row.route, kwargs=arguments)

    def arguments(self, row: Row) -> dict[str, Any]:
        if row.route in PASSKEYS:
            return {"pk": self.passkeys.get(row.case, 999_999)}
        name, side = row.route.partition(":")[2], self.side(row.case)
        if not row.route.startswith(("trading:", "markets:")) or name in {"about", "first_password"}:
            return {}
        if name in {"welcome", "join"}:
            return {"token": side.tokens["usual"] if row.case == "own" else "made-up"}
        found: dict[str, Any] = {"environment": "moon" if row.case == "moon" else ENV}
        if row.route in TICKERS:
            found["ticker"] = "KXNONE" if row.case == "none" else TICKER
        elif name in {"order_cancel", "order_lookback"}:
            found["pk"] = NONE if row.case == "none" else side.order.pk
        elif name in {"key_remove", "key_pause", "key_resume", "key_lend", "key_take_back"}:
            found["pk"] = NONE if row.case == "none" else side.key.pk
        elif name == "order_state":
            found["key"] = NONE if row.case == "none" else side.order.idempotency_key
        elif name in {"member_role", "member_leave", "member_resume", "member_factor", "own_limits"}:
            found["pk"] = 999_999 if row.case == "none" else self.member(row).pk
        elif name == "invitation_withdraw":
            found["pk"] = side.invitations["high" if row.case == "high" else "usual"].pk
        elif name == "session_end":
            found["pk"] = self.session(row)
        return found

    def member(self, row: Row) -> Membership:
        side = self.side(row.case)
        if row.route == "trading:member_resume":
            return side.members["paused"]
        if row.case == "admin":
            return side.members["second admin"]
        if row.case in {"self", "raise"} and self.asking in side.members:
            return side.members[self.asking]
        if row.case in {"self", "raise"} and self.asking == "stranger":
            return self.other.members["stranger"]
        return side.members["colleague"]

    def session(self, row: Row) -> object:
        if row.case == "none":
            return NONE
        name = {"own": "colleague", "other": "their colleague"}.get(row.case, self.asking)
        if name not in self.people:
            name = "colleague"
        return DeskSession.objects.filter(user=self.people[name]).values_list("pk", flat=True)[0]

    asking: str = ""

    def body(self, row: Row, who: str) -> dict[str, Any]:
        if row.route.endswith("_changelist"):
            model = row.route.removeprefix("admin:").removesuffix("_changelist")
            return {"action": "delete_selected", "_selected_action": [self.admin_objects[model]], "post": "yes"}
        make = BODIES.get(row.route)
        return make(self, row, who) if make else {}

    def admin_path(self, name: str) -> str:
        if name == "(?P<url>.*)$":
            return "/admin/no-such-page/"
        plain: dict[str, list[Any]] = {"view_on_site": [999, 999], "app_list": ["trading"]}
        model, _, view = name.rpartition("_")
        if name in plain:
            return reverse(f"admin:{name}", args=plain[name])
        if view == "redirect":
            app, _, short = model.partition("_")
            return f"/admin/{app}/{short}/{self.admin_objects[model]}/"
        if view in {"change", "delete", "history"} and model in self.admin_objects:
            return reverse(f"admin:{name}", args=[self.admin_objects[model]])
        return reverse(f"admin:{name}")

    admin_objects: dict[str, Any] = field(default_factory=dict)


TICKERS = {
    "trading:market",
    "trading:position",
    "trading:order_review",
    "trading:order_submit",
    "markets:book",
    "markets:trades",
    "markets:lookback",
}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "account_confirm_email": {"key": "abc"},
    "account_reset_password_from_key": {"uidb36": "1", "key": "abc-def"},
}
PASSKEYS = {"mfa_remove_webauthn", "mfa_edit_webauthn"}


def _ticket(world: World, row: Row, who: str) -> dict[str, Any]:
    body = {"direction": "buy-yes", "price": "48", "count": "2", "idempotency_key": str(uuid.uuid4())}
    return body | ({"team": str(world.other.team.pk)} if row.case == "other" else {})


def _role(world: World, row: Row, who: str) -> dict[str, Any]:
    handed_to = "stranger" if row.case == "other" else "owner"
    return {"role": "owner" if row.case == "high" else "viewer", "handed_to": handed_to}


def _leave(world: World, row: Row, who: str) -> dict[str, Any]:
    return {"how": "remove", "handed_to": "stranger" if row.case == "other" else "owner"}


def _invitation(world: World, row: Row, who: str) -> dict[str, Any]:
    return {"for_whom": "Carl", "role": "admin" if row.case == "high" else "trader"}


def _team_limits(world: World, row: Row, who: str) -> dict[str, Any]:
    return {
        "team-seen": "100.00;500.00;500.00;100;0.1000",
        "team-max_order_cost": "90",
        "team-max_exposure": "500",
        "team-max_position": "500",
        "team-max_orders_per_minute": "100",
        "team-price_collar": "10",
    }


def _own_limits(world: World, row: Row, who: str) -> dict[str, Any]:
    name = f"own-{world.member(row).pk}"
    cost = "60" if row.case == "raise" else "40"
    return {f"{name}-seen": "50.00;-;-", f"{name}-max_order_cost": cost}


def _evidence(world: World, row: Row, who: str) -> dict[str, Any]:
    if row.case == "day":
        return {"day": timezone.now().date().isoformat()}
    return {"order": str(world.side(row.case).order.pk)}


def _settings(world: World, row: Row, who: str) -> dict[str, Any]:
    team = world.other.team if who == "stranger" else world.own.team
    return {"name": "Renamed", "owners_trade": "on", "seen": f"{team.name};True;True;True"}


def _choose(world: World, row: Row, who: str) -> dict[str, Any]:
    return {"to": str(world.side(row.case).team.pk)}


def _join(world: World, row: Row, who: str) -> dict[str, Any]:
    return {"username": f"new-{who}", "password": "an even longer password", "again": "an even longer password"}


BODIES: dict[str, Callable[[World, Row, str], dict[str, Any]]] = {
    "trading:order_review": _ticket,
    "trading:order_submit": _ticket,
    "trading:member_role": _role,
    "trading:member_leave": _leave,
    "trading:invitation_make": _invitation,
    "trading:team_limits": _team_limits,
    "trading:own_limits": _own_limits,
    "trading:audit_evidence": _evidence,
    "trading:team_settings": _settings,
    "trading:team_choose": _choose,
    "trading:join": _join,
    "trading:key_add": lambda world, row, who: {"name": "no key at all"},
    "admin:auth_user_change": lambda world, row, who: {"is_active": "on"},
    "mfa_edit_webauthn": lambda world, row, who: {"name": "Renamed"},
}
