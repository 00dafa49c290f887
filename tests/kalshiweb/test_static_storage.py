"""Hashed names reach the imports between our own modules, and leave other people's modules alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.files.base import ContentFile

from kalshiweb.static_storage import HashedStaticFiles


@pytest.fixture
def collected(tmp_path: Path) -> dict[str, str]:
    storage = HashedStaticFiles(location=str(tmp_path), base_url="/static/")
    sources = {
        "js/book.js": "export class Book {}\n",
        "js/market.js": 'import { Book } from "./book.js";\nnew Book();\n',
        "package/ext.js": '/** @type {import("../nowhere")} */\n',
    }
    for name, text in sources.items():
        storage.save(name, ContentFile(text.encode()))
    paths = {name: (storage, name) for name in sources}
    return {name: (tmp_path / str(hashed)).read_text() for name, hashed, _ in storage.post_process(paths)}


def test_an_import_between_our_modules_names_the_hashed_file(collected: dict[str, str]) -> None:
    assert 'from "./book.js"' not in collected["js/market.js"]
    assert 'from "./book.' in collected["js/market.js"]


def test_a_comment_in_a_package_is_not_taken_for_an_import(collected: dict[str, str]) -> None:
    assert 'import("../nowhere")' in collected["package/ext.js"]
