"""Readers of the environment: a wrong value is one sentence at the start."""

from __future__ import annotations

from pathlib import Path

import pytest

from kalshiweb import env


@pytest.mark.parametrize(
    ("raw", "expected"), [("1", True), ("Yes", True), ("off", False), ("FALSE", False), ("", False)]
)
def test_a_flag_reads_the_usual_words(monkeypatch: pytest.MonkeyPatch, raw: str, expected: bool) -> None:
    monkeypatch.setenv("KW_FLAG", raw)

    assert env.flag("KW_FLAG") is expected


def test_a_flag_refuses_other_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KW_FLAG", "maybe")

    with pytest.raises(env.BadSetting, match="KW_FLAG must be 1 or 0, not 'maybe'"):
        env.flag("KW_FLAG")


def test_a_number_refuses_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KW_PORT", "80a")

    with pytest.raises(env.BadSetting, match="whole number"):
        env.number("KW_PORT", 8000)


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KW_PORT", "  ")

    assert env.number("KW_PORT", 8000) == 8000


def test_names_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KW_HOSTS", "desk.example, 127.0.0.1,,")

    assert env.names("KW_HOSTS") == ["desk.example", "127.0.0.1"]


def test_a_choice_names_what_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KW_EXCHANGE", "live")

    with pytest.raises(env.BadSetting, match="one of sandbox, demo, not 'live'"):
        env.choice("KW_EXCHANGE", "sandbox", ("sandbox", "demo"))


def test_a_secret_comes_from_its_file_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from the file\n")
    monkeypatch.setenv("KW_SECRET", "from the variable")
    monkeypatch.setenv("KW_SECRET_FILE", str(tmp_path / "secret"))

    assert env.secret("KW_SECRET") == "from the file"


def test_a_secret_whose_file_is_missing_fails_without_showing_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KW_SECRET", "from the variable")
    monkeypatch.setenv("KW_SECRET_FILE", str(tmp_path / "missing"))

    with pytest.raises(env.BadSetting) as caught:
        env.secret("KW_SECRET")
    assert "from the variable" not in str(caught.value)


@pytest.mark.parametrize("url", ["https://api.example/v2", "http://127.0.0.1:8790/v2", "http://localhost/v2"])
def test_an_exchange_may_be_secure_or_on_this_machine(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("KW_REST", url + "/")

    assert env.exchange_url("KW_REST", "", schemes=("https", "http")) == url


@pytest.mark.parametrize("url", ["http://api.example/v2", "ftp://127.0.0.1/", "https://", "127.0.0.1:8790"])
def test_an_exchange_in_clear_text_elsewhere_is_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("KW_REST", url)

    with pytest.raises(env.BadSetting, match="must be a https:// address"):
        env.exchange_url("KW_REST", "", schemes=("https", "http"))


@pytest.mark.parametrize(
    "text",
    ["postgres://desk:hunter2/ss@db/desk", "hunter2", "hunter2://db/desk", "postgres://desk:pw@db:hunter2/desk"],
)
def test_a_databases_address_that_cannot_be_read_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", text)

    with pytest.raises(env.BadSetting, match="DATABASE_URL cannot be read") as refusal:
        env.database("DATABASE_URL")

    assert "unter2" not in str(refusal.value)
    assert refusal.value.__suppress_context__ or refusal.value.__context__ is None
    assert capsys.readouterr() == ("", "")


def test_a_databases_address_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://desk:a%2Fb@db:5433/book")

    found = env.database("DATABASE_URL")

    assert (found["ENGINE"], found["NAME"]) == ("django.db.backends.postgresql", "book")
    assert (found["USER"], found["PASSWORD"], found["HOST"], found["PORT"]) == ("desk", "a/b", "db", 5433)
