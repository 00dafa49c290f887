"""The record: who did what, filtered by the address; whether it holds; evidence out of it."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time
from typing import Any

from django.contrib import messages
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from trading import audit as record
from trading import checkpoints, evidence, origin, permissions
from trading.checkpoints import CheckpointRefused
from trading.evidence import EvidenceRefused
from trading.models import Archive, AuditEntry, Team
from trading.permissions import Permission
from trading.views.doors import DeskRequest, desk_page, page_query

ROWS = 100
VERDICT_KEPT_SECONDS = 24 * 3600
ASKED = ("who", "action", "subject", "from", "to", "text")


@require_safe
@desk_page
def audit(request: DeskRequest) -> HttpResponse:
    """Show the entries that the address asks for, the newest first; traders see their own."""
    permissions.require(request.user, request.team, Permission.SEE_OWN_AUDIT)
    sees_all = permissions.may(request.membership, Permission.SEE_AUDIT)
    asked = {name: request.GET.get(name, "").strip()[:200] for name in ASKED}
    found = matching(request.team, asked)
    if sees_all:
        record.record_once("audit.read", request.user, team=request.team)
    else:
        found = found.filter(actor=request.user)
    page = Paginator(found, ROWS).get_page(request.GET.get("page"))
    context = {
        "page": page,
        "rows": [
            (entry, record.sentence(entry), _facts(entry, with_origin=any(asked.values())))
            for entry in page.object_list
        ],
        "asked": asked,
        "is_filtered": any(asked.values()),
        "sees_all": sees_all,
        "archives": Archive.objects.of(request.team) if sees_all else [],
        "elsewhere": elsewhere(request.team, asked),
        "people": _people(request.team) if sees_all else [],
        "actions": sorted(record.SENTENCES.items(), key=lambda pair: pair[1]),
        "verdict": cache.get(_verdict_key(request.team)) if sees_all else None,
        "fingerprint": _fingerprint() if sees_all else "",
        "may_take": sees_all and permissions.may(request.membership, Permission.EXPORT_HISTORY),
        "next_query": page_query(request.GET, page.number + 1),
        "previous_query": page_query(request.GET, page.number - 1),
    }
    return render(request, "trading/audit.html", context)


@require_POST
@desk_page
def audit_verify(request: DeskRequest) -> HttpResponse:
    """Check the team's whole record now, sign what is new, and show what was found."""
    permissions.require(request.user, request.team, Permission.SEE_AUDIT)
    found: dict[str, Any] = {"at": datetime.now(UTC), "is_whole": False, "entries": 0, "number": None}
    try:
        verdict = checkpoints.verify(request.team)
        if verdict.is_whole:
            checkpoints.make(request.team)
        found |= {"is_whole": verdict.is_whole, "entries": verdict.entries, "archived": verdict.archived}
        found |= {"number": verdict.number, "why": verdict.why}
    except CheckpointRefused as exc:
        found["why"] = str(exc)
    cache.set(_verdict_key(request.team), found, VERDICT_KEPT_SECONDS)
    return redirect("trading:audit", request.environment)


@require_POST
@desk_page
def audit_evidence(request: DeskRequest) -> HttpResponse:
    """Hand out the package of one order or one day (UTC)."""
    permissions.require(request.user, request.team, Permission.SEE_AUDIT)
    wanted = request.POST.get("order", "").strip()
    try:
        if wanted:
            order = permissions.get_order(request.user, wanted, Permission.EXPORT_HISTORY)
            content, name = evidence.of_order(request.user, order=order), f"order-{order.pk}"
        else:
            day = date.fromisoformat(request.POST.get("day", ""))
            content, name = evidence.of_day(request.user, team=request.team, day=day), f"day-{day}"
    except (EvidenceRefused, CheckpointRefused) as exc:
        messages.error(request, str(exc))
    except (ValueError, ValidationError):
        messages.error(request, "Name an order by its id, or choose a day.")
    else:
        headers = {"Content-Disposition": f'attachment; filename="evidence-{name}.zip"'}
        return HttpResponse(content, content_type="application/zip", headers=headers)
    return redirect("trading:audit", request.environment)


def matching(team: Team, asked: dict[str, str]) -> QuerySet[AuditEntry]:
    """Return a team's entries that fit the filters, the newest first; days are UTC."""
    found = AuditEntry.objects.filter(team=team).order_by("-number")
    if asked["who"]:
        found = found.filter(actor_name="" if asked["who"] == "desk" else asked["who"])
    if asked["action"]:
        found = found.filter(action=asked["action"])
    if asked["subject"]:
        found = found.filter(Q(subject=asked["subject"]) | Q(subject__endswith=f":{asked['subject']}"))
    if since := _day(asked["from"]):
        found = found.filter(at__gte=since)
    if until := _day(asked["to"], time.max):
        found = found.filter(at__lte=until)
    if asked["text"]:
        found = found.filter(Q(facts__icontains=asked["text"]) | Q(actor_name__icontains=asked["text"]))
    return found


def elsewhere(team: Team, asked: dict[str, str]) -> str:
    """Return which rows of the days asked for are in archives, for a person; empty where none is."""
    found = Archive.objects.of(team)
    if since := _day(asked["from"]):
        found = found.filter(until__gte=since)
    if until := _day(asked["to"], time.max):
        found = found.filter(since__lte=until)
    archives = list(found)
    if not archives:
        return ""
    files = f"the archive {archives[-1].file}"
    if len(archives) > 1:
        files = f"{len(archives)} archives, {archives[0].file} to {archives[-1].file}"
    return f"Rows {archives[0].first}–{archives[-1].through} are in {files}, and are not searched here."


def _day(text: str, at: time = time.min) -> datetime | None:
    """Return the beginning of a day, or its last microsecond: the calendar's last day has no next one to add."""
    try:
        return datetime.combine(date.fromisoformat(text), at, UTC)
    except ValueError:
        return None


def _facts(entry: AuditEntry, *, with_origin: bool) -> str:
    """Return what an entry knows, for a line of the table; of limits and settings what changed.

    Where a request came from is said to those who look for something: it would be the same in line after line.
    """
    facts = dict(entry.facts)
    came = facts.pop(origin.KEY, {})
    before, after = facts.get("from"), facts.get("to")
    if isinstance(before, dict) and isinstance(after, dict):
        del facts["from"], facts["to"]
        changed = [name for name in after if after[name] != before.get(name)]
        facts |= {name: {"from": before.get(name), "to": after[name]} for name in changed}
    if with_origin:
        facts |= came
    shown = [(name.replace("_", " "), _words(value)) for name, value in facts.items()]
    return " · ".join(f"{name}: {words}" for name, words in shown if words)


def _words(value: Any) -> str:
    if isinstance(value, dict) and set(value) == {"from", "to"}:
        return f"{_words(value['from']) or '–'} → {_words(value['to']) or '–'}"
    if isinstance(value, list):
        return ", ".join(map(_words, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _people(team: Team) -> list[str]:
    names = AuditEntry.objects.filter(team=team).exclude(actor_name="").values_list("actor_name", flat=True)
    return sorted(set(names.distinct()))


def _fingerprint() -> str:
    """Return the signing key's fingerprint, or in its place why there is none: the record is shown all the same."""
    try:
        return checkpoints.fingerprint()
    except CheckpointRefused as exc:
        return str(exc)


def _verdict_key(team: Team) -> str:
    return f"audit:{team.pk}:verdict"
