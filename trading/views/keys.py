"""The team's keys: what each can do, adding one after a signed trial, removing one after a question."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from trading import audit, permissions, sessions
from trading import keys as desk_keys
from trading.forms import KeyForm
from trading.keys import KeyRefused
from trading.models import Account, ApiKey
from trading.permissions import Permission
from trading.views import hints
from trading.views.doors import DeskRequest, desk_page

ABILITIES = (
    ("read", "Read markets, orders and balance", ("read",)),
    ("write::trade", "Place and cancel orders", ("write", "write::trade")),
    ("write::transfer", "Move money", ("write", "write::transfer")),
    ("write::keys", "Make and delete keys", ("write", "write::keys")),
)
# verb → the permission it needs, the call, what is said afterwards
CHANGES = {
    "pause": (Permission.REMOVE_KEY, desk_keys.pause, "is paused; nothing is signed with it"),
    "resume": (Permission.ADD_KEY, desk_keys.resume, "was tried at the exchange and is in use"),
    "lend": (Permission.LEND_FEED, desk_keys.lend_feed, "now reads the desk’s books"),
    "take-back": (Permission.LEND_FEED, desk_keys.take_back, "reads the desk’s books no longer"),
}
DANGEROUS = {"write::transfer", "write::keys"}


@require_safe
@desk_page
def keys(request: DeskRequest) -> HttpResponse:
    """Show the team's keys; never anything of their private halves."""
    permissions.get_team(request.user, Permission.SEE_KEYS)
    audit.record_once("keys.read", request.user, team=request.team, environment=request.environment)
    return render(request, "trading/keys.html", _context(request))


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
@desk_page
@sensitive_variables()
def key_add(request: DeskRequest) -> HttpResponse:
    """Try a key at the exchange and seal it; a refusal is one sentence above the form, which comes back empty."""
    permissions.get_team(request.user, Permission.ADD_KEY)
    account = permissions.get_account(request.user, request.environment, permission=Permission.ADD_KEY)
    if not sessions.is_fresh(request):  # before the form, so that nothing secret is typed in vain
        return sessions.ask_for_proof(request, back_to=request.path)
    form = KeyForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        values = form.cleaned_data
        try:
            key = desk_keys.add(
                request.user,
                account=account,
                name=values["name"],
                key_id=values["key_id"],
                pem=values["private_key"],
            )
        except KeyRefused as exc:
            form.add_error(None, str(exc))
        else:
            messages.success(request, f"{key.name} was tried at the exchange and is sealed.")
            return redirect("trading:keys", request.environment)
    context = {"form": form, "kept": _kept(form), "account": account}
    return render(request, "trading/key_add.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@desk_page
def key_remove(request: DeskRequest, pk: uuid.UUID) -> HttpResponse:
    """Ask, then destroy the sealed key."""
    key = permissions.get_key(request.user, pk, Permission.REMOVE_KEY)
    if proof := sessions.missing_proof(request, back_to=request.path):
        return proof
    if request.method == "POST":
        try:
            desk_keys.remove(request.user, key=key)
        except KeyRefused as exc:
            messages.error(request, str(exc))
        else:
            messages.success(request, f"{key.name} is removed; nothing can be signed with it any more.")
        return redirect("trading:keys", request.environment)
    return render(request, "trading/key_remove.html", {"key": key})


@require_POST
@desk_page
def key_change(request: DeskRequest, pk: uuid.UUID, verb: str) -> HttpResponse:
    """Pause a key, try and resume it, lend it to the feed or take it back; a refusal is said on the list."""
    key = permissions.get_key(request.user, pk, CHANGES[verb][0])
    if proof := sessions.missing_proof(request, back_to=reverse("trading:keys", args=[request.environment])):
        return proof
    try:
        CHANGES[verb][1](request.user, key=key)
    except KeyRefused as exc:
        messages.error(request, str(exc))
    else:
        messages.success(request, f"{key.name} {CHANGES[verb][2]}.")
    return redirect(f"{reverse('trading:keys', args=[request.environment])}?key={key.pk}")


def abilities(key: ApiKey) -> list[tuple[str, str, bool, bool]]:
    """Return what a key can do: scope, sentence, whether it can, whether that is dangerous."""
    return [
        (scope, sentence, bool(set(key.scopes) & set(grants)), scope in DANGEROUS)
        for scope, sentence, grants in ABILITIES
    ]


def verdict(key: ApiKey) -> tuple[str, str]:
    """Return how a key is to be judged: `ok` or `danger`, and the words."""
    can = {scope for scope, _, is_able, _ in abilities(key) if is_able}
    if can & DANGEROUS and key.environment == "production":
        return "danger", "Can move money" if "write::transfer" in can else "Can make keys"
    if can & DANGEROUS:
        return "ok", "All rights, play money only"
    if "write::trade" in can:
        return "ok", "Trades, cannot move money"
    return "ok", "Reads only" if "read" in can else "Not known yet"


@sensitive_variables()
def _kept(form: KeyForm) -> dict[str, str]:
    """Return what may stand in the form again: what was pasted into the wrong field may be the key."""
    checks = {"name": desk_keys.check_name, "key_id": desk_keys.check_key_id}
    return {name: _if_good(check, form.data.get(name, "")) for name, check in checks.items()}


@sensitive_variables()
def _if_good(check: Callable[[str], str], text: str) -> str:
    try:
        return check(text)
    except KeyRefused:
        return ""


def _context(request: DeskRequest) -> dict[str, Any]:
    found = ApiKey.objects.filter(account__team=request.team, environment=request.environment)
    stored = list(found.exclude(state=ApiKey.State.REMOVED).select_related("account", "added_by").order_by("pk"))
    stored.sort(key=lambda key: key.added_at)
    chosen = next((key for key in stored if str(key.pk) == request.GET.get("key")), stored[0] if stored else None)
    return {
        "keys": [(key, *verdict(key)) for key in stored],
        "chosen": chosen,
        "abilities": abilities(chosen) if chosen else [],
        "has_account": Account.objects.filter(team=request.team, environment=request.environment).exists(),
        "may_add": permissions.may(request.membership, Permission.ADD_KEY),
        "may_remove": permissions.may(request.membership, Permission.REMOVE_KEY),
        "may_lend": permissions.may(request.membership, Permission.LEND_FEED),
        "hint": hints.KEYS,
    }
