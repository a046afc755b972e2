"""``manage.py seed``: the demo's people, teams, contacts and inboxes."""

from __future__ import annotations

from datetime import timedelta
from itertools import cycle
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.models import Group, Permission
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.utils import timezone

from crm import people
from crm.models import Contact, Team, User
from kapso_inbox import conf, lifecycle
from kapso_inbox.encryption import EncryptionError
from kapso_inbox.models import InboxEmbed
from kapso_inbox.sandbox.seed import CONTACTS, seed_for

TEAMS = ("Sales", "Support")
STAGES = {
    "lead": cycle((Contact.Stage.TALKING, Contact.Stage.PROPOSAL, Contact.Stage.NEW)),
    "customer": cycle((Contact.Stage.CUSTOMER, Contact.Stage.CUSTOMER, Contact.Stage.TALKING)),
    "vip": cycle((Contact.Stage.CUSTOMER, Contact.Stage.PROPOSAL)),
    "supplier": cycle((Contact.Stage.LOST, Contact.Stage.NEW)),
}
# Numbers as a colleague typed them, and not as WhatsApp has them
AS_TYPED = {"+12025550114": "(202) 555-0114"}
NOTES = cycle(
    (
        "Prefers WhatsApp to a call.",
        "Send invoices to accounting, not to the shop.",
        "",
        "Usually writes in the evening.",
        "Met at the spring fair; knows the catalogue well.",
    )
)


class Command(BaseCommand):
    """Make what is not there yet; what is there stays as it is."""

    help = "Makes the demo's users, teams, contacts and an inbox for each team. Safe to repeat."

    def add_arguments(self, parser: CommandParser) -> None:
        """Where the CRM is opened."""
        parser.add_argument(
            "--origin",
            action="append",
            default=None,
            help="an origin that may show the inboxes; may be repeated; CRM_ORIGINS otherwise",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Seed the database, then see that each team has its inbox at Kapso."""
        if not settings.DEBUG:
            raise CommandError("The demo's log-ins are no secret: it is seeded with DEBUG only.")
        with transaction.atomic():
            teams = [_team(name) for name in TEAMS]
            _users()
            _contacts({team.slug: team for team in teams})
        # Outside the transaction: what is made at Kapso cannot be rolled back with it.
        self._inboxes(teams, options["origin"] or settings.CRM_ORIGINS)

    def _inboxes(self, teams: list[Team], origins: list[str]) -> None:
        project = conf.project()
        numbers = list(project.client().phone_numbers.list())
        for team in teams:
            # The number named like the team, or else the next; the whole project when none is left.
            named = [n for n in numbers if team.name.lower() in (n.name or "").lower()]
            number = next(iter(named or numbers), None)
            if number:
                numbers.remove(number)
            try:
                embed = lifecycle.ensure_embed(
                    team.inbox,
                    name=f"{team.name} inbox",
                    scope_type="phone_number" if number else "project",
                    scope_id=number.phone_number_id if number else "",
                    allowed_origins=origins,
                    groups=[team.group],
                )
            except lifecycle.RevokedError as error:
                # Somebody's decision, made in the admin: not for a seed to undo.
                self.stdout.write(str(error))
                continue
            if not _lives_at(embed, project.inbox_origins):
                lifecycle.rotate_embed(embed)
            shown = number.display_phone_number if number else "all numbers"
            self.stdout.write(f"{embed.name}: {shown}")


def _team(name: str) -> Team:
    """The team, its group, and the group's right to read conversations."""
    group, _ = Group.objects.get_or_create(name=name)
    group.permissions.add(
        Permission.objects.get(content_type__app_label="kapso_inbox", codename="open_inboxembed")
    )
    slug = name.lower()
    team, _ = Team.objects.get_or_create(
        slug=slug, defaults={"name": name, "group": group, "inbox": slug}
    )
    return team


def _users() -> None:
    """The demo's accounts; one that exists keeps its password and its theme."""
    password = people.password(sandbox=settings.SANDBOX, secret_key=settings.SECRET_KEY)
    for account in people.ACCOUNTS:
        if User.objects.filter(username=account.username).exists():
            continue
        user = User.objects.create_user(
            account.username,
            f"{account.username}@example.com",
            password,
            first_name=account.first_name,
            last_name=account.last_name,
            theme=account.theme,
            is_staff=account.is_superuser,
            is_superuser=account.is_superuser,
        )
        user.groups.set(Group.objects.filter(team__slug__in=account.teams))


def _contacts(teams: dict[str, Team]) -> None:
    """The people of the sandbox's conversations, each in the team they write to.

    And somebody whose number is none, as there always is in a CRM.
    """
    now = timezone.now()
    sandbox = seed_for(0, now)
    numbers = {number["internal_id"]: number["name"].lower() for number in sandbox.phone_numbers}
    # Running conversations come before ended ones, so the team of the running one is theirs.
    team_of: dict[str, Team] = {}
    for conversation in sandbox.conversations:
        team = teams.get(numbers[conversation["whatsapp_config_id"]])
        if team:
            team_of.setdefault(conversation["phone"], team)
    owners = {
        slug: User.objects.filter(groups=team.group, is_superuser=False).first()
        for slug, team in teams.items()
    }
    for place, person in enumerate(CONTACTS):
        typed = AS_TYPED.get(person.phone, person.phone)
        is_there = Contact.objects.filter(phone__in=[person.phone, typed]).exists()
        if person.phone in team_of and not is_there:
            team = team_of[person.phone]
            Contact.objects.create(
                phone=typed,
                name=person.name,
                email=person.email,
                company=person.company,
                city=person.city,
                team=team,
                owner=owners[team.slug],
                stage=next(STAGES[person.tag]),
                notes=next(NOTES),
                created=now - timedelta(days=9 + 13 * place),
            )
    Contact.objects.get_or_create(
        phone="Ask at the shop",
        defaults={
            "name": "Doris Lindqvist",
            "company": "Lindqvist Upholstery",
            "city": "Boston",
            "team": teams["sales"],
            "owner": owners["sales"],
            "created": now - timedelta(days=4),
        },
    )


def _lives_at(embed: InboxEmbed, origins: tuple[str, ...]) -> bool:
    """Whether the inbox's link can be read, and leads to where inboxes are now.

    A demo may come back on another port, or without the file that held its encryption key.
    """
    link = embed.current_link
    try:
        url = urlsplit(link.reveal_url() if link else "")
    except EncryptionError:
        return False
    return f"{url.scheme}://{url.netloc}" in origins
