"""An owner invites somebody, gives a role and a limit, and removes them again; and a passkey that opens the desk."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.journeys.desk import RunningDesk
from tests.journeys.ticket import CENT, open_market_with_room, place

pytestmark = pytest.mark.browser

PASSWORD = "an even longer password"


@pytest.fixture
def guest(browser: Browser) -> Iterator[Page]:
    """Return a page of somebody who is not logged in, in a browser of their own."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    yield context.new_page()
    context.close()


def invite(page: Page, desk: RunningDesk, *, whom: str, role: str) -> str:
    """Make an invitation on the page of the team and return its link."""
    page.goto(f"{desk.url}/x/sandbox/team/")
    page.get_by_label("For", exact=True).fill(whom)
    page.get_by_label("Role", exact=True).select_option(role)
    page.get_by_role("button", name="Make a link").click()
    link = page.get_by_label("Link of the invitation").input_value()
    return desk.url + link[link.index("/join/") :]


def join(guest: Page, link: str, name: str) -> None:
    """Make an account with an invitation."""
    guest.goto(link)
    guest.get_by_label("User name").fill(name)
    guest.get_by_label("Password", exact=True).fill(PASSWORD)
    guest.get_by_label("Password, again").fill(PASSWORD)
    guest.get_by_role("button", name="Make my account and join").click()
    guest.wait_for_url(re.compile(r"/x/sandbox/$"))


def test_somebody_comes_trades_within_their_limit_and_goes(
    signed_in: Page, guest: Page, running_desk: RunningDesk
) -> None:
    owner, desk = signed_in, running_desk
    join(guest, invite(owner, desk, whom="Emil", role="viewer"), "emil")
    ticker, bid = open_market_with_room(owner, desk)
    market = f"{desk.url}/x/sandbox/markets/{ticker}/"
    guest.goto(market)
    expect(guest.get_by_test_id("ticket")).to_contain_text("You can watch here.")

    owner.goto(f"{desk.url}/x/sandbox/team/")
    row = owner.locator('[data-testid="member-row"][data-member="emil"]')
    row.get_by_label("Role of emil").select_option("trader")
    row.get_by_role("button", name="Set").click()
    expect(owner.get_by_role("status")).to_contain_text("emil is trader now")
    owner.goto(f"{desk.url}/x/sandbox/limits/")
    own = owner.locator('[data-testid="own-limits"][data-member="emil"]')
    own.get_by_label("Most one order may cost, $").fill("1")
    own.get_by_role("button", name=re.compile("Keep")).click()
    expect(owner.get_by_role("status")).to_contain_text("limits of emil are changed")

    guest.goto(market)
    expect(guest.get_by_test_id("book-state")).to_have_attribute("data-state", "LIVE", timeout=10_000)
    place(guest, price_cents=str(bid // CENT), count="400")
    expect(guest.get_by_test_id("ticket")).to_contain_text("your own limit is $1.00", timeout=10_000)

    owner.goto(f"{desk.url}/x/sandbox/team/")
    row.get_by_role("link", name=re.compile("Pause or remove")).click()
    owner.get_by_role("button", name="Remove from the team").click()
    expect(owner.get_by_text("Who has left")).to_be_visible()
    guest.goto(market)
    expect(guest).to_have_url(re.compile("/accounts/login/"))
    owner.goto(f"{desk.url}/x/sandbox/audit/?text=emil")
    expect(owner.get_by_test_id("audit-row").first).to_contain_text("removed a member")
    owner.get_by_role("button", name="Verify now").click()
    expect(owner.get_by_test_id("verdict")).to_contain_text("entries hold")


def test_a_passkey_opens_the_desk_without_a_password(signed_in: Page, guest: Page, running_desk: RunningDesk) -> None:
    desk = running_desk
    join(guest, invite(signed_in, desk, whom="Fay", role="viewer"), "fay")
    chrome = guest.context.new_cdp_session(guest)
    chrome.send("WebAuthn.enable")
    options = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True}
    options |= {"isUserVerified": True, "automaticPresenceSimulation": True}
    chrome.send("WebAuthn.addVirtualAuthenticator", {"options": options})

    guest.goto(f"{desk.url}/accounts/2fa/webauthn/add/")
    if "reauthenticate" in guest.url:
        guest.get_by_label("Password").fill(PASSWORD)
        guest.get_by_role("button", name=re.compile("confirm", re.I)).click()
    guest.get_by_label(re.compile("passwordless", re.I)).check()
    guest.get_by_role("button", name=re.compile("add", re.I)).click()
    expect(guest).not_to_have_url(re.compile("/webauthn/add/"))
    guest.context.clear_cookies()

    guest.goto(f"{desk.url}/accounts/login/")
    guest.get_by_role("button", name="Use a passkey").click()

    guest.wait_for_url(re.compile(r"/x/sandbox/$"))
    guest.get_by_label(re.compile("^You: fay")).click()
    expect(guest.get_by_text("viewer of My desk")).to_be_visible()


@pytest.mark.parametrize("page", ["team/", "limits/", "sessions/", "audit/"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_the_pages_of_the_team_can_be_read_by_everybody(
    signed_in: Page, running_desk: RunningDesk, page: str, scheme: str, width: int
) -> None:
    signed_in.set_viewport_size({"width": width, "height": 900})
    signed_in.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    signed_in.goto(f"{running_desk.url}/x/sandbox/{page}")

    found = Axe().run(signed_in).response["violations"]

    assert [violation["id"] for violation in found] == []
    assert signed_in.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
