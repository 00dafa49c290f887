"""An owner invites somebody, gives a role and a limit, and removes them again; and a passkey that opens the desk."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect

from tests.journeys.desk import RunningDesk
from tests.journeys.ticket import CENT, open_market_with_room, place

pytestmark = pytest.mark.browser

MOST_SECONDS = 60  # of the machine; a person, who reads and thinks at each of the steps, has five minutes
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


def stumbling_blocks(page: Page) -> list[str]:
    """Return the names of what keeps people from reading a page."""
    return [violation["id"] for violation in Axe().run(page).response["violations"]]


class Hand:
    """A person's hand on a page: it finds things by what stands on them and counts what it does."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.steps: list[str] = []

    def press(self, role: Literal["button", "link"], name: str, *, within: Locator | None = None) -> None:
        """Press what is called so; there must be one."""
        self.steps.append(f"press {name}")
        (within or self.page).get_by_role(role, name=name).click()

    def fill(self, label: str, text: str, *, within: Locator | None = None) -> None:
        """Type into the field of this label."""
        self.steps.append(f"fill {label}")
        (within or self.page).get_by_label(label, exact=True).fill(text)

    def choose(self, label: str, choice: str, *, within: Locator | None = None) -> None:
        """Choose from the list of this label."""
        self.steps.append(f"choose {choice}")
        (within or self.page).get_by_label(label, exact=True).select_option(label=choice)

    def expect_said(self, text: str) -> None:
        """The page answers what was done."""
        expect(self.page.get_by_role("status").filter(has_text=text)).to_be_visible()


def test_an_owner_invites_gives_a_role_limits_and_removes_in_a_minute_by_what_stands_on_the_pages(
    signed_in: Page, guest: Page, running_desk: RunningDesk, record_property: Callable[[str, object], None]
) -> None:
    signed_in.set_viewport_size({"width": 1440, "height": 900})
    signed_in.goto(running_desk.url)
    hand, began = Hand(signed_in), time.monotonic()

    hand.press("link", "Team", within=signed_in.get_by_role("navigation", name="Pages", exact=True))
    hand.press("link", "Invite somebody")
    expect(signed_in.get_by_label("For", exact=True)).to_be_focused()
    hand.fill("For", "Gita")
    hand.choose("Role", "Viewer")
    hand.press("button", "Make a link")
    hand.expect_said("The link for Gita, viewer.")
    assert stumbling_blocks(signed_in) == []
    link = signed_in.get_by_label("Link of the invitation").input_value()
    join(guest, running_desk.url + link[link.index("/join/") :], "gita")

    hand.press("link", "People")
    row = signed_in.get_by_role("row").filter(has_text="gita")
    hand.choose("Role of gita", "trader", within=row)
    hand.press("button", "Set the role of gita")
    hand.expect_said("gita is trader now")

    hand.press("link", "Limits")
    own = signed_in.get_by_role("form", name="Limits of gita")
    hand.fill("Most one order may cost, $", "25", within=own)
    hand.press("button", "Keep the limits of gita")
    hand.expect_said("The limits of gita are changed.")

    hand.press("link", "People")
    hand.press("link", "Pause or remove gita")
    assert stumbling_blocks(signed_in) == []
    hand.press("button", "Remove from the team")
    hand.expect_said("gita")
    expect(signed_in.get_by_role("heading", name="Who has left")).to_be_visible()
    expect(signed_in.get_by_role("row").filter(has_text="gita")).to_have_count(0)

    took = time.monotonic() - began
    record_property("steps", len(hand.steps))
    record_property("seconds", round(took, 1))
    assert len(hand.steps) == 14, hand.steps
    assert took < MOST_SECONDS


def test_another_tab_goes_on_when_somebody_proves_who_they_are(
    signed_in: Page, guest: Page, running_desk: RunningDesk
) -> None:
    desk = running_desk
    join(guest, invite(signed_in, desk, whom="Gil", role="trader"), "gil")
    ticker, _ = open_market_with_room(signed_in, desk)
    dialled: list[str] = []
    guest.on("websocket", lambda socket: dialled.append(socket.url))
    guest.goto(f"{desk.url}/x/sandbox/markets/{ticker}/")
    expect(guest.get_by_test_id("book-state")).to_have_attribute("data-state", "LIVE", timeout=10_000)
    before = len(dialled)

    other = guest.context.new_page()
    other.goto(f"{desk.url}/accounts/reauthenticate/")
    other.get_by_label("Password").fill(PASSWORD)
    other.get_by_role("button", name=re.compile("confirm", re.I)).click()
    other.wait_for_url(re.compile(r"/x/sandbox/$"))

    until = time.monotonic() + 10
    while len(dialled) < before + 2 and time.monotonic() < until:
        guest.wait_for_timeout(100)
    assert len(dialled) == before + 2  # both connections of the key before have ended
    expect(guest.get_by_test_id("book-state")).to_have_attribute("data-state", "LIVE", timeout=6_000)
    expect(guest.locator("[data-desk-behind]")).to_be_hidden(timeout=6_000)


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

    assert stumbling_blocks(signed_in) == []
    assert signed_in.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
