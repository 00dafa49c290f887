"""A link lets one person in once: within its time, and a local one from the machine that runs the desk alone."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import include, path
from django.utils import timezone

from kalshiweb.lock import DataDirLock
from trading import setup
from trading.models import AuditEntry, LogInLink

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.trading.test_welcome")]

GOOD_PASSWORD = "quiet-otters-count-clouds"


def welcome(request: HttpRequest, token: str) -> HttpResponse:
    """Use a link, as the page does."""
    try:
        return setup.use_link(request, token, redirect_url="/after/")
    except setup.LinkRefused as exc:
        return HttpResponse(str(exc), status=410)


def password(request: HttpRequest) -> HttpResponse:
    """Set the password that was sent, as the page does."""
    try:
        setup.set_password(request, request.POST["password"])
    except (setup.PasswordRefused, ValidationError) as exc:
        return HttpResponse(str(exc), status=400)
    return HttpResponse(str(setup.needs_password(request)))


def who(request: HttpRequest) -> HttpResponse:
    """Say who is logged in."""
    return HttpResponse(f"{request.user}")


urlpatterns = [
    path("welcome/<str:token>", welcome),
    path("password/", password),
    path("who/", who),
    path("accounts/", include("allauth.urls")),
]


@pytest.fixture
def owner(settings: Any) -> User:
    """Return the owner of a new desk on the local exchange."""
    settings.ENVIRONMENT = "sandbox"
    return setup.create_team("My desk", owner="owner", environment="sandbox").owner


@pytest.fixture
def client() -> Client:
    """Return a browser on the machine that runs the desk."""
    return Client(HTTP_HOST="localhost")


def test_a_link_logs_its_person_in_and_goes_on(client: Client, owner: User) -> None:
    answer = client.post(f"/welcome/{setup.make_link(owner, kind='local')}")

    assert (answer.status_code, answer.headers["Location"]) == (302, "/after/")
    assert client.get("/who/").content == b"owner"
    assert AuditEntry.objects.filter(action="login.link_used", actor=owner).count() == 1


def test_a_link_works_once(client: Client, owner: User) -> None:
    token = setup.make_link(owner, kind="local")
    client.post(f"/welcome/{token}")

    answer = Client(HTTP_HOST="localhost").post(f"/welcome/{token}")

    assert answer.status_code == 410
    assert answer.content == b"This link was used already, or it is too old: ask for a new one."


def test_of_two_requests_at_once_one_gets_in(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    token = setup.make_link(owner, kind="local")
    link = LogInLink.objects.get()
    monkeypatch.setattr(setup, "check_link", lambda request, token: link)
    LogInLink.objects.update(used_at=timezone.now())

    assert Client(HTTP_HOST="localhost").post(f"/welcome/{token}").status_code == 410


def test_a_link_ends_after_its_time(client: Client, owner: User) -> None:
    token = setup.make_link(owner, kind="local")
    link = LogInLink.objects.get()
    assert timedelta(minutes=9) < link.expires_at - timezone.now() <= timedelta(minutes=10)
    LogInLink.objects.update(expires_at=timezone.now())

    assert client.post(f"/welcome/{token}").status_code == 410


def test_a_new_link_ends_the_one_before(client: Client, owner: User) -> None:
    old = setup.make_link(owner, kind="local")
    setup.make_link(owner, kind="local")

    assert client.post(f"/welcome/{old}").status_code == 410


def test_only_a_hash_of_the_link_is_kept(owner: User) -> None:
    token = setup.make_link(owner, kind="local")

    assert token not in str(LogInLink.objects.values().get())


def test_somebody_who_was_disabled_stays_out(client: Client, owner: User) -> None:
    token = setup.make_link(owner, kind="local")
    User.objects.update(is_active=False)

    assert client.post(f"/welcome/{token}").status_code == 410


@pytest.mark.parametrize("token", ["local-guess", "reset-guess", "nonsense", "local-"])
def test_a_guess_is_refused(client: Client, owner: User, token: str) -> None:
    setup.make_link(owner, kind="local")

    assert client.post(f"/welcome/{token}").status_code == 410


@pytest.mark.parametrize(
    ("address", "host", "environment", "status"),
    [
        ("127.0.0.1", "localhost", "sandbox", 302),
        ("127.0.0.1", "localhost:8000", "sandbox", 302),
        ("::1", "[::1]:8000", "sandbox", 302),
        ("192.168.1.7", "localhost", "sandbox", 410),
        ("127.0.0.1", "desk.example", "sandbox", 410),
        ("", "localhost", "sandbox", 410),
        ("127.0.0.1", "localhost", "production", 410),
        ("127.0.0.1", "localhost", "demo", 410),
    ],
)
def test_a_local_link_works_on_the_machine_of_a_local_exchange_alone(
    owner: User, settings: Any, address: str, host: str, environment: str, status: int
) -> None:
    settings.ENVIRONMENT, settings.ALLOWED_HOSTS = environment, ["localhost", "127.0.0.1", "[::1]", "desk.example"]
    token = setup.make_link(owner, kind="local")

    assert Client(REMOTE_ADDR=address, HTTP_HOST=host).post(f"/welcome/{token}").status_code == status


def test_the_operators_link_works_from_elsewhere(owner: User, settings: Any) -> None:
    settings.ENVIRONMENT, settings.ALLOWED_HOSTS = "production", ["desk.example"]
    token = setup.make_link(owner, kind="reset")

    assert Client(REMOTE_ADDR="203.0.113.9", HTTP_HOST="desk.example").post(f"/welcome/{token}").status_code == 302


def test_a_link_does_not_pass_the_second_factor(client: Client, owner: User) -> None:
    from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret

    TOTP.activate(owner, generate_totp_secret())

    answer = client.post(f"/welcome/{setup.make_link(owner, kind='reset')}")

    assert answer.headers["Location"].startswith("/accounts/2fa/authenticate/")
    assert client.get("/who/").content == b"AnonymousUser"


def test_the_session_before_a_link_is_not_the_one_after(client: Client, owner: User) -> None:
    client.session["seen"] = 1
    client.session.save()
    before = client.session.session_key

    client.post(f"/welcome/{setup.make_link(owner, kind='local')}")

    assert client.session.session_key != before


# --- passwords ---------------------------------------------------------------------------------------


def test_who_came_by_a_link_sets_a_password_and_stays_logged_in(client: Client, owner: User) -> None:
    client.post(f"/welcome/{setup.make_link(owner, kind='local')}")

    assert client.post("/password/", {"password": GOOD_PASSWORD}).content == b"False"
    assert client.get("/who/").content == b"owner"
    assert User.objects.get().check_password(GOOD_PASSWORD)


def test_a_weak_password_is_refused(client: Client, owner: User) -> None:
    client.post(f"/welcome/{setup.make_link(owner, kind='local')}")

    assert client.post("/password/", {"password": "password"}).status_code == 400
    assert not User.objects.get().has_usable_password()


def test_who_has_a_password_and_came_with_it_does_not_set_another_here(client: Client, owner: User) -> None:
    owner.set_password(GOOD_PASSWORD)
    owner.save()
    client.force_login(owner)

    assert client.post("/password/", {"password": "other-otters-count-clouds"}).status_code == 400
    assert User.objects.get().check_password(GOOD_PASSWORD)


def test_a_reset_link_lets_a_forgotten_password_be_replaced_once(client: Client, owner: User) -> None:
    owner.set_password(GOOD_PASSWORD)
    owner.save()
    client.post(f"/welcome/{setup.make_link(owner, kind='reset')}")

    assert client.post("/password/", {"password": "other-otters-count-clouds"}).status_code == 200
    assert client.post("/password/", {"password": "third-otters-count-clouds"}).status_code == 400


def test_nobody_sets_a_password_without_being_logged_in(client: Client, owner: User) -> None:
    assert client.post("/password/", {"password": GOOD_PASSWORD}).status_code == 400


# --- commands ----------------------------------------------------------------------------------------


def printed(*command: str) -> str:
    """Run a command and return what it printed."""
    out = StringIO()
    call_command(*command, stdout=out)
    return out.getvalue()


def test_a_new_local_link_is_printed_on_this_machine(client: Client, owner: User, settings: Any) -> None:
    settings.WEB_ORIGINS = ["http://localhost:8000"]

    link = printed("log_in_link").strip()

    assert link.startswith("http://localhost:8000/welcome/local-")
    assert client.post(link.removeprefix("http://localhost:8000")).status_code == 302


def test_a_local_link_is_not_printed_for_another_exchange(owner: User, settings: Any) -> None:
    settings.ENVIRONMENT = "demo"

    with pytest.raises(CommandError, match="use reset_password"):
        printed("log_in_link")


def test_a_reset_link_is_printed_for_a_person_who_exists(owner: User) -> None:
    assert "/welcome/reset-" in printed("reset_password", "--user", "owner")
    with pytest.raises(CommandError, match="no active person"):
        printed("reset_password", "--user", "nobody")


def test_a_team_is_made_with_a_link_for_its_new_owner(owner: User, settings: Any) -> None:
    said = printed("create_team", "North desk", "--owner", "nora")

    assert said.startswith("Team North desk, owner nora, account Sandbox (sandbox).")
    assert "/welcome/reset-" in said
    with pytest.raises(CommandError, match="letters or digits"):
        printed("create_team", "!!!", "--owner", "nora")
    with pytest.raises(CommandError, match="mallory is no owner of it"):
        printed("create_team", "North desk", "--owner", "mallory")


def test_a_printed_link_leads_to_the_desk_that_runs(owner: User, settings: Any) -> None:
    data = settings.KALSHIWEB_DATA_DIR
    assert printed("log_in_link").startswith(settings.WEB_ORIGINS[0] + "/welcome/")

    with DataDirLock(data, "process 7, http://localhost:8111/"):
        assert printed("log_in_link").startswith("http://localhost:8111/welcome/")


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP"])
def test_a_local_link_does_not_come_through_a_proxy(owner: User, header: str) -> None:
    token = setup.make_link(owner, kind="local")
    near = Client(REMOTE_ADDR="127.0.0.1", HTTP_HOST="localhost")

    assert near.post(f"/welcome/{token}", headers={header: "203.0.113.9"}).status_code == 410
    assert near.post(f"/welcome/{token}").status_code == 302
