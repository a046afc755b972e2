"""The findings of the health page: one entry for each cause, and the entries in groups."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.utils.translation import gettext as _

from kapso_inbox.models import InboxEmbed

if TYPE_CHECKING:
    from kapso_inbox.diagnosis import Finding

#: The levels of findings, in the order of the page.
LEVELS = ("error", "warning", "info")


@dataclass
class Entry:
    """What the page shows of a finding, or of several of one code about one embed.

    Attributes:
        findings: the findings.
        embed: the embed that they are about, if any.
        url: the address of that embed's page.
        what: what was found, with each embed by its name, as a link.
        buttons: its buttons: labels, addresses and verbs.
        hint: what to do, if that is not what a button does.
    """

    findings: list[Finding]
    embed: InboxEmbed | None
    url: str
    what: str
    buttons: list[dict[str, str]]
    hint: str

    @property
    def finding(self) -> Finding:
        """The first finding, which says all but the details of the others."""
        return self.findings[0]


@dataclass
class Group:
    """Entries under one heading.

    Attributes:
        title: the heading: the site, an inbox by name, or several inboxes with one cause.
        entries: the entries.
        url: the address that the heading leads to, if any.
        hint: what to do about all entries, if it is the same.
    """

    title: str
    entries: list[Entry]
    url: str = ""
    hint: str = ""

    @property
    def level(self) -> str:
        """The worst level of the entries."""
        return min((entry.finding.level for entry in self.entries), key=LEVELS.index)


def by_cause(findings: Iterable[Finding]) -> list[list[Finding]]:
    """Return the findings, with those of one code about one embed together.

    Each link of an embed has its own, and all of them are fixed at once.
    """
    together: dict[tuple[str, str, int], list[Finding]] = {}
    for number, finding in enumerate(findings):
        # What is about no embed is alone.
        alone = 0 if finding.embed else number
        together.setdefault((finding.code, finding.embed, alone), []).append(finding)
    return list(together.values())


def grouped(entries: Iterable[Entry]) -> list[Group]:
    """Return the entries by inbox. Where several have one cause, they are one group.

    What is about no inbox comes first among what is as bad. What stands for others that are not
    listed comes after those that are.
    """
    entries = list(entries)
    rest = [entry for entry in entries if entry.finding.more]
    # More than are listed are one group, whatever their buttons.
    in_short = {entry.finding.code for entry in rest}
    causes: defaultdict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.embed is not None and (entry.hint or entry.finding.code in in_short):
            causes[entry.finding.code, entry.hint].append(entry)
    site: list[Entry] = []
    shared: dict[tuple[str, str], Group] = {}
    inboxes: dict[int, Group] = {}
    for entry in entries:
        cause = entry.finding.code, entry.hint
        if entry.finding.more:
            continue
        if entry.embed is None:
            site.append(entry)
        elif len(causes.get(cause, [])) > 1:
            shared.setdefault(cause, Group(_("Several inboxes"), causes[cause], hint=entry.hint))
        else:
            group = inboxes.setdefault(entry.embed.pk, Group(entry.embed.name, [], entry.url))
            group.entries.append(entry)
    for group in inboxes.values():
        _show_each_button_once(group)
    groups = [*shared.values(), *sorted(inboxes.values(), key=lambda group: group.title)]
    for entry in rest:
        _append_to_its_kind(groups, entry)
    groups = [*([Group(_("This site and Kapso"), site)] if site else []), *groups]
    return sorted(groups, key=lambda group: LEVELS.index(group.level))


def _append_to_its_kind(groups: list[Group], entry: Entry) -> None:
    """Put an entry that stands for others after the last one of its code.

    Without any, such as those that were deleted in the meantime, it is a group of its own.
    """
    for group in reversed(groups):
        codes = [one.finding.code for one in group.entries]
        if entry.finding.code in codes:
            last = len(codes) - codes[::-1].index(entry.finding.code)
            group.entries.insert(last, entry)
            return
    groups.append(Group(_("Several inboxes"), [entry], hint=entry.finding.hint))


def _show_each_button_once(group: Group) -> None:
    """Leave each button of an inbox only beside the worst finding that it fixes."""
    seen: set[str] = set()
    for entry in group.entries:
        entry.buttons = [button for button in entry.buttons if button["url"] not in seen]
        seen.update(button["url"] for button in entry.buttons)
