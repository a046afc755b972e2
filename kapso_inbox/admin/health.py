"""The health page: what `kapso_doctor` says, each finding with the button that mends it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.utils.translation import gettext as _

from kapso_inbox.models import InboxEmbed

from .verbs import VERBS

if TYPE_CHECKING:
    from kapso_inbox.diagnosis import Finding

#: What is no verb of an embed's: to its form, to a new one, to a sync.
CHANGE, ADD, SYNC = "change", "add", "sync"

#: code of a finding -> what mends it. A setting is mended in the settings; for these there is none.
MENDS: Mapping[str, tuple[str, ...]] = {
    "embed-not-narrowed": ("revoke",),
    "embed-revoked": ("rotate", "delete"),
    "embed-without-link": ("rotate",),
    "encryption-key-missing": ("rotate",),
    "secret-lost": ("rotate",),
    "secret-unreadable": ("rotate",),
    "link-expired": ("extend",),
    "link-expires-soon": ("extend",),
    "link-revoked-at-kapso": ("refresh",),
    "link-unknown": ("resolve",),
    "creation-stuck": ("resolve",),
    # Not by "revoke", which ends every link: beside the one that waits, another may work.
    "revocation-stuck": ("resolve",),
    "link-unmanaged": ("adopt", "revoke"),
    "origins-any": (CHANGE,),
    "origins-local": (CHANGE,),
    "origins-miss-site": (CHANGE,),
    "origins-none": (CHANGE,),
    "no-embeds": (ADD,),
    "sync-not-running": (SYNC,),
}


@dataclass(frozen=True)
class Button:
    """Something to press beside a finding.

    Attributes:
        verb: of `VERBS`, or one of the three above.
        label: what it says.
        permission: of Django's for embeds, what it takes.
    """

    verb: str
    label: str
    permission: str


def buttons(finding: Finding) -> Iterable[Button]:
    """Return what mends a finding; nothing where it is mended in the settings or at Kapso."""
    for name in MENDS.get(finding.code, ()):
        if name == CHANGE:
            yield Button(name, _("Change its origins"), "change")
        elif name == ADD:
            yield Button(name, _("Add an inbox"), "add")
        elif name == SYNC:
            yield Button(name, _("Compare with Kapso now"), "change")
        else:
            yield Button(name, str(VERBS[name].label), VERBS[name].permission)


def mends(button: Button, embed: InboxEmbed | None) -> bool:
    """Say whether a button can do something now.

    Args:
        button: of a finding.
        embed: which one that finding is about, with its `condition`; None = about none.
    """
    if embed is None:
        return button.verb in (ADD, SYNC)
    return button.verb not in VERBS or not VERBS[button.verb].obstacle(embed)
