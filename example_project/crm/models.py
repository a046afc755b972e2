"""Users, their teams, and the teams' contacts."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AbstractUser, Group
from django.db import models
from django.urls import reverse
from django.utils import timezone

from kapso_inbox.inbox.phone import NotANumberError, search_text

# The number of colours in crm.css.
TINTS = 6


class User(AbstractUser):
    """Somebody who works in the CRM."""

    class Theme(models.TextChoices):
        """The themes, with Kapso's own names, so that one value serves the CRM and the inbox."""

        SYSTEM = "system", "System"
        LIGHT = "light", "Light"
        DARK = "dark", "Dark"

    theme = models.CharField(max_length=6, choices=Theme.choices, default=Theme.SYSTEM)

    def __str__(self) -> str:
        return self.get_full_name() or self.username

    @property
    def initials(self) -> str:
        """Two letters for the avatar."""
        return initials(str(self))

    @property
    def tint(self) -> int:
        """The number of the avatar's colour, below `TINTS`."""
        return self.pk % TINTS

    def teams(self) -> models.QuerySet[Team]:
        """Return the teams that this user works in."""
        return Team.objects.filter(group__user=self)


class Team(models.Model):
    """A team, the group of its members, and the inbox that it works in."""

    name = models.CharField(max_length=80)
    slug = models.SlugField(unique=True)
    group = models.OneToOneField(Group, on_delete=models.PROTECT, related_name="team")
    inbox = models.SlugField(help_text="The slug of the inbox embed this team works in.")

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        """Return the address of the team's page."""
        return reverse("team", args=[self.slug])


class Contact(models.Model):
    """A person or company that a team talks to."""

    class Stage(models.TextChoices):
        """How far the conversation has come."""

        NEW = "new", "New"
        TALKING = "talking", "In conversation"
        PROPOSAL = "proposal", "Proposal"
        CUSTOMER = "customer", "Customer"
        LOST = "lost", "Lost"

    name = models.CharField(max_length=120)
    phone = models.CharField(
        max_length=40,
        unique=True,
        help_text="As you write it: the inbox is searched for the number, however it is written.",
    )
    whatsapp = models.CharField(
        max_length=15,
        blank=True,
        editable=False,
        db_index=True,
        help_text="The number in WhatsApp's notation, to find the contact of a message.",
    )
    email = models.EmailField(blank=True)
    company = models.CharField(max_length=120, blank=True)
    city = models.CharField(max_length=80, blank=True)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="contacts")
    owner = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="contacts"
    )
    stage = models.CharField(max_length=10, choices=Stage.choices, default=Stage.NEW)
    notes = models.TextField(blank=True)
    created = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["name", "pk"]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the contact, with the number in WhatsApp's notation."""
        try:
            self.whatsapp = search_text(self.phone)
        except NotANumberError:
            self.whatsapp = ""
        super().save(*args, **kwargs)

    def get_absolute_url(self) -> str:
        """Return the address of the contact's page."""
        return reverse("contact", args=[self.pk])

    @property
    def initials(self) -> str:
        """Two letters for the avatar."""
        return initials(self.name)

    @property
    def tint(self) -> int:
        """The number of the avatar's colour, below `TINTS`."""
        return self.pk % TINTS


class TimelineEntry(models.Model):
    """Something that happened in a contact's conversations. What was written stays at Kapso."""

    class Kind(models.TextChoices):
        """What happened."""

        WROTE = "wrote", "Wrote on WhatsApp"
        ANSWERED = "answered", "Was written to"
        ASKED = "asked", "Asked for a person"
        ENDED = "ended", "The conversation ended"

    contact = models.ForeignKey(Contact, on_delete=models.CASCADE, related_name="timeline")
    kind = models.CharField(max_length=10, choices=Kind.choices)
    at = models.DateTimeField()

    class Meta:
        ordering = ["-at", "-pk"]

    def __str__(self) -> str:
        return f"{self.contact}: {self.get_kind_display()}"


def initials(name: str) -> str:
    """Return the first letters of the first and the last word, in capitals."""
    words = name.split()
    return "".join(word[0] for word in (words[:1] + words[1:][-1:])).upper()
