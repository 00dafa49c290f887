"""What must be true before a desk serves: tables, static files, first people. Each is safe to repeat."""

from __future__ import annotations

import hashlib
import logging
from importlib.metadata import version
from pathlib import Path

from django.conf import settings
from django.core.checks import Tags, run_checks
from django.core.management import call_command
from django.db import OperationalError, connection
from django.db.migrations.executor import MigrationExecutor

logger = logging.getLogger(__name__)

PACKAGES_WITH_STATIC_FILES = ("django", "django-allauth", "django-htmx")


class CannotPrepare(Exception):
    """A step failed; the text is one line for the operator, the traceback is in the log."""


class NotYet(Exception):
    """What a step needs is not there; the text is one line for the operator, and the part is to be started again."""


def migrate() -> None:
    """Bring the tables to this version; quick where they are. Raises NotYet where the database does not answer."""
    try:
        connection.ensure_connection()
    except OperationalError as exc:
        raise NotYet(f"The database does not answer: {' '.join(str(exc).split())}") from None
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        call_command("migrate", interactive=False, verbosity=0)
    # The feed goes on in threads with connections of their own.
    connection.close()


def check_doors() -> None:
    """Refuse to serve with settings that the security checks call errors: nobody has to remember `manage.py check`."""
    errors = [found for found in run_checks(tags=[Tags.security]) if found.is_serious()]
    connection.close()
    if errors:
        raise CannotPrepare(" ".join(f"{error.msg} {error.hint or ''}".strip() for error in errors))


def seal_second_factors() -> None:
    """Seal what a version before this one left in the clear; without a usable master key the desk starts all the same.

    Not a migration: those run where there may be no master keys, once, and on code that is frozen.
    """
    from kalshiweb import second_factor
    from trading.ring import CannotOpen

    try:
        if count := second_factor.seal_all():
            logger.info("%d second factors were sealed", count)
    except CannotOpen as exc:
        logger.error("second factors could not be sealed: %s", exc)
    finally:
        connection.close()


def collect_static() -> None:
    """Gather and hash static files, unless nothing changed since the last time."""
    stamp = Path(settings.STATIC_ROOT) / ".digest"
    digest = static_digest()
    if stamp.is_file() and stamp.read_text() == digest:
        return
    call_command("collectstatic", interactive=False, verbosity=0)
    stamp.write_text(digest)


def static_digest() -> str:
    """Return a digest of our static files and of the packages that bring theirs."""
    found = hashlib.sha256()
    for package in PACKAGES_WITH_STATIC_FILES:
        found.update(f"{package}=={version(package)}\n".encode())
    for folder in settings.STATICFILES_DIRS:
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file():
                found.update(f"{path.relative_to(folder)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return found.hexdigest()


def first_run() -> str | None:
    """Give a new desk on the local exchange its team, owner and key; return the path of a log-in link, or None."""
    credentials = settings.KALSHIWEB_DATA_DIR / "sandbox" / "credentials"
    if settings.ENVIRONMENT != "sandbox" or not credentials.is_dir():
        return None
    from trading import setup
    from trading.keys import KeyRefused

    try:
        return setup.first_run(environment=settings.ENVIRONMENT, credentials_dir=credentials)
    except KeyRefused as exc:
        raise CannotPrepare(str(exc)) from exc


def first_catalogue() -> None:
    """List the local exchange's few markets before anybody looks for one; a real exchange's take minutes.

    Those, and a pass that fails, are left to the worker.
    """
    if settings.ENVIRONMENT != "sandbox":
        return
    from markets import sync
    from markets.kalshi.errors import KalshiError
    from markets.source import open_source

    if not sync.claim(settings.ENVIRONMENT):
        return
    try:
        with open_source(settings.ENVIRONMENT) as source:
            sync.Sync(settings.ENVIRONMENT, source).run()
    except KalshiError as exc:
        logger.warning("the local exchange's markets are not all listed yet: %s", exc)
    finally:
        sync.release(settings.ENVIRONMENT)
        connection.close()
