"""One finding, and what happens to all of them: limited in number, and without secrets."""

from __future__ import annotations

import logging
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import django
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from kapso_inbox import conf

logger = logging.getLogger(__name__)

Level = Literal["error", "warning", "info"]

_HERE = Path(__file__).parent
_PACKAGE = _HERE.parent
_DJANGO = Path(django.__file__).parent

#: At most this many findings of one code and project are listed. Nobody reads ten thousand.
MANY = 20


class AdminPage(NamedTuple):
    """A page of the admin on which a finding can be fixed.

    An app that brings its own findings names its own page here, so that the health page can lead
    there without knowing the app.

    Attributes:
        name: the name of its address, without the namespace `admin`.
        title: its title.
        hint: what to do there, in place of the finding's own hint.
    """

    name: str
    title: str
    hint: str


@dataclass(frozen=True)
class Finding:
    """One thing that the diagnosis found.

    Attributes:
        code: what was found, for programs; stable. A system check's code is the ID of the check.
        level: `error` keeps an inbox from opening or leaves one open that should not be; `warning`
            may lead to that; `info` is fine, or good to know.
        what: what was found, in words.
        hint: what to do about it, in words; "" if there is nothing to do.
        project: the alias of the Kapso project that it is about, or "".
        embed: the slug of the embed that it is about, or "".
        page: the page of the admin on which it can be fixed, if that is one of an app's own. Only
            for the health page; programs do not get it.
        details: what a developer should know of it besides, such as names of settings and IDs; "".
        more: how many more findings of this code and project there are than are listed, if it
            stands for those; 0 = it is one itself.
    """

    code: str
    level: Level
    what: str
    hint: str = ""
    project: str = ""
    embed: str = ""
    page: AdminPage | None = None
    details: str = ""
    more: int = 0


def _of_level(level: Level) -> Callable[..., Finding]:
    def make(
        code: str,
        what: str,
        hint: str = "",
        *,
        project: str = "",
        embed: str = "",
        page: AdminPage | None = None,
        details: str = "",
    ) -> Finding:
        return Finding(code, level, what, hint, project, embed, page, details)

    return make


error = _of_level("error")
warning = _of_level("warning")
info = _of_level("info")


def limit_each_kind(
    findings: Iterable[Finding], known: Mapping[tuple[str, str], int]
) -> Iterator[Finding]:
    """Yield at most `MANY` findings of each code and project, then how many more there are.

    Args:
        findings: the findings.
        known: code and project -> how many there are, if more than `findings` has. It is read when
            all findings were.
    """
    counts: Counter[tuple[str, str]] = Counter()
    last: dict[tuple[str, str], Finding] = {}
    for finding in findings:
        key = (finding.code, finding.project)
        counts[key] += 1
        if counts[key] <= MANY:
            yield finding
        else:
            last[key] = finding
    for key, finding in last.items():
        more = max(counts[key], known.get(key, 0)) - MANY
        what = ngettext("And %(more)d more like this.", "And %(more)d more like these.", more)
        yield replace(finding, what=what % {"more": more}, embed="", details="", more=more)


def group_by_code(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings with those of one code together, in the order of each code's first."""
    findings = list(findings)
    order = {code: place for place, code in enumerate(dict.fromkeys(one.code for one in findings))}
    return sorted(findings, key=lambda finding: order[finding.code])


def run_check(
    check: Callable[..., Iterator[Finding]], *args: Any, project: str = "", **kwargs: Any
) -> Iterator[Finding]:
    """Yield what a check finds. If the check itself fails, that is a finding and no exception."""
    try:
        yield from check(*args, **kwargs)
    except Exception as failure:  # noqa: BLE001 (one failure must not hide what others find)
        # Without the exception's text and chain: they could hold a secret.
        frames = traceback.extract_tb(failure.__traceback__)[1:]
        ours = [frame for frame in frames if frame.filename.startswith(str(_PACKAGE))]
        place = (ours or frames)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        kind = type(failure).__name__
        logger.error("The check %s failed: %s in %s", check.__name__, kind, where)
        yield error(
            "check-failed",
            _("The check “%(check)s” itself failed: %(kind)s in %(where)s.")
            % {"check": check.__name__, "kind": kind, "where": where},
            _(
                "Fix the other findings and check again. If this one remains, report it "
                "with this line to the authors of django-kapso-inbox."
            ),
            project=project,
        )


def name_failure(failure: BaseException) -> str:
    """Return an exception's class, and the line of this site's own code that it comes from.

    Without the exception's text and chain: they could hold a secret.
    """
    frames = traceback.extract_tb(failure.__traceback__)
    # The last line of Django's own code says little, if code of the site led there.
    own = [frame for frame in frames if not frame.filename.startswith((str(_DJANGO), str(_HERE)))]
    place = (own or frames)[-1:]
    where = [f"{'/'.join(Path(one.filename).parts[-2:])}:{one.lineno}" for one in place]
    return " ".join([type(failure).__name__, *where])


def without_secrets(finding: Finding) -> Finding:
    """Return the finding without any key of the settings and without control characters.

    No check puts a key into a finding. But parts of a finding come from elsewhere (names at Kapso,
    an alias that somebody typed), and people paste keys where they do not belong.
    """
    secrets = _configured_keys()

    def clean(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, "[secret]")
        return "".join(character if character.isprintable() else " " for character in text)

    return replace(
        finding,
        what=clean(finding.what),
        hint=clean(finding.hint),
        details=clean(finding.details),
        project=clean(finding.project),
        embed=clean(finding.embed),
    )


def _configured_keys() -> list[str]:
    """Return the configured keys, the longest first.

    Keys of fewer than 8 characters are left out: they could be ordinary words.
    """
    configured = [conf.value("API_KEY")]
    keys, projects = conf.value("ENCRYPTION_KEYS"), conf.value("PROJECTS")
    webhooks = conf.value("WEBHOOK_SECRETS")
    if isinstance(keys, Mapping):
        configured += keys.values()
    for own in webhooks.values() if isinstance(webhooks, Mapping) else ():
        configured += own if isinstance(own, list) else [own]
    if isinstance(projects, Mapping):
        configured += [own.get("API_KEY") for own in projects.values() if isinstance(own, Mapping)]
    secrets = {str(key) for key in configured if isinstance(key, str) and len(key) >= 8}
    return sorted(secrets, key=len, reverse=True)


def list_in_words(names: Iterable[str], most: int = 10) -> str:
    """Return the first names of a list in words, and how many more there are."""
    names = [name[:60] for name in names]
    listed = ", ".join(names[:most])
    more = len(names) - most
    return f"{listed} " + _("and %(more)d more") % {"more": more} if more > 0 else listed
