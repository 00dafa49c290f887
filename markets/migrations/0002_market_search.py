"""Full-text search over markets: FTS5 on SQLite, a GIN index on PostgreSQL.

On SQLite triggers keep the index in step with raw upserts too. Django drops a table's triggers when it
rebuilds the table, so a later migration that alters `Market` has to run `create_index` again; a test of
the search after all migrations fails otherwise.
"""

from __future__ import annotations

from django.db import migrations

SQLITE = (
    "DROP TABLE IF EXISTS markets_market_search",
    "DROP TRIGGER IF EXISTS markets_market_search_insert",
    "DROP TRIGGER IF EXISTS markets_market_search_update",
    "DROP TRIGGER IF EXISTS markets_market_search_delete",
    """CREATE VIRTUAL TABLE markets_market_search USING fts5(
        search_text, content='markets_market', content_rowid='id', prefix='2 3 4',
        tokenize='unicode61 remove_diacritics 2'
    )""",
    """CREATE TRIGGER markets_market_search_insert AFTER INSERT ON markets_market BEGIN
        INSERT INTO markets_market_search(rowid, search_text) VALUES (new.id, new.search_text);
    END""",
    """CREATE TRIGGER markets_market_search_delete AFTER DELETE ON markets_market BEGIN
        INSERT INTO markets_market_search(markets_market_search, rowid, search_text)
        VALUES ('delete', old.id, old.search_text);
    END""",
    """CREATE TRIGGER markets_market_search_update AFTER UPDATE OF search_text ON markets_market
    WHEN old.search_text <> new.search_text BEGIN
        INSERT INTO markets_market_search(markets_market_search, rowid, search_text)
        VALUES ('delete', old.id, old.search_text);
        INSERT INTO markets_market_search(rowid, search_text) VALUES (new.id, new.search_text);
    END""",
    "INSERT INTO markets_market_search(markets_market_search) VALUES ('rebuild')",
)
POSTGRESQL = (
    "CREATE INDEX IF NOT EXISTS market_search ON markets_market USING gin (to_tsvector('simple', search_text))",
)


def create_index(apps, schema_editor):
    """Create the index of this database's kind."""
    for statement in SQLITE if schema_editor.connection.vendor == "sqlite" else POSTGRESQL:
        schema_editor.execute(statement)


def drop_index(apps, schema_editor):
    """Remove what `create_index` made."""
    if schema_editor.connection.vendor == "sqlite":
        for statement in SQLITE[:4]:
            schema_editor.execute(statement)
    else:
        schema_editor.execute("DROP INDEX IF EXISTS market_search")


class Migration(migrations.Migration):
    dependencies = [("markets", "0001_initial")]

    operations = [migrations.RunPython(create_index, drop_index)]
