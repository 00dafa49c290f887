"""The record may lose its oldest rows to a signed archive, and nothing else: the guards of 0002 made anew.

A row may be deleted only where an archive covers it and the record itself tells of that archive. Archives are
append-only too, and one begins where the one before it ends and ends at a row that is there. On SQLite a row is also
kept from being replaced: `INSERT OR REPLACE` removes the old one without asking the triggers of deletion.

Django drops a table's triggers when it rebuilds the table on SQLite, so a later migration that alters either table has
to run this `forbid_changes` again; a test of the finished tables fails otherwise.
"""

# ruff: noqa: S608  (what is put into a statement are the two tables' names and the schema's)

from __future__ import annotations

from importlib import import_module

import django.db.models.deletion
from django.db import migrations, models

TABLE = "trading_auditentry"
ARCHIVES = "trading_archive"
WHY = "audit entries are append-only"
WHY_ARCHIVES = "archives of the record are append-only"
WHY_FITS = "an archive takes the oldest rows that there are"


def covered(row, schema=""):
    """Return the condition under which a row may go."""
    return f"""EXISTS (
        SELECT 1 FROM {schema}{ARCHIVES} archive JOIN {schema}{TABLE} told
            ON told.team_id = archive.team_id AND told.subject = 'archive:' || archive.id
        WHERE archive.team_id = {row}.team_id AND {row}.number BETWEEN archive.first AND archive.through
            AND told.action = 'audit.archived' AND told.number > archive.through
    )"""


def fits(schema=""):
    """Return the condition under which an archive may come."""
    return f"""NEW.through >= NEW.first
        AND NEW.first = 1 + COALESCE((SELECT MAX(through) FROM {schema}{ARCHIVES} WHERE team_id = NEW.team_id), 0)
        AND EXISTS (SELECT 1 FROM {schema}{TABLE} last
            WHERE last.team_id = NEW.team_id AND last.number = NEW.through AND last.hash = NEW.hash)"""


SQLITE = {
    f"{TABLE}_no_update": f"BEFORE UPDATE ON {TABLE} BEGIN SELECT RAISE(ABORT, '{WHY}'); END",
    f"{TABLE}_no_delete": f"""BEFORE DELETE ON {TABLE} WHEN NOT {covered("OLD")}
        BEGIN SELECT RAISE(ABORT, '{WHY}'); END""",
    f"{TABLE}_no_replace": f"""BEFORE INSERT ON {TABLE}
        WHEN EXISTS (SELECT 1 FROM {TABLE} WHERE id = NEW.id)
            OR EXISTS (SELECT 1 FROM {TABLE} WHERE team_id = NEW.team_id AND number = NEW.number)
        BEGIN SELECT RAISE(ABORT, '{WHY}'); END""",
    f"{ARCHIVES}_no_update": f"BEFORE UPDATE ON {ARCHIVES} BEGIN SELECT RAISE(ABORT, '{WHY_ARCHIVES}'); END",
    f"{ARCHIVES}_no_delete": f"BEFORE DELETE ON {ARCHIVES} BEGIN SELECT RAISE(ABORT, '{WHY_ARCHIVES}'); END",
    f"{ARCHIVES}_fits": f"""BEFORE INSERT ON {ARCHIVES}
        WHEN NOT ({fits()}) OR EXISTS (SELECT 1 FROM {ARCHIVES} WHERE id = NEW.id)
        BEGIN SELECT RAISE(ABORT, '{WHY_FITS}'); END""",
}


