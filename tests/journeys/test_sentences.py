"""What is typed wrongly is answered by one clear sentence in its place, and the rest of what was typed stays."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from playwright.sync_api import Locator, Page, expect

from tests.journeys.desk import RunningDesk
from tests.journeys.ticket import CENT, created_on_the_wire, fill, open_market_with_room, order_ids, outcome, place

pytestmark = pytest.mark.browser

REFUSED = re.compile(r"^Failed to load resource: the server responded with a status of (404|409|422) ")


@pytest.fixture
def page(owner_page: Page, console: list[str]) -> Iterator[Page]:
    """Return the owner's page, whose console may say of a refused request that it was refused, and nothing else."""
    console.clear()
    yield owner_page
    assert [error for error in console if not REFUSED.match(error)] == []


def fault_of(where: Locator) -> Locator:
    """Return the one sentence that is shown."""
    return where.get_by_role("alert").filter(visible=True)


def test_a_price_off_the_grid(page: Page, running_desk: RunningDesk) -> None:
    before = created_on_the_wire(running_desk)
    _, bid = open_market_with_room(page, running_desk)

    fill(page, price_cents=f"{bid // CENT}.5", count="7")

    ticket = page.get_by_test_id("ticket")
    expect(fault_of(ticket)).to_have_text(
        f"{bid // CENT}.5¢ is not on this market's grid: the nearest is {bid // CENT}¢ or {bid // CENT + 1}¢."
    )
    price, count = ticket.get_by_label(re.compile("price", re.I)), ticket.get_by_label("Quantity")
    expect(price).to_have_attribute("aria-invalid", "true")
    expect(price).to_have_value(f"{bid // CENT}.5")
    expect(count).to_have_value("7")
    expect(page.get_by_test_id("confirm")).to_be_hidden()
    assert created_on_the_wire(running_desk) == before


