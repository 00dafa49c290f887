"""Who gets into which page: strangers to the log-in, other teams nowhere, roles as far as they reach."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client

from markets.models import Market
from tests.trading.conftest import TICKER
from trading.models import Account

PAGES = [
    "/x/sandbox/",
    "/x/sandbox/markets/",
    f"/x/sandbox/markets/{TICKER}/",
    "/x/sandbox/orders/",
    "/x/sandbox/catalogue/",
]


def as_(user: User) -> Client:
    """Return a browser in which somebody is logged in."""
    client = Client()
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


def just_logged_in(user: User) -> Client:
    """Return a browser in which somebody has given their password a moment ago."""
    client = Client()
    client.post("/accounts/login/", {"login": user.get_username(), "password": "a long enough password"})
    return client


@pytest.mark.parametrize("url", [*PAGES, "/x/sandbox/keys/", "/x/sandbox/keys/add/"])
def test_a_stranger_is_sent_to_the_log_in(client: Client, market: Market, url: str) -> None:
    answer = client.get(url)

    assert (answer.status_code, answer.headers["Location"]) == (302, f"/accounts/login/?next={url}")


@pytest.mark.parametrize("url", PAGES)
@pytest.mark.parametrize("name", ["alice", "bob", "vera"])
def test_members_see_the_desk(
    request: pytest.FixtureRequest, account: Account, market: Market, name: str, url: str
) -> None:
    answer = as_(request.getfixturevalue(name)).get(url)

    assert answer.status_code == 200
    assert b"North desk" in answer.content


@pytest.mark.parametrize(("name", "keys", "add"), [("alice", 200, 200), ("bob", 200, 403), ("vera", 403, 403)])
def test_keys_are_shown_to_whom_the_role_allows(
    request: pytest.FixtureRequest, account: Account, name: str, keys: int, add: int
) -> None:
    browser = just_logged_in(request.getfixturevalue(name))

    assert browser.get("/x/sandbox/keys/").status_code == keys
    assert browser.get("/x/sandbox/keys/add/").status_code == add


def test_somebody_without_a_team_is_told_so(db: None) -> None:
    answer = as_(User.objects.create_user("nobody")).get("/x/sandbox/")

    assert answer.status_code == 403
    assert b"You belong to no team yet" in answer.content


@pytest.mark.parametrize("environment", ["production", "demo", "mars"])
def test_another_exchange_than_the_installations_is_not_there(alice: User, environment: str) -> None:
    assert as_(alice).get(f"/x/{environment}/").status_code == 404
    assert as_(alice).get("/x/sandbox/").status_code == 200


def test_an_unknown_ticker_is_a_page_that_says_so(alice: User, market: Market) -> None:
    answer = as_(alice).get("/x/sandbox/markets/NO-SUCH-MARKET/")

    assert answer.status_code == 404
    assert b"There is no such page" in answer.content


def test_every_page_says_whose_it_is_not(client: Client, db: None) -> None:
    assert b"Not affiliated with Kalshi" in client.get("/accounts/login/").content
    assert b"not affiliated with, endorsed or sponsored by Kalshi" in client.get("/about/").content


@pytest.mark.parametrize("url", ["/accounts/login/", "/about/", "/welcome/no-such-link", *PAGES])
def test_no_page_carries_script_or_style_of_its_own(alice: User, account: Account, market: Market, url: str) -> None:
    browser = Client() if url in {"/accounts/login/", "/about/"} else as_(alice)
    html = browser.get(url).content.decode()

    assert "<style" not in html
    assert " style=" not in html
    assert " onclick=" not in html
    scripts = [tag.partition(">")[0] for tag in html.split("<script")[1:]]
    assert all("src=" in tag or 'type="application/json"' in tag for tag in scripts)


NAMED = [
    "/x/sandbox/orders/?who={}",
    "/x/sandbox/orders/?market={}",
    "/x/sandbox/orders.json?market={}",
    "/x/sandbox/markets/?q={}",
    "/x/sandbox/markets/?category={}",
    "/x/sandbox/search/?q={}",
    "/x/sandbox/markets/" + TICKER + "/?{}",
]


@pytest.mark.parametrize("url", NAMED)
def test_a_nul_in_an_address_is_refused_before_a_database_is_asked(
    bob: User, account: Account, market: Market, url: str
) -> None:
    assert as_(bob).get(url.format("rain%00")).status_code == 400
    assert as_(bob).get(url.format("rain%20")).status_code == 200


def test_a_nul_in_a_path_or_a_cookie_is_refused(client: Client, bob: User, account: Account, market: Market) -> None:
    browser = as_(bob)
    assert browser.get(f"/x/sandbox/markets/{TICKER}%00/").status_code == 400
    assert browser.get(f"/x/sandbox/markets/{TICKER}/").status_code == 200

    assert client.get("/x/sandbox/", headers={"Cookie": r'sessionid="0123456789\000"'}).status_code == 400
    assert client.get("/x/sandbox/", headers={"Cookie": 'sessionid="0123456789"'}).status_code == 302
