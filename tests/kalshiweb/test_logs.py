"""Nothing that opens an account or a key reaches a log line, whichever way it was logged."""

from __future__ import annotations

import logging
import logging.config

import pytest
import structlog

from kalshiweb.logs import hide_secrets, logging_config, mask

KEY_TEXT = "-----BEGIN PRIVATE " + "KEY-----\nMIIabc\n-----END PRIVATE " + "KEY-----"


def test_a_private_key_in_a_text_is_masked_whole() -> None:
    assert mask(f"could not read {KEY_TEXT}, sorry") == "could not read [hidden], sorry"


def test_a_key_that_was_cut_off_is_masked_to_the_end() -> None:
    assert mask(KEY_TEXT[:40]) == "[hidden]"


def test_a_signature_header_is_masked() -> None:
    assert mask("sent {'KALSHI-ACCESS-SIGNATURE': 'abc=='}") == "sent {'[hidden]"


def test_a_log_in_link_is_masked() -> None:
    assert mask("GET /welcome/s3cr3t-token/ 200") == "GET /welcome/[hidden]/ 200"


def test_an_invitation_is_masked() -> None:
    assert mask("Unprocessable Entity: /join/s3cr3t-token") == "Unprocessable Entity: /join/[hidden]"


def test_an_ordinary_line_stays_as_it_is() -> None:
    assert mask("order 3b23c1c7 resting, 10.00 left") == "order 3b23c1c7 resting, 10.00 left"


@pytest.mark.parametrize("name", ["private_key", "password", "KALSHI-ACCESS-SIGNATURE", "session_cookie", "api_token"])
def test_a_value_under_a_telling_name_is_masked(name: str) -> None:
    assert hide_secrets(None, "info", {"event": "x", name: "value"}) == {"event": "x", name: "[hidden]"}


def test_a_traceback_that_quotes_a_key_is_masked(capsys: pytest.CaptureFixture[str]) -> None:
    config = logging_config(json=False, level="INFO")
    formatter = logging.config.DictConfigurator(config).configure_formatter(dict(config["formatters"]["lines"]))
    try:
        raise ValueError(KEY_TEXT)
    except ValueError as exc:
        record = logging.LogRecord("desk", logging.ERROR, __file__, 1, "failed", None, (type(exc), exc, None))

    line = formatter.format(record)

    assert "MIIabc" not in line
    assert "failed" in line
    structlog.reset_defaults()
