"""One finding, and what all of them have in common: few, guarded and free of secrets."""

from __future__ import annotations

import logging
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from kapso_inbox import conf

logger = logging.getLogger(__name__)

Level = Literal["error", "warning", "info"]

_PACKAGE = Path(__file__).parent.parent

#: Of one code and project no more are told one by one. All of ten thousand would help nobody.
MANY = 20


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
        code: what it is, for programs; stable. A system check's is the check's id.
        level: `error` keeps an inbox from opening or leaves one open that should not be; `warning`
            may come to that; `info` is in order, or good to know.
        what: what was found, in words.
        mend: what to do about it, in words; "" where there is nothing to do.
        project: alias of the Kapso project that it is about, or "".
        embed: slug of the embed that it is about, or "".
    """

    code: str
    level: Level
    what: str
    mend: str = ""
    project: str = ""
    embed: str = ""


def _of_level(level: Level) -> Callable[..., Finding]:
    def make(
        code: str, what: str, mend: str = "", *, project: str = "", embed: str = ""
    ) -> Finding:
        return Finding(code, level, what, mend, project, embed)

    return make


error = _of_level("error")
warning = _of_level("warning")
info = _of_level("info")


def few(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Let through `MANY` of one code and project, and in the end say how many more there are."""
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
        more = counts[key] - MANY
        what = ngettext("And %(more)d more like this.", "And %(more)d more like these.", more)
        yield replace(finding, what=what % {"more": more}, embed="")


def together(findings: Iterable[Finding]) -> list[Finding]:
    """Return them with those of one code one after another, in the order of the first of each."""
    findings = list(findings)
    order = {code: place for place, code in enumerate(dict.fromkeys(one.code for one in findings))}
    return sorted(findings, key=lambda finding: order[finding.code])


def guarded(
    check: Callable[..., Iterator[Finding]], *args: Any, project: str = "", **kwargs: Any
) -> Iterator[Finding]:
    """Yield what a check finds; its own failure is a finding, too, and stops no other check."""
    try:
        yield from check(*args, **kwargs)
    except Exception as failure:  # noqa: BLE001 (whatever it is, the others are to be heard)
        # Neither its text nor its chain: nobody knows what they hold.
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
                "Put right what else is named here and look again. If it stays, report it to the "
                "authors of django-kapso-inbox with this line."
            ),
            project=project,
        )


def without_secrets(finding: Finding) -> Finding:
    """Return the finding with no key of the settings in it, and no control characters.

    No check puts a key into one. But parts of them come from elsewhere (names of Kapso's, an alias
    that somebody gave), and people paste keys where they do not belong.
    """
    secrets = _secrets()

    def clean(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, "[secret]")
        return "".join(character if character.isprintable() else " " for character in text)

    return replace(
        finding,
        what=clean(finding.what),
        mend=clean(finding.mend),
        project=clean(finding.project),
        embed=clean(finding.embed),
    )


def _secrets() -> list[str]:
    """The configured keys, the longest first; none so short that it is an ordinary word."""
    configured = [conf.value("API_KEY")]
    keys, projects = conf.value("ENCRYPTION_KEYS"), conf.value("PROJECTS")
    if isinstance(keys, Mapping):
        configured += keys.values()
    if isinstance(projects, Mapping):
        configured += [own.get("API_KEY") for own in projects.values() if isinstance(own, Mapping)]
    secrets = {str(key) for key in configured if isinstance(key, str) and len(key) >= 8}
    return sorted(secrets, key=len, reverse=True)


def named(names: Iterable[str], most: int = 10) -> str:
    """Return a list of names in words, the first few of them."""
    names = [name[:60] for name in names]
    told = ", ".join(names[:most])
    more = len(names) - most
    return f"{told} " + _("and %(more)d more") % {"more": more} if more > 0 else told


def about(alias: str) -> tuple[Callable[..., Finding], ...]:
    """Return `error`, `warning` and `info` for findings about one Kapso project."""
    return tuple(partial(make, project=alias) for make in (error, warning, info))
