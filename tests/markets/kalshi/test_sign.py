"""Signatures are verified with the public key; keys are read as people paste them, and refused without an echo."""

from __future__ import annotations

import base64
import hashlib
import pickle
import time

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from markets.kalshi.errors import BadKey, RefusedByUs
from markets.kalshi.signing import (
    Signer,
    check_destination,
    fingerprint,
    key_type,
    load_checked_pem,
    load_private_key,
    pem_of,
)

PATH = "/trade-api/v2/portfolio/orders"
PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)


def pkcs1(key: rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()


def pkcs8(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def test_an_rsa_signature_covers_time_method_and_path_without_query(rsa_key: rsa.RSAPrivateKey) -> None:
    headers = Signer("key-1", rsa_key).headers("get", f"{PATH}?limit=5", now_ms=1_795_356_000_123)

    assert headers["KALSHI-ACCESS-KEY"] == "key-1"
    assert headers["KALSHI-ACCESS-TIMESTAMP"] == "1795356000123"
    signature = base64.b64decode(headers["KALSHI-ACCESS-SIGNATURE"], validate=True)
    text = b"1795356000123GET/trade-api/v2/portfolio/orders"
    rsa_key.public_key().verify(signature, text, PSS, hashes.SHA256())
    with pytest.raises(InvalidSignature):
        rsa_key.public_key().verify(signature, text + b"?limit=5", PSS, hashes.SHA256())


def test_an_ed25519_key_signs_the_same_text(ed25519_key: ed25519.Ed25519PrivateKey) -> None:
    headers = Signer("key-1", ed25519_key).headers("DELETE", PATH, now_ms=1)

    signature = base64.b64decode(headers["KALSHI-ACCESS-SIGNATURE"])
    assert len(signature) == 64
    ed25519_key.public_key().verify(signature, b"1DELETE" + PATH.encode())


def test_without_a_time_the_clock_is_used_in_ms(signer: Signer) -> None:
    before = time.time_ns() // 1_000_000
    stamp = int(signer.headers("GET", PATH)["KALSHI-ACCESS-TIMESTAMP"])
    assert before <= stamp <= time.time_ns() // 1_000_000


def test_a_signer_shows_nothing_and_goes_nowhere(signer: Signer) -> None:
    assert repr(signer) == "Signer(…)"
    with pytest.raises(TypeError):
        pickle.dumps(signer)


@pytest.mark.parametrize("key_id", ["", "  ", "a\r\nX-Evil: 1", "ключ"])
def test_a_key_id_must_be_fit_for_a_header(key_id: str, ed25519_key: ed25519.Ed25519PrivateKey) -> None:
    with pytest.raises(BadKey):
        Signer(key_id, ed25519_key)


@pytest.mark.parametrize(
    "worn",
    [
        pytest.param(lambda pem: pem, id="as it is"),
        pytest.param(lambda pem: pem.replace("\n", "\r\n"), id="CRLF"),
        pytest.param(lambda pem: pem.rstrip("\n"), id="no last newline"),
        pytest.param(lambda pem: pem.replace("\n", " "), id="one line"),
        pytest.param(lambda pem: pem.replace("\n", ""), id="one line without spaces"),
        pytest.param(lambda pem: pem.replace("\n", "\\n"), id="copied out of JSON"),
        pytest.param(lambda pem: f"\ufeff\n  {pem}\n\n", id="with a BOM and blank lines"),
    ],
)
def test_a_key_is_read_however_it_was_pasted(
    worn: object, rsa_key: rsa.RSAPrivateKey, ed25519_key: ed25519.Ed25519PrivateKey
) -> None:
    for key, pem in ((rsa_key, pkcs1(rsa_key)), (rsa_key, pkcs8(rsa_key)), (ed25519_key, pkcs8(ed25519_key))):
        read = load_private_key(worn(pem))  # type: ignore[operator]
        assert fingerprint(read) == fingerprint(key)
        assert fingerprint(load_checked_pem(worn(pem).encode())) == fingerprint(key)  # type: ignore[operator]


def test_the_kind_is_told_by_the_key_and_the_fingerprint_by_its_public_half(
    rsa_key: rsa.RSAPrivateKey, ed25519_key: ed25519.Ed25519PrivateKey
) -> None:
    assert (key_type(rsa_key), key_type(ed25519_key)) == ("rsa", "ed25519")
    public = ed25519_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert fingerprint(ed25519_key) == hashlib.sha256(public).hexdigest()
    assert fingerprint(load_private_key(pem_of(rsa_key))) == fingerprint(rsa_key)


def bad_keys() -> list[tuple[str, str, str]]:
    small = rsa.generate_private_key(public_exponent=65_537, key_size=1024)  # noqa: S505 - it is to be refused
    edwards = ed25519.Ed25519PrivateKey.generate()
    curve = ec.generate_private_key(ec.SECP256R1())
    locked = edwards.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")).decode()
    public = edwards.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    ssh = edwards.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    other = curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    good = pkcs8(edwards)
    return [
        ("nothing", "", "no private key"),
        ("words", "my secret key", "no private key"),
        ("half of it", good[:60], "no private key"),
        ("body broken", good.replace("MC4C", "AAAA"), "cannot be read"),
        ("two keys", good + good, "more than one"),
        ("public", public, "public key"),
        ("locked", locked, "password"),
        ("small", pkcs8(small), "2048"),
        ("curve", other, "another kind"),
        ("ssh", ssh, "SSH"),
        ("long", good + "x" * 70_000, "too long"),
    ]


@pytest.mark.parametrize(("name", "text", "sentence"), bad_keys(), ids=lambda value: str(value)[:12])
def test_a_bad_key_is_refused_with_one_sentence_that_repeats_nothing_of_it(name: str, text: str, sentence: str) -> None:
    with pytest.raises(BadKey, match=sentence) as refused:
        load_private_key(text)

    said = str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None
    assert all(line not in said for line in text.splitlines() if len(line) > 12 and "-----" not in line)


def test_a_damaged_rsa_key_is_found_at_its_upload(rsa_key: rsa.RSAPrivateKey) -> None:
    numbers = rsa_key.private_numbers()
    damaged = rsa.RSAPrivateNumbers(
        numbers.p, numbers.q, numbers.d, numbers.dmp1 + 2, numbers.dmq1, numbers.iqmp, numbers.public_numbers
    ).private_key(unsafe_skip_rsa_key_validation=True)

    with pytest.raises(BadKey):
        load_private_key(pkcs8(damaged))


@pytest.mark.parametrize(
    "url",
    [
        "http://external-api.kalshi.com/trade-api/v2",
        "https://evil.example/trade-api/v2",
        "https://user:pw@external-api.kalshi.com/trade-api/v2",
        "https://external-api.kalshi.com.evil.example/trade-api/v2",
        "https://external-api.kalshi.com/trade-api/v2?x=1",
        "ftp://127.0.0.1/",
        "http://127.0.0.1.evil.example/",
        "",
    ],
)
def test_a_signature_goes_to_no_other_host_and_never_in_the_clear(url: str) -> None:
    with pytest.raises(RefusedByUs):
        check_destination(url, hosts={"external-api.kalshi.com", "127.0.0.1"}, scheme="https")


def test_tls_to_a_listed_host_and_this_machine_are_fine() -> None:
    hosts = {"external-api.kalshi.com", "127.0.0.1"}
    url = "https://external-api.kalshi.com/trade-api/v2"
    assert check_destination(url + "/", hosts=hosts, scheme="https") == url
    assert check_destination("ws://127.0.0.1:8790/x", hosts=None, scheme="wss") == "ws://127.0.0.1:8790/x"
