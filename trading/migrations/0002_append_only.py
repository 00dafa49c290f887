"""The record can only grow: the database itself refuses to change or remove an audit entry.

Django drops a table's triggers when it rebuilds the table on SQLite, so a later migration that alters `AuditEntry`
has to run `forbid_changes` again; a test of the finished tables fails otherwise.
"""

from __future__ import annotations

from django.db import migrations

TABLE = "trading_auditentry"
SQLITE = (
    f"DROP TRIGGER IF EXISTS {TABLE}_no_update",
    f"DROP TRIGGER IF EXISTS {TABLE}_no_delete",
    f"""CREATE TRIGGER {TABLE}_no_update BEFORE UPDATE ON {TABLE} BEGIN
        SELECT RAISE(ABORT, 'audit entries are append-only');
    END""",
    f"""CREATE TRIGGER {TABLE}_no_delete BEFORE DELETE ON {TABLE} BEGIN
        SELECT RAISE(ABORT, 'audit entries are append-only');
    END""",
)
POSTGRESQL = (
    # An empty table may be truncated: there is nothing to lose.
    f"""CREATE OR REPLACE FUNCTION {TABLE}_refuse() RETURNS trigger AS $$
    BEGIN
        IF TG_OP = 'TRUNCATE' AND NOT EXISTS (SELECT 1 FROM {TABLE}) THEN
            RETURN NULL;
        END IF;
        RAISE EXCEPTION 'audit entries are append-only';
    END $$ LANGUAGE plpgsql""",  # noqa: S608  (the table is named above)
    f"DROP TRIGGER IF EXISTS {TABLE}_no_change ON {TABLE}",
    f"DROP TRIGGER IF EXISTS {TABLE}_no_truncate ON {TABLE}",
    f"""CREATE TRIGGER {TABLE}_no_change BEFORE UPDATE OR DELETE ON {TABLE}
    FOR EACH ROW EXECUTE FUNCTION {TABLE}_refuse()""",
    f"""CREATE TRIGGER {TABLE}_no_truncate BEFORE TRUNCATE ON {TABLE}
    FOR EACH STATEMENT EXECUTE FUNCTION {TABLE}_refuse()""",
)


def forbid_changes(apps, schema_editor):
    """Create the triggers of this database's kind."""
    for statement in SQLITE if schema_editor.connection.vendor == "sqlite" else POSTGRESQL:
        schema_editor.execute(statement)


def allow_changes(apps, schema_editor):
    """Remove what `forbid_changes` made."""
    if schema_editor.connection.vendor == "sqlite":
        for statement in SQLITE[:2]:
            schema_editor.execute(statement)
    else:
        for statement in POSTGRESQL[1:3]:
            schema_editor.execute(statement)
        schema_editor.execute(f"DROP FUNCTION IF EXISTS {TABLE}_refuse()")


class Migration(migrations.Migration):
    dependencies = [("trading", "0001_initial")]

    operations = [migrations.RunPython(forbid_changes, allow_changes)]
