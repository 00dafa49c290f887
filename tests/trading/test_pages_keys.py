"""The page of keys: what is refused is one sentence, what was pasted never comes back."""

from __future__ import annotations

import uuid

from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile

from tests.trading.conftest import PrivateKey
from tests.trading.exchange import ScriptedExchange
from tests.trading.test_pages_doors import as_, just_logged_in
from trading.models import Account, ApiKey

ADD = "/x/sandbox/keys/add/"


def given(**changes: object) -> dict[str, object]:
    """Return a filled form of a key, changed as told."""
    return {"name": "alpha-trade", "key_id": str(uuid.uuid4()), "pem": "", **changes}


def test_a_wrong_file_is_refused_in_one_sentence_and_not_shown_again(
    exchange: ScriptedExchange, alice: User, account: Account
) -> None:
    secret = "this is my shopping list"
    answer = just_logged_in(alice).post(ADD, given(pem_file=SimpleUploadedFile("list.txt", secret.encode())))

    assert answer.status_code == 422
    assert answer.content.count(b'role="alert"') == 1
    assert secret.encode() not in answer.content
    assert b'value="alpha-trade"' in answer.content
    assert not ApiKey.objects.exists()


def test_a_pasted_key_never_comes_back(
    exchange: ScriptedExchange, alice: User, account: Account, private_key: PrivateKey
) -> None:
    answer = just_logged_in(alice).post(ADD, given(key_id="not an id", pem=private_key.pem.decode()))

    assert answer.status_code == 422
    assert private_key.pem.splitlines()[1] not in answer.content
    assert b"The key id is the line of 36 letters, digits and dashes" in answer.content


def test_nothing_given_is_said_beside_the_field(alice: User, account: Account) -> None:
    answer = just_logged_in(alice).post(ADD, given())

    assert answer.status_code == 422
    assert b"Paste the private key, or choose its file." in answer.content


def test_who_may_not_add_keys_adds_none(
    exchange: ScriptedExchange, bob: User, account: Account, private_key: PrivateKey
) -> None:
    assert as_(bob).post(ADD, given(pem=private_key.pem.decode())).status_code == 403
    assert exchange.requests == []
    assert not ApiKey.objects.exists()


def test_the_list_says_what_a_key_can_do(alice: User, api_key: ApiKey) -> None:
    html = as_(alice).get("/x/sandbox/keys/").content.decode()

    assert "All rights, play money only" in html
    assert api_key.key_id in html
    assert "PRIVATE KEY" not in html


def test_removing_asks_first(alice: User, api_key: ApiKey) -> None:
    url = f"/x/sandbox/keys/{api_key.pk}/remove/"
    assert b"Remove trading?" in as_(alice).get(url).content
    assert ApiKey.objects.get().state == "active"

    assert just_logged_in(alice).post(url).status_code == 302
    assert ApiKey.objects.get().state == "removed"


def test_only_who_may_removes_pauses_or_lends(bob: User, mallory: User, api_key: ApiKey) -> None:
    for verb in ("remove", "pause", "lend", "take-back"):
        url = f"/x/sandbox/keys/{api_key.pk}/{verb}/"
        assert as_(bob).post(url).status_code == 403
        assert as_(mallory).post(url).status_code == 404
    assert ApiKey.objects.get().state == "active"


def test_a_paused_key_signs_nothing_until_it_is_resumed(alice: User, api_key: ApiKey) -> None:
    answer = just_logged_in(alice).post(f"/x/sandbox/keys/{api_key.pk}/pause/", follow=True)

    assert b"is paused; nothing is signed with it" in answer.content
    assert ApiKey.objects.get().state == "paused"


def test_a_lent_key_is_taken_back_with_its_button(alice: User, bob: User, api_key: ApiKey) -> None:
    url = f"/x/sandbox/keys/{api_key.pk}/take-back/"
    assert url.encode() not in as_(alice).get("/x/sandbox/keys/").content
    ApiKey.objects.update(is_feed=True)
    assert url.encode() in as_(alice).get("/x/sandbox/keys/").content
    assert url.encode() not in as_(bob).get("/x/sandbox/keys/").content
    assert as_(alice).post(url).headers["Location"].startswith("/accounts/reauthenticate/")
    assert ApiKey.objects.get().is_feed

    answer = just_logged_in(alice).post(url, follow=True)

    assert "reads the desk’s books no longer" in answer.content.decode()
    assert not ApiKey.objects.get().is_feed


def test_who_logged_in_long_ago_proves_to_be_there_first(alice: User, api_key: ApiKey) -> None:
    answer = as_(alice).post(f"/x/sandbox/keys/{api_key.pk}/remove/")

    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/accounts/reauthenticate/")
    assert ApiKey.objects.get().state == "active"


def test_what_lands_in_the_wrong_field_is_not_shown_again(
    exchange: ScriptedExchange, alice: User, account: Account, private_key: PrivateKey
) -> None:
    line = private_key.pem.decode().splitlines()[1]
    for wrong in ({"key_id": line[:99]}, {"name": f"-----BEGIN PRIVATE KEY----- {line}"[:79]}):
        answer = just_logged_in(alice).post(ADD, given(pem="nothing", **wrong))

        assert answer.status_code == 422
        assert line[:40].encode() not in answer.content


def test_an_id_as_the_exchange_writes_it_stays_in_the_form(
    exchange: ScriptedExchange, alice: User, account: Account
) -> None:
    answer = just_logged_in(alice).post(ADD, given(key_id="A952BCBE-EC3B-4B5B-B8F9-11DAE589608C", pem="nothing"))

    assert b'value="a952bcbe-ec3b-4b5b-b8f9-11dae589608c"' in answer.content
