"""By which names browsers may call the desk, and which address a person is told."""

from __future__ import annotations

import pytest

from kalshiweb import origins
from kalshiweb.env import BadSetting

LOCAL = ["localhost", "127.0.0.1", "[::1]"]


@pytest.fixture(autouse=True)
def _no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KALSHIWEB_HOSTS", "KALSHIWEB_ORIGINS", "KALSHIWEB_HTTPS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("bind", ["127.0.0.1", "0.0.0.0", "::"])  # noqa: S104
def test_this_machines_names_are_accepted_and_no_others(bind: str) -> None:
    assert origins.hosts(bind) == LOCAL
    assert origins.told_url(bind, 8000) == "http://localhost:8000/"


@pytest.mark.parametrize(
    ("bind", "host"), [("127.0.0.2", "127.0.0.2"), ("192.0.2.7", "192.0.2.7"), ("2001:db8::7", "[2001:db8::7]")]
)
def test_the_one_address_that_is_listened_on_is_accepted_and_told(bind: str, host: str) -> None:
    assert origins.hosts(bind) == [host, *LOCAL]
    assert origins.origins(bind, 8000)[0] == f"http://{host}:8000"
    assert origins.told_url(bind, 8000) == f"http://{host}:8000/"
    assert origins.asked_host(bind) == host


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("[2001:0db8:0:0::07]", "2001:db8::7"),
        ("0:0:0:0:0:0:0:0", "::"),
        (" 127.0.0.1 ", "127.0.0.1"),
        ("desk.example.org", "desk.example.org"),
        ("[]", ""),
    ],
)
def test_an_address_is_written_as_browsers_write_it(given: str, written: str) -> None:
    assert origins.as_browsers_write(given) == written


def test_a_name_that_is_listened_on_is_not_accepted_by_that_alone() -> None:
    assert origins.hosts("desk.example.org") == LOCAL


@pytest.mark.parametrize("name", ["KALSHIWEB_HOSTS", "KALSHIWEB_ORIGINS"])
def test_a_list_of_nothing_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, " , ")

    with pytest.raises(BadSetting, match=f"{name} names nothing"):
        origins.told_url("127.0.0.1", 8000)


def test_named_hosts_are_the_only_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KALSHIWEB_HOSTS", "desk.example.org, other.example.org")

    assert origins.hosts("192.0.2.7") == ["desk.example.org", "other.example.org"]
    assert origins.told_url("192.0.2.7", 8000) == "http://desk.example.org:8000/"


def test_behind_https_the_address_has_no_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KALSHIWEB_HOSTS", "desk.example.org")
    monkeypatch.setenv("KALSHIWEB_HTTPS", "1")

    assert origins.origins("127.0.0.1", 8000) == ["https://desk.example.org"]
    assert origins.told_url("127.0.0.1", 8000) == "https://desk.example.org/"


@pytest.mark.parametrize(("pattern", "host"), [("*", "localhost"), (".example.org", "example.org")])
def test_a_pattern_of_hosts_is_asked_by_a_name_that_fits(
    monkeypatch: pytest.MonkeyPatch, pattern: str, host: str
) -> None:
    monkeypatch.setenv("KALSHIWEB_HOSTS", pattern)

    assert origins.asked_host("127.0.0.1") == host
    assert origins.told_url("127.0.0.1", 8000) == f"http://{host}:8000/"
