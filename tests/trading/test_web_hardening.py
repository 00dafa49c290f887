"""What every answer carries, what every form asks for, and what exchange and strangers cannot put into a page."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django import forms
from django.conf import settings
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.template.loader import render_to_string
from django.test import Client
from django.urls import path
from django.utils import timezone
from django.utils.safestring import mark_safe

from kalshiweb import urls
from markets.models import Event, Market, Series
from tests.trading.conftest import ENV, TICKER, member
from tests.trading.test_models import an_order
from trading import audit
from trading.models import Account, ApiKey, Membership, Order, Team

ROOT = Path(__file__).resolve().parent.parent.parent
PASSWORD = "a long enough password"
PAGES = [
    "",
    "markets/",
    f"markets/{TICKER}/",
    f"markets/{TICKER}/position.json",
    "orders/",
    "orders.json",
    "keys/",
    "keys/add/",
    "catalogue/",
    "catalogue/progress/",
    "search/?q=rain",
    "team/",
    "limits/",
    "sessions/",
    "audit/",
]
OPEN_PAGES = ["/accounts/login/", "/about/", "/accounts/password/reset/", "/accounts/signup/"]
HOSTILE = """<script>alert(1)</script><img src=x onerror=alert(2)>"'{{7*7}}"""


@pytest.fixture
def browser(alice: User, account: Account, api_key: ApiKey, market: Market) -> Client:
    """Alice's browser, just logged in."""
    browser = Client()
    browser.post("/accounts/login/", {"login": "alice", "password": PASSWORD})
    return browser


# --- headers and cookies -----------------------------------------------------------------------------------------


def check_headers(answer: Any) -> None:
    policy = answer.headers["Content-Security-Policy"]
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";") if part.strip())
    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == "'self'"
    assert directives["style-src"] == "'self'"
    for closed in ("object-src", "base-uri", "frame-ancestors"):
        assert directives[closed] == "'none'"
    assert "unsafe" not in policy
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"


@pytest.mark.parametrize("page", PAGES)
def test_every_page_carries_the_headers_and_is_kept_by_nobody(browser: Client, page: str) -> None:
    answer = browser.get(f"/x/sandbox/{page}")

    assert answer.status_code == 200
    check_headers(answer)
    assert "no-store" in answer.headers["Cache-Control"]
    assert "private" in answer.headers["Cache-Control"]


@pytest.mark.django_db
@pytest.mark.parametrize("page", [*OPEN_PAGES, "/x/sandbox/", "/no-such-page", "/join/no-such-token", "/admin/"])
def test_what_a_stranger_gets_carries_them_too(page: str) -> None:
    check_headers(Client().get(page))


def test_cookies_are_out_of_reach_of_scripts_and_of_other_sites(browser: Client) -> None:
    session = browser.cookies[settings.SESSION_COOKIE_NAME]

    assert session["httponly"]
    assert session["samesite"] == "Lax"


