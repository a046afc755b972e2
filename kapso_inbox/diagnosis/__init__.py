"""What is wrong with an installation and what to do, for an administrator. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from django.apps import apps
from django.views.decorators.debug import sensitive_variables

from kapso_inbox import conf
from kapso_inbox.models import InboxEmbedQuerySet

from . import database, embeds, host, launches, links, permissions, project, site
from .findings import (
    AdminPage,
    Finding,
    Level,
    group_by_code,
    limit_each_kind,
    run_check,
    without_secrets,
)
from .samples import Selection
from .totals import ProjectTotals

__all__ = ["AdminPage", "Finding", "Level", "diagnose"]


@sensitive_variables()
def diagnose(
    projects: Iterable[str] | None = None,
    *,
    network: bool = True,
    remembered_for: int = 0,
    tells: Callable[[Finding], bool] = lambda finding: True,
    sends_launch: bool = False,
    among: InboxEmbedQuerySet | None = None,
    most: int | None = None,
) -> list[Finding]:
    """Check the settings, the site, the Kapso projects and every stored link.

    Writes nothing. The number of queries does not grow with the number of embeds, no more than some
    rows are in memory at a time, and each project costs at most two requests to Kapso.

    Args:
        projects: the aliases of the Kapso projects to check; None = all that are configured or that
            an embed belongs to.
        network: whether Kapso may be asked.
        remembered_for: the seconds for which Kapso's answers are kept and Kapso is not asked again,
            if the page can be loaded as often as somebody likes; 0 = they are not kept.
        tells: returns whether the reader may see a finding. What the reader may not see is left out
            before the findings of one kind are limited, so that it does not push out others.
        sends_launch: whether a request for an inbox is sent through the site's middleware, in this
            process, signed out. Not from within a request.
        among: the embeds that are checked, with their links; None = all.
        most: about how many of them are looked at, for a request that must not take long. All
            faults that SQL can tell are counted and some of each are looked at; if there are more
            embeds, the finding `not-all-checked` says so. Whatever `tells` holds back must not be
            among them. None = all.

    Returns:
        The findings, including those that say that all is well: the settings first, then the site,
        then for each project Kapso's answers and what is stored. Each code is listed at most
        `findings.MANY` times for each project, then with how many more there are. No finding holds
        a secret.
    """
    wanted = None if projects is None else list(dict.fromkeys(projects))
    totals: dict[str, ProjectTotals] = {}
    # The database is read first, because Kapso is asked about a stored link. Its findings are
    # listed after Kapso's.
    selection = Selection(wanted, among, most)
    stored = _database_findings(totals, selection)
    in_database = group_by_code(limit_each_kind(filter(tells, stored), selection.counts))
    checks = (
        site.settings_findings,
        site.urlconf_findings,
        site.host_findings,
        site.deployment_findings,
        site.delivery_findings,
        site.https_findings,
        site.csp_findings,
        site.embedder_policy_findings,
        permissions.permissions_policy_findings,
    )
    found = [finding for check in checks for finding in run_check(check) if tells(finding)]
    # Not if the database does not work: middleware would fail for that reason.
    sends_launch = sends_launch and not any(one.code in database.UNUSABLE for one in in_database)
    found += filter(tells, run_check(host.answer_findings, sends=sends_launch))
    found += (finding for finding in in_database if not finding.project)
    aliases = wanted if wanted is not None else [*conf.project_aliases(), *sorted(totals)]
    asking = {"network": network, "remembered_for": remembered_for}
    for alias in dict.fromkeys(str(alias) for alias in aliases if alias):
        own = totals.get(alias, ProjectTotals())
        answers = run_check(project.kapso_findings, alias, own, **asking, project=alias)
        found += filter(tells, answers)
        # An app whose configuration has this method takes part: see also `sync_project`.
        for config in apps.get_app_configs():
            if check := getattr(config, "diagnose_kapso_project", None):
                found += filter(tells, run_check(check, alias, **asking, project=alias))
        found += (finding for finding in in_database if finding.project == alias)
    return [without_secrets(finding) for finding in found]


def _database_findings(totals: dict[str, ProjectTotals], selection: Selection) -> Iterator[Finding]:
    problems = list(run_check(database.database_findings))
    yield from problems
    if not problems:
        yield from run_check(launches.launch_findings)
        yield from run_check(links.link_findings, totals, selection)
        yield from run_check(embeds.embed_findings, totals, selection)
        yield from run_check(links.sync_findings, totals)
