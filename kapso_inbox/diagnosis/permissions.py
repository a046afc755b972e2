"""Whether the site's Permissions-Policy gives the inbox what its frame asks for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from django.conf import settings
from django.utils.translation import gettext as _

from kapso_inbox import conf
from kapso_inbox.csp import FRAME_FEATURES
from kapso_inbox.origins import covers, parse_origin

from .findings import Finding, list_in_words, warning
from .this_site import origins_in_settings

_Allowlists = Mapping[str, Iterable[str]]


def permissions_policy_findings() -> Iterator[Finding]:
    """Check the setting of django-permissions-policy."""
    configured = getattr(settings, "PERMISSIONS_POLICY", None)
    if isinstance(configured, Mapping):
        allowlists = {
            str(feature): [value] if isinstance(value, str) else list(value or ())
            for feature, value in configured.items()
        }
        yield from _withheld(allowlists, "PERMISSIONS_POLICY")


def permissions_header_findings(header: str, sender: str) -> Iterator[Finding]:
    """Check the header of an answer.

    Args:
        header: the header's value; "" if there is none.
        sender: the middleware that sets it.
    """
    # No feature's list holds a comma.
    pairs = [entry.partition("=") for entry in header.split(",")]
    allowlists = {
        feature.strip(): re.sub(r"[()\"]", " ", value.partition(";")[0]).split()
        for feature, _equals, value in pairs
    }
    yield from _withheld(allowlists, sender)


def _withheld(allowlists: _Allowlists, source: str) -> Iterator[Finding]:
    """Yield a finding if a policy withholds a feature from the inbox.

    A feature that the policy does not name is this site's own, which the frame passes on. One that
    it names must be allowed to both: the site and the inbox (Permissions Policy, 9.5).
    """
    names = {name: list(allowlists[name]) for name in FRAME_FEATURES if name in allowlists}
    withheld = [name for name, sources in names.items() if not _includes_inbox(sources)]
    if withheld:
        origins = " ".join(f'"{origin}"' for origin in conf.inbox_origins())
        yield warning(
            "permissions-policy-withholds",
            _(
                "The Permissions-Policy of %(source)s withholds these from the inbox: "
                "%(features)s. Voice messages, copying or full screen will not work."
            )
            % {"source": source, "features": list_in_words(withheld)},
            _("On the pages that show an inbox, the header has to allow: %(needed)s")
            % {"needed": ", ".join(f"{name}=(self {origins})" for name in withheld)},
        )


def _includes_inbox(sources: list[str]) -> bool:
    if "*" in sources:
        return True
    here = "self" in sources or any(
        covers(source, origin) for source in sources for origin in origins_in_settings()
    )
    inboxes = filter(None, map(parse_origin, conf.inbox_origins()))
    return here and all(any(covers(source, one) for source in sources) for one in inboxes)
