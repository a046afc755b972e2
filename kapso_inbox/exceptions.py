"""The root of every exception of this app, and the one for wrong settings.

What a call to Kapso raises is in `kapso_inbox.kapso`, what a change of an embed raises in
`kapso_inbox.lifecycle`, and what a stored secret raises in `kapso_inbox.encryption`.
"""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured


class KapsoInboxError(Exception):
    """The base class of every exception that this app raises by itself."""


class ConfigurationError(KapsoInboxError, ImproperlyConfigured):
    """A setting is missing, or its value cannot be used. The text names the setting.

    It is not a `KapsoError`, so that a handler for Kapso's failures does not hide a mistake in the
    settings.
    """
