"""What the tests of the deployment share: a Valkey of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kalshiweb.valkeys import RunningValkey, valkey_in


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[RunningValkey]:
    """Return a server of the test's own, to be killed and started at will."""
    with valkey_in(tmp_path) as server:
        yield server
