"""Static files with hashed names, ES modules included.

Source: Django's `ManifestStaticFilesStorage`; the module patterns are the ones behind its
`support_js_module_import_aggregation`, limited to our own folder because the project-wide
switch fails on a package whose comments look like imports.
"""

from __future__ import annotations

from django.contrib.staticfiles.storage import ManifestStaticFilesStorage

_IMPORTS = ManifestStaticFilesStorage._js_module_import_aggregation_patterns[1]  # type: ignore[attr-defined]


class HashedStaticFiles(ManifestStaticFilesStorage):
    """Rewrites imports between our own modules, and leaves the modules of packages alone."""

    patterns = (*ManifestStaticFilesStorage.patterns, ("js/*.js", _IMPORTS))