def test_a_thousandth_of_a_contract(page: Page, running_desk: RunningDesk) -> None:
    before = created_on_the_wire(running_desk)
    _, bid = open_market_with_room(page, running_desk)

    fill(page, price_cents=str(bid // CENT), count="0.001")

    ticket = page.get_by_test_id("ticket")
    expect(fault_of(ticket)).to_have_text("A quantity is a number of contracts with at most two decimals.")
    count = ticket.get_by_label("Quantity")
    expect(count).to_have_attribute("aria-invalid", "true")
    expect(count).to_have_value("0.001")
    expect(ticket.get_by_label(re.compile("price", re.I))).to_have_value(str(bid // CENT))
    expect(page.get_by_test_id("confirm")).to_be_hidden()
    assert created_on_the_wire(running_desk) == before


def test_an_order_over_the_teams_limit_is_denied_before_it_leaves(page: Page, running_desk: RunningDesk) -> None:
    before = created_on_the_wire(running_desk)
    _, bid = open_market_with_room(page, running_desk)
    count = 1_100_000 // bid * 10  # some $1,100; the first limit is $1,000 an order

    place(page, price_cents=str(bid // CENT), count=str(count))

    expect(outcome(page)).to_contain_text(
        re.compile(r"denied by the desk: This order would cost \$1,0\d\d\.\d\d; the limit is \$1,000\.00\.")
    )
    assert_the_form_stands(page, bid, count)
    assert created_on_the_wire(running_desk) == before


@pytest.fixture
def high_limits(page: Page, running_desk: RunningDesk) -> Iterator[None]:
    """Raise the team's limits above what the exchange lends, and put those of a first run back: the desk is shared."""
    set_limits(page, running_desk, cost=50_000, exposure=50_000, position=500_000)
    yield
    set_limits(page, running_desk, cost=1_000, exposure=10_000, position=10_000)


def set_limits(page: Page, desk: RunningDesk, *, cost: int, exposure: int, position: int) -> None:
    page.goto(f"{desk.url}/x/sandbox/limits/")
    limits = page.get_by_test_id("team-limits")
    for name, most in (("max_order_cost", cost), ("max_exposure", exposure), ("max_position", position)):
        limits.locator(f'[name="team-{name}"]').fill(str(most))
    limits.get_by_role("button", name="Keep the team’s limits").click()
    expect(page.get_by_text("The team’s limits are changed.")).to_be_visible()


@pytest.mark.usefixtures("high_limits")
def test_an_order_over_the_balance_is_refused_by_the_exchange(page: Page, running_desk: RunningDesk) -> None:
    _, bid = open_market_with_room(page, running_desk)
    count = 12_000_000 // bid * 10  # some $12,000; the exchange gave the desk $10,000
    known = order_ids(page)

    place(page, price_cents=str(bid // CENT), count=str(count))

    expect(outcome(page)).to_contain_text(re.compile("rejected.*balance", re.I))
    assert_the_form_stands(page, bid, count)
    assert len(order_ids(page)) == len(known) + 1


def assert_the_form_stands(page: Page, price: int, count: int) -> None:
    """Look whether the ticket still holds what was typed and can be sent again."""
    ticket = page.get_by_test_id("ticket")
    expect(ticket.get_by_label(re.compile("price", re.I))).to_have_value(str(price // CENT))
    expect(ticket.get_by_label("Quantity")).to_have_value(str(count))
    expect(ticket.get_by_role("button", name=re.compile("review", re.I))).to_be_enabled()


def test_a_market_that_does_not_exist(page: Page, running_desk: RunningDesk) -> None:
    answer = page.goto(f"{running_desk.url}/x/sandbox/markets/KXNOSUCH-26NOV26-B1/")

    assert answer is not None
    assert answer.status == 404
    expect(page.get_by_role("heading", level=1)).to_have_text("There is no such page")
    expect(page.get_by_role("link", name="To the desk")).to_be_visible()


# --- keys ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def add_key(page: Page, desk: RunningDesk, *, key_id: str, pasted: str = "", file: Path | None = None) -> Locator:
    """Fill in the form of a new key and send it; return the page's one sentence."""
    page.goto(f"{desk.url}/x/sandbox/keys/add/")
    page.get_by_label("Name", exact=True).fill("second key")
    page.get_by_label("Key id").fill(key_id)
    if pasted:
        page.get_by_label("Private key, pasted").fill(pasted)
    if file is not None:
        page.get_by_label("or its file").set_input_files(file)
    page.get_by_role("button", name="Try it and keep it").click()
    return fault_of(page.locator("main"))


def key_id_at_the_exchange(desk: RunningDesk) -> str:
    """Return the id of a key that the exchange knows: another member's."""
    described = json.loads((desk.data_dir / "sandbox" / "credentials" / "rival.json").read_text())
    return str(described["key_id"])


def assert_kept_but_the_secret(page: Page, key_id: str, secret: str) -> None:
    """Look whether name and id are still there, and nothing of the private key is."""
    expect(page.get_by_label("Name", exact=True)).to_have_value("second key")
    expect(page.get_by_label("Key id")).to_have_value(key_id)
    expect(page.get_by_label("Private key, pasted")).to_have_value("")
    assert secret not in page.content()


def test_what_is_no_key(page: Page, running_desk: RunningDesk) -> None:
    key_id = key_id_at_the_exchange(running_desk)

    said = add_key(page, running_desk, key_id=key_id, pasted="hunter2 hunter2")

    expect(said).to_have_text("There is no private key in it; copy the whole file, with its BEGIN and END lines.")
    assert_kept_but_the_secret(page, key_id, "hunter2")


def test_a_public_key(page: Page, running_desk: RunningDesk, private_key: rsa.RSAPrivateKey) -> None:
    key_id = key_id_at_the_exchange(running_desk)
    public = private_key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )

    said = add_key(page, running_desk, key_id=key_id, pasted=public.decode())

    expect(said).to_have_text("This is a public key; the private key is needed.")
    assert_kept_but_the_secret(page, key_id, "BEGIN PUBLIC KEY-----\n")


def test_the_file_of_another_key(
    page: Page, running_desk: RunningDesk, private_key: rsa.RSAPrivateKey, tmp_path: Path
) -> None:
    key_id = key_id_at_the_exchange(running_desk)
    pem = private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    (tmp_path / "other.pem").write_text(pem)

    said = add_key(page, running_desk, key_id=key_id, file=tmp_path / "other.pem")

    expect(said).to_have_text("The private key does not belong to this key id: choose the file that was saved with it.")
    assert_kept_but_the_secret(page, key_id, pem.splitlines()[1])
    page.goto(f"{running_desk.url}/x/sandbox/keys/")
    expect(page.get_by_test_id("key-row")).to_have_count(1)
