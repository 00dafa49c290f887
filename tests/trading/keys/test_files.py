"""Whatever file is given for a key, the answer is a key or one sentence that repeats none of it."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from markets.kalshi.errors import BadKey
from markets.kalshi.signing import load_private_key
from tests.trading.keyexchange import KeyExchange, MadeKey, pem_of
from tests.trading.keys.conftest import GOOD, KEY_ID, PUBLIC, add
from trading import clients, keys
from trading.keys import KeyRefused
from trading.setup import Desk

pytestmark = pytest.mark.django_db


def wrong_files() -> list[tuple[str | bytes, str]]:
    """Return what people paste instead of their private key, and the words that tell them."""
    locked = serialization.BestAvailableEncryption(b"password")
    body = GOOD.splitlines()[1]
    traditional, plain = serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    elliptic = ec.generate_private_key(ec.SECP256R1())
    ssh = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, plain
    )
    return [
        ("", "There is no private key in it"),
        (KEY_ID, "There is no private key in it"),
        (body, "There is no private key in it"),
        (GOOD.partition("-----END")[0], "There is no private key in it"),
        (PUBLIC, "This is a public key; the private key is needed"),
        (GOOD + GOOD, "more than one key"),
        (GOOD + PUBLIC, "more than one key"),
        (pem_of(Ed25519PrivateKey.generate(), locked), "locked with a password"),
        (pem_of(elliptic), "a key of another kind"),
        (elliptic.private_bytes(serialization.Encoding.PEM, traditional, plain), "a key of another kind"),
        (pem_of(X25519PrivateKey.generate()), "a key of another kind"),
        (pem_of(dsa.generate_private_key(1024)), "a key of another kind"),  # noqa: S505
        (pem_of(rsa.generate_private_key(public_exponent=65537, key_size=1024)), "2048 to 8192 bits"),  # noqa: S505
        (ssh, "a key for SSH"),
        (GOOD.replace(body, body[:-8]), "cannot be read"),
        (GOOD.replace("PRIVATE KEY", "CERTIFICATE"), "a public key"),
        (GOOD.encode("utf-16"), "There is no private key in it"),
        (b"PK\x03\x04" + bytes(range(256)), "There is no private key in it"),
        ("A" * 1_000_000, "too long"),
        (GOOD.replace(body, body[:20] + "\0" + body[20:]), "cannot be read"),
    ]


@pytest.mark.parametrize(("pem", "words"), wrong_files(), ids=range(20))
def test_a_wrong_file_is_told_in_one_sentence_that_repeats_none_of_it(
    desk: Desk, exchange: KeyExchange, pem: str | bytes, words: str
) -> None:
    with pytest.raises(KeyRefused, match=words) as refusal:
        add(desk, MadeKey(KEY_ID, pem))  # type: ignore[arg-type]

    assert str(refusal.value).count(".") == 1
    assert not shares_a_window(str(refusal.value), pem)
    assert exchange.heard == []


@pytest.mark.parametrize(
    "pem", [GOOD.replace("\n", "\r\n"), GOOD.rstrip("\n"), GOOD.replace("\n", " "), f"\n\n  {GOOD}", GOOD.encode()]
)
def test_a_right_file_is_read_however_it_was_pasted(desk: Desk, exchange: KeyExchange, pem: str | bytes) -> None:
    made = exchange.make_key(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))

    key = keys.add(desk.owner, account=desk.account, name="pasted", key_id=made.key_id, pem=pem)

    assert key.is_usable


mutations = st.one_of(
    st.binary(max_size=400),
    st.text(max_size=400),
    st.tuples(st.integers(0, len(GOOD) - 1), st.text(min_size=1, max_size=30)).map(
        lambda change: GOOD[: change[0]] + change[1] + GOOD[change[0] + 1 :]
    ),
    st.tuples(st.integers(0, len(GOOD)), st.integers(0, len(GOOD))).map(lambda cut: GOOD[min(cut) : max(cut)]),
    st.sampled_from(["RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "DSA PRIVATE KEY", "X509 CRL"]).map(
        lambda label: GOOD.replace("PRIVATE KEY", label)
    ),
)


@hypothesis_settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pem=mutations)
@example(pem=GOOD[:-1] + "\x00")
def test_no_file_whatever_gets_another_answer_than_a_key_or_a_sentence(pem: str | bytes) -> None:
    try:
        clients.describe("sandbox", KEY_ID, pem)
        load_private_key(pem)
    except BadKey as exc:
        assert str(exc).endswith(".")
        assert not shares_a_window(str(exc), pem, length=12)
        assert exc.__cause__ is None
        assert exc.__context__ is None


def shares_a_window(said: str, given: str | bytes, *, length: int = 20) -> bool:
    """Say whether a sentence repeats a piece of what was given; the PEM's own labels do not count."""
    text = given.decode("latin-1") if isinstance(given, bytes) else given
    return any(text[at : at + length] in said for at in range(len(text) - length + 1))
