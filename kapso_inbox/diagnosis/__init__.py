"""What is wrong with an installation and what to do, for an administrator. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from django.views.decorators.debug import sensitive_variables

from kapso_inbox import conf

from . import project, site, stored
from .findings import Finding, Level, few, guarded, together, without_secrets

__all__ = ["Finding", "Level", "diagnose"]


@sensitive_variables()
def diagnose(
    projects: Iterable[str] | None = None,
    *,
    network: bool = True,
    tells: Callable[[Finding], bool] = lambda finding: True,
) -> list[Finding]:
    """Look at the settings, the site, Kapso's projects and every stored link.

    Writes nothing. Takes a number of queries that does not grow with the embeds, and at most two
    requests to Kapso for each project.

    Args:
        projects: aliases of the Kapso projects to look at; None = all that are configured, and all
            that an embed is of.
        network: whether Kapso may be asked.
        tells: whether the reader may know of a finding. What they may not is left out before the
            few of a kind are taken, so that it takes nobody's place.

    Returns:
        What was found, also what is in order: the settings first, then the site, then project by
        project Kapso's answers and what is stored. Of one kind and project at most a few, and how
        many more there are. No secret is in any of them.
    """
    wanted = None if projects is None else list(dict.fromkeys(projects))
    records: dict[str, stored.Stock] = {}
    # Before Kapso is asked, because it is asked for what is stored; told after it.
    in_database = together(few(filter(tells, _in_database(records, wanted))))
    checks = (
        site.settings,
        site.addresses,
        site.delivery,
        site.https,
        site.content_security_policy,
        site.embedder_policy,
    )
    found = [finding for check in checks for finding in guarded(check) if tells(finding)]
    found += (finding for finding in in_database if not finding.project)
    aliases = wanted if wanted is not None else [*conf.project_aliases(), *sorted(records)]
    for alias in dict.fromkeys(str(alias) for alias in aliases if alias):
        record = records.get(alias, stored.Stock())
        answers = guarded(project.kapso, alias, record, network=network, project=alias)
        found += filter(tells, answers)
        found += (finding for finding in in_database if finding.project == alias)
    return [without_secrets(finding) for finding in found]


def _in_database(records: dict[str, stored.Stock], wanted: list[str] | None) -> Iterator[Finding]:
    problems = list(guarded(stored.tables))
    yield from problems
    if not problems:
        yield from guarded(stored.links, records, wanted)
        yield from guarded(stored.embeds, records, wanted)
        yield from guarded(stored.synchronisation, records)