def with_https(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run manage.py as a desk behind HTTPS does."""
    data = {"KALSHIWEB_HTTPS": "1", "KALSHIWEB_HOSTS": "desk.example", "KALSHIWEB_BEHIND_PROXY": "1", **more}
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    return subprocess.run(
        [sys.executable, "-W", "ignore", "manage.py", *arguments],
        cwd=ROOT,
        env={**environment, **data},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_deployment_check_finds_nothing_behind_https(tmp_path: Path) -> None:
    run = with_https("check", "--deploy", "--fail-level", "WARNING", KALSHIWEB_DATA_DIR=str(tmp_path))

    assert run.returncode == 0, run.stderr
    assert "no issues" in run.stdout


def test_behind_https_cookies_are_bound_to_the_host(tmp_path: Path) -> None:
    code = (
        "from django.conf import settings as s; print(s.SESSION_COOKIE_NAME, s.CSRF_COOKIE_NAME, "
        "s.SESSION_COOKIE_SECURE, s.CSRF_COOKIE_SECURE, s.SECURE_SSL_REDIRECT, s.SECURE_HSTS_SECONDS >= 31536000)"
    )

    run = with_https("shell", "-v0", "-c", code, KALSHIWEB_DATA_DIR=str(tmp_path))

    assert run.stdout.split()[-6:] == ["__Host-session", "__Host-csrf", "True", "True", "True", "True"]


# --- forms -------------------------------------------------------------------------------------------------------


POSTS = [
    f"markets/{TICKER}/review/",
    f"markets/{TICKER}/orders/",
    "orders/ORDER/cancel/",
    "keys/add/",
    "keys/KEY/remove/",
    "keys/KEY/pause/",
    "team/settings/",
    "team/choose/",
    "team/members/MEMBER/role/",
    "team/members/MEMBER/leave/",
    "team/members/MEMBER/resume/",
    "team/invitations/",
    "limits/team/",
    "limits/members/MEMBER/",
    "audit/verify/",
    "audit/evidence/",
]


@pytest.mark.parametrize("page", POSTS)
def test_no_form_is_taken_without_its_token(
    alice: User, bob: User, account: Account, api_key: ApiKey, page: str
) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(alice)
    order = an_order(account, placed_by=alice)
    names = {"ORDER": order.pk, "KEY": api_key.pk, "MEMBER": Membership.objects.get(user=bob).pk}
    for name, pk in names.items():
        page = page.replace(name, str(pk))

    assert browser.post(f"/x/sandbox/{page}").status_code == 403
    assert (Order.objects.get().state, ApiKey.objects.get().state) == ("resting", "active")


@pytest.mark.django_db
@pytest.mark.parametrize("page", ["/accounts/login/", "/accounts/logout/", "/join/x", "/welcome/x"])
def test_nor_one_of_an_account(page: str) -> None:
    assert Client(enforce_csrf_checks=True).post(page).status_code == 403


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example/", "javascript:alert(1)"])
def test_nobody_is_sent_to_another_site(alice: User, target: str) -> None:
    answer = Client().post("/accounts/login/", {"login": "alice", "password": PASSWORD, "next": target})

    assert answer.headers["Location"] == "/"


def test_what_a_form_does_not_ask_for_is_not_taken(team: Team, other_team: Team, alice: User, bob: User) -> None:
    browser = Client()
    browser.post("/accounts/login/", {"login": "alice", "password": PASSWORD})
    membership = Membership.objects.get(user=bob)
    more = {"role": "viewer", "team": str(other_team.pk), "user": alice.pk, "is_active": "", "max_order_cost": "9"}

    answer = browser.post(f"/x/sandbox/team/members/{membership.pk}/role/", more)

    membership.refresh_from_db()
    assert answer.status_code == 302
    assert (membership.team, membership.user, membership.role) == (team, bob, "viewer")
    assert (membership.is_active, membership.max_order_cost) == (True, None)


# --- size --------------------------------------------------------------------------------------------------------


def test_a_file_larger_than_any_key_is_refused(browser: Client) -> None:
    answer = browser.post("/x/sandbox/keys/add/", {"name": "n", "key_id": "k", "pem_file": io.BytesIO(b"x" * 40_000)})

    assert answer.status_code == 422
    assert b"too large" in answer.content


def test_a_body_larger_than_any_form_is_refused(browser: Client) -> None:
    assert browser.post("/x/sandbox/keys/add/", {"pem": "x" * 300_000}).status_code == 400


def test_more_fields_than_any_form_has_are_refused(browser: Client) -> None:
    fields = {f"field{number}": "" for number in range(1_100)}

    assert browser.post("/x/sandbox/team/invitations/", fields).status_code == 400


# --- what goes wrong ---------------------------------------------------------------------------------------------


def broken(request: object) -> HttpResponse:
    """Fail with something that nobody should read."""
    raise RuntimeError("password=hunter2 in /srv/kalshiweb/trading/keys.py")


def test_an_error_tells_nothing(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.urls import clear_url_caches

    monkeypatch.setattr(urls, "urlpatterns", [path("broken/", broken), *urls.urlpatterns])
    clear_url_caches()
    browser.raise_request_exception = False
    try:
        answer = browser.get("/broken/")
    finally:
        monkeypatch.undo()
        clear_url_caches()

    page = answer.content.decode()
    assert answer.status_code == 500
    assert all(word not in page for word in ("hunter2", "RuntimeError", "Traceback", "/srv/", "Django"))


@pytest.mark.parametrize("page", ["/no-such-page", "/x/moon/", "/x/sandbox/orders/not-a-uuid/cancel/", "/static/../x"])
def test_a_page_that_is_not_there_tells_nothing(browser: Client, page: str) -> None:
    answer = browser.get(page)

    assert answer.status_code == 404
    assert b"urlpatterns" not in answer.content
    assert b"Traceback" not in answer.content


@pytest.mark.django_db
def test_a_host_that_is_not_ours_is_refused() -> None:
    assert Client(headers={"Host": "evil.example"}).get("/about/").status_code == 400


# --- text of others ----------------------------------------------------------------------------------------------


@pytest.fixture
def hostile(account: Account, alice: User, team: Team) -> None:
    """Let the exchange, and people, have written script wherever they can write."""
    columns = {"environment": ENV, "synced_at": timezone.now()}
    Series.objects.create(ticker="KXEVIL", title=HOSTILE, category=HOSTILE, **columns)
    Event.objects.create(ticker="KXEVIL-1", series_ticker="KXEVIL", title=HOSTILE, category=HOSTILE, **columns)
    Market.objects.create(
        ticker="KXEVIL-1-A",
        event_ticker="KXEVIL-1",
        title=HOSTILE,
        yes_sub_title=HOSTILE,
        rules_primary=HOSTILE,
        rules_secondary=HOSTILE,
        status="active",
        price_ranges=[[0, 10_000, 100]],
        search_text=HOSTILE.lower(),
        **columns,
    )
    an_order(account, ticker="KXEVIL-1-A", placed_by=alice, reason_text=HOSTILE, state="rejected")
    an_order(account, ticker="KXEVIL-1-A", placed_by=alice, reason_text=HOSTILE, exchange_order_id="e", state="unknown")
    audit.record("key.added", alice, team=team, facts={"name": HOSTILE})
    Team.objects.filter(pk=team.pk).update(name=HOSTILE[:80])
    member("<b>eve</b>", team, Membership.Role.TRADER)


@pytest.mark.parametrize(
    "page",
    [
        "",
        "markets/",
        "markets/KXEVIL-1-A/",
        "orders/",
        "keys/",
        "search/?q=%3Cscript%3E",
        "markets/?q=%3Cscript%3Ealert(1)%3C/script%3E",
        "team/",
        "limits/",
        "sessions/",
        "audit/",
        "audit/?text=%3Cscript%3E&who=%22%3E%3Cscript%3Ealert(1)%3C/script%3E",
    ],
)
def test_script_in_what_others_wrote_is_text(browser: Client, hostile: None, page: str) -> None:
    shown = browser.get(f"/x/sandbox/{page}").content.decode()

    assert "<script>alert" not in shown
    assert "<img src=x" not in shown
    assert "<b>eve</b>" not in shown
    assert "49" not in shown.split("{{7*7")[0][-20:]


def test_the_name_of_an_invited_person_is_text(browser: Client) -> None:
    page = browser.post("/x/sandbox/team/invitations/", {"for_whom": HOSTILE, "role": "viewer"}).content.decode()

    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_no_template_trusts_text_and_no_script_writes_markup() -> None:
    templates = [file for file in (ROOT / "templates").rglob("*.html") if "|safe" in file.read_text()]
    scripts = [
        file
        for file in (ROOT / "static" / "js").rglob("*.js")
        if any(word in file.read_text() for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "eval("))
    ]

    assert [file.name for file in templates if file.name != "_field.html"] == []
    assert scripts == []


# --- what stands beside a field --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<b>bold</b> & plain", "&lt;b&gt;bold&lt;/b&gt; &amp; plain"),
        (mark_safe('<a href="/">Back</a>'), '<a href="/">'),
    ],
)
def test_a_fields_help_is_markup_only_where_the_program_says_so(text: str, shown: str) -> None:
    class OneField(forms.Form):
        name = forms.CharField(help_text=text)

    assert shown in render_to_string("_fields.html", {"form": OneField()})