def postgresql(schema):
    """Return the functions and triggers; tables are named with their schema, so that no temporary table stands in."""
    # An empty table may be truncated: there is nothing to lose.
    return (
        f"""CREATE OR REPLACE FUNCTION {TABLE}_refuse() RETURNS trigger AS $$
        BEGIN
            IF TG_OP = 'TRUNCATE' AND NOT EXISTS (SELECT 1 FROM {schema}{TABLE}) THEN
                RETURN NULL;
            END IF;
            IF TG_OP = 'DELETE' THEN
                IF {covered("OLD", schema)} THEN
                    RETURN OLD;
                END IF;
            END IF;
            RAISE EXCEPTION '{WHY}';
        END $$ LANGUAGE plpgsql""",
        f"""CREATE OR REPLACE FUNCTION {ARCHIVES}_refuse() RETURNS trigger AS $$
        BEGIN
            IF TG_OP = 'TRUNCATE' AND NOT EXISTS (SELECT 1 FROM {schema}{ARCHIVES}) THEN
                RETURN NULL;
            END IF;
            RAISE EXCEPTION '{WHY_ARCHIVES}';
        END $$ LANGUAGE plpgsql""",
        f"""CREATE OR REPLACE FUNCTION {ARCHIVES}_fit() RETURNS trigger AS $$
        BEGIN
            IF {fits(schema)} THEN
                RETURN NEW;
            END IF;
            RAISE EXCEPTION '{WHY_FITS}';
        END $$ LANGUAGE plpgsql""",
        *(
            statement
            for table in (TABLE, ARCHIVES)
            for statement in (
                f"DROP TRIGGER IF EXISTS {table}_no_change ON {table}",
                f"DROP TRIGGER IF EXISTS {table}_no_truncate ON {table}",
                f"""CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE ON {table}
                FOR EACH ROW EXECUTE FUNCTION {table}_refuse()""",
                f"""CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table}
                FOR EACH STATEMENT EXECUTE FUNCTION {table}_refuse()""",
            )
        ),
        f"DROP TRIGGER IF EXISTS {ARCHIVES}_fits ON {ARCHIVES}",
        f"CREATE TRIGGER {ARCHIVES}_fits BEFORE INSERT ON {ARCHIVES} FOR EACH ROW EXECUTE FUNCTION {ARCHIVES}_fit()",
    )


def forbid_changes(apps, schema_editor):
    """Create the triggers of this database's kind, in place of older ones."""
    connection = schema_editor.connection
    if connection.vendor == "sqlite":
        for name, body in SQLITE.items():
            schema_editor.execute(f"DROP TRIGGER IF EXISTS {name}")
            schema_editor.execute(f"CREATE TRIGGER {name} {body}")
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_schema()")
        schema = connection.ops.quote_name(cursor.fetchone()[0]) + "."
    for statement in postgresql(schema):
        schema_editor.execute(statement, None)


def allow_changes(apps, schema_editor):
    """Remove what `forbid_changes` made."""
    if schema_editor.connection.vendor == "sqlite":
        for name in SQLITE:
            schema_editor.execute(f"DROP TRIGGER IF EXISTS {name}")
        return
    for table in (TABLE, ARCHIVES):
        for name in ("no_change", "no_truncate", "fits"):
            schema_editor.execute(f"DROP TRIGGER IF EXISTS {table}_{name} ON {table}")
    for name in (f"{TABLE}_refuse", f"{ARCHIVES}_refuse", f"{ARCHIVES}_fit"):
        schema_editor.execute(f"DROP FUNCTION IF EXISTS {name}()")


def forbid_all_changes(apps, schema_editor):
    """Go back to 0002; rows that are in an archive stay there, so this is refused once there is one."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*) FROM {ARCHIVES}")
        if cursor.fetchone()[0]:
            raise RuntimeError("The record has archives: without their table it could not be verified any more.")
    allow_changes(apps, schema_editor)
    import_module("trading.migrations.0002_append_only").forbid_changes(apps, schema_editor)


class Migration(migrations.Migration):
    dependencies = [("trading", "0004_order_account_updated")]

    operations = [
        migrations.CreateModel(
            name="Archive",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "first",
                    models.BigIntegerField(help_text="Number of its first row: the one after the archive before it."),
                ),
                (
                    "through",
                    models.BigIntegerField(help_text="Number of its last row, where a signed checkpoint ends."),
                ),
                (
                    "previous_hash",
                    models.CharField(blank=True, default="", help_text="Of the row before the first.", max_length=64),
                ),
                (
                    "hash",
                    models.CharField(help_text="Hash of the last row, from which the chain goes on.", max_length=64),
                ),
                ("since", models.DateTimeField(help_text="When its first row was written.")),
                ("until", models.DateTimeField(help_text="When its last row was written.")),
                ("at", models.DateTimeField()),
                ("file", models.CharField(help_text="Name of the file, without its folder.", max_length=255)),
                ("digest", models.CharField(help_text="SHA-256 of the file.", max_length=64)),
                (
                    "previous",
                    models.CharField(
                        blank=True, default="", help_text="Signature of the archive before it.", max_length=128
                    ),
                ),
                ("signature", models.CharField(max_length=128)),
                (
                    "team",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="archives", to="trading.team"
                    ),
                ),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("team", "first"), name="archive_team_first")],
            },
        ),
        migrations.RunPython(forbid_changes, forbid_all_changes),
    ]
