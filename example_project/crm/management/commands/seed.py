"""`manage.py seed`: create the demo's users, teams, contacts and inboxes."""

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
# Numbers as a colleague typed them, and not in WhatsApp's notation.
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
    """Create what is missing, and leave the rest unchanged."""

    help = "Creates the demo's users, teams, contacts and an inbox for each team. Safe to repeat."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the option for the CRM's origins."""
        parser.add_argument(
            "--origin",
            action="append",
            default=None,
            help="an origin that may show the inboxes; repeatable; default: CRM_ORIGINS",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Seed the database, then ensure that each team has an inbox at Kapso."""
        if not settings.DEBUG:
            raise CommandError("The demo's passwords are public, so seed requires DEBUG.")
        with transaction.atomic():
            teams = [_team(name) for name in TEAMS]
            _users()
            _contacts({team.slug: team for team in teams})
        # Outside the transaction, which cannot roll back what is created at Kapso.
        self._inboxes(teams, options["origin"] or settings.CRM_ORIGINS)

    def _inboxes(self, teams: list[Team], origins: list[str]) -> None:
        project = conf.project()
        numbers = list(project.client().phone_numbers.list())
        for team in teams:
            # Prefer the number with the team's name, then the next one, then the whole project.
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
                # Somebody revoked it in the admin, and the seed must not undo that.
                self.stdout.write(str(error))
                continue
            if not _lives_at(embed, project.inbox_origins):
                lifecycle.rotate_embed(embed)
            shown = number.display_phone_number if number else "all numbers"
            self.stdout.write(f"{embed.name}: {shown}")


def _team(name: str) -> Team:
    """Create a team and its group, which may read conversations, and return the team."""
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
    """Create the demo's accounts. An existing account keeps its password and theme."""
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
    """Create contacts for the people in the sandbox's conversations, in the team they write to.

    One more contact has no valid number, as happens in every CRM.
    """
    now = timezone.now()
    sandbox = seed_for(0, now)
    numbers = {number["internal_id"]: number["name"].lower() for number in sandbox.phone_numbers}
    # Running conversations come before ended ones, so the running one decides the team.
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
    """Return whether the inbox's link can be decrypted and has one of these origins.

    A demo may restart on another port, or without the file with its encryption key.
    """
    link = embed.current_link
    try:
        url = urlsplit(link.reveal_url() if link else "")
    except EncryptionError:
        return False
    return f"{url.scheme}://{url.netloc}" in origins
