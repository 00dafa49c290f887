"""A key is never shown again and leaves nothing of itself anywhere: record, log, files, error pages."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.test import RequestFactory
from django.views.debug import ExceptionReporter, SafeExceptionReporterFilter
from django.views.decorators.debug import sensitive_variables

from kalshiweb.reporting import AlwaysSafe
from tests.trading.canary import database_files, is_found
from tests.trading.keyexchange import KeyExchange, MadeKey, pem_of
from tests.trading.keys.conftest import KEY_ID, PUBLIC, add
from trading import clients, keys
from trading.keys import KeyRefused
from trading.models import ApiKey, AuditEntry
from trading.setup import Desk

pytestmark = pytest.mark.django_db


@pytest.mark.django_db(transaction=True)
def test_nothing_of_a_key_is_found_anywhere_after_it_was_used(
    desk: Desk, exchange: KeyExchange, caplog: pytest.LogCaptureFixture, tmp_path: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    caplog.set_level(logging.DEBUG)
    canaries: list[Ed25519PrivateKey | rsa.RSAPrivateKey] = [Ed25519PrivateKey.generate(), rsa_key]

    told = [use_in_every_way(desk, exchange, exchange.make_key(canary)) for canary in canaries]

    told += [record.getMessage() + str(record.__dict__) for record in caplog.records]
    told += [str(entry.__dict__) for entry in AuditEntry.objects.all()]
    told += [repr(key.__dict__) for key in ApiKey.objects.all()]
    files = [*database_files(), *(path for path in tmp_path.rglob("*") if path.is_file())]
    haystacks = [text.encode("utf-8", "replace") for text in told] + [path.read_bytes() for path in files]
    assert len(files) >= 2
    assert not any(is_found(canary, haystacks) for canary in canaries)


@pytest.mark.parametrize("is_debug", [False, True])
@pytest.mark.parametrize("failing", ["clients.probe", "keys.pem_of", "keys.seal", "audit.record"])
def test_no_error_page_shows_anything_of_a_key(
    desk: Desk, exchange: KeyExchange, settings: Any, monkeypatch: pytest.MonkeyPatch, is_debug: bool, failing: str
) -> None:
    settings.DEBUG = is_debug
    monkeypatch.setattr(f"trading.{failing}", fail)
    canary = Ed25519PrivateKey.generate()

    pages = error_pages(desk, exchange.make_key(canary), AlwaysSafe())

    assert b"keys.py" in pages[0]
    assert not is_found(canary, pages)


def test_djangos_own_filter_would_show_it_under_debug(
    desk: Desk, exchange: KeyExchange, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DEBUG = True
    monkeypatch.setattr("trading.keys.seal", fail)
    canary = Ed25519PrivateKey.generate()

    pages = error_pages(desk, exchange.make_key(canary), SafeExceptionReporterFilter())

    assert is_found(canary, pages)


def error_pages(desk: Desk, made: MadeKey, chosen: SafeExceptionReporterFilter) -> list[bytes]:
    """Add a key where that fails, and return Django's pages about it."""
    request = RequestFactory().post("/x/sandbox/keys/add/")
    request.exception_reporter_filter = chosen
    with pytest.raises(ZeroDivisionError) as failure:
        add(desk, made)
    # Begin below the test's own frames, which hold the key.
    below = failure.value.__traceback__.tb_next.tb_next  # type: ignore[union-attr]
    report = ExceptionReporter(request, ZeroDivisionError, failure.value, below)
    return [report.get_traceback_html().encode(), report.get_traceback_text().encode()]


@sensitive_variables()
def fail(*args: Any, **kwargs: Any) -> None:
    """Fail in a way that nobody expects."""
    raise ZeroDivisionError


def test_a_planted_rsa_key_would_be_found(rsa_key: rsa.RSAPrivateKey) -> None:
    assert is_found(rsa_key, [pem_of(rsa_key).encode()])
    assert not is_found(rsa_key, [PUBLIC.encode()])


@pytest.mark.parametrize("form", ["pem", "der", "hex", "seed"])
def test_a_planted_key_would_be_found(form: str) -> None:
    key = Ed25519PrivateKey.generate()
    raw, plain = serialization.PrivateFormat.Raw, serialization.NoEncryption()
    seed = key.private_bytes(serialization.Encoding.Raw, raw, plain)
    der = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, plain)
    planted = {"pem": pem_of(key).encode(), "der": der, "hex": seed.hex().encode(), "seed": seed}[form]

    assert is_found(key, [b"a log line: " + planted + b" and more"])


def use_in_every_way(desk: Desk, exchange: KeyExchange, made: MadeKey) -> str:
    """Add a key well and badly, use it, damage it; return what was said meanwhile, tracebacks and objects included."""
    told = []
    for key_id, pem in [
        (KEY_ID, made.pem),
        (made.pem, made.pem),
        (made.key_id, made.pem[:-30]),
        (made.key_id, made.pem * 2),
    ]:
        try:
            add(desk, MadeKey(key_id, pem))
        except KeyRefused:
            told.append(traceback.format_exc())
    key = add(desk, made)
    with clients.rest_client(key, purpose="keys") as client:
        told.append(repr(vars(client)) + repr(client._transport._signer))
        client.balance()
    told.append(repr(exchange.heard) + repr(keys.check(key)) + repr(clients.probe_stored(key)))
    ApiKey.objects.filter(pk=key.pk).update(ciphertext=bytes(key.ciphertext)[:-1])
    try:
        clients.probe_stored(key.__class__.objects.get(pk=key.pk))
    except clients.CannotUse:
        told.append(traceback.format_exc())
    return "\n".join(told)
