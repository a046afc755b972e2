"""What the CRM keeps of Kapso's inbox embeds. Nothing here speaks HTTP."""

from __future__ import annotations

import re
import secrets
import uuid
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import models, router
from django.db.models import ProtectedError
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from . import conf
from .encryption import EncryptionError, UnreadableSecretError
from .secret import Secret

MAX_REASON = 255
#: Stands in addresses and tags for the slug of the user's own embed, whichever that is.
MINE = "mine"
RESERVED_SLUGS = frozenset({MINE, "sync"})

_REFERENCE_IN_NAME = re.compile(r"\s*#ki-([0-9a-f]{10})$")


def new_reference() -> str:
    """Return a random reference for a link: ten hexadecimal digits."""
    return secrets.token_hex(5)


def reference_in(name: str) -> str:
    """Return the reference at the end of an embed's name at Kapso; "" where it bears none."""
    found = _REFERENCE_IN_NAME.search(name)
    return found[1] if found else ""


def name_without_reference(name: str) -> str:
    """Return an embed's name at Kapso as people should see it."""
    return _REFERENCE_IN_NAME.sub("", name)


def validate_slug_is_free(slug: str) -> None:
    """Refuse a slug that is a word of our addresses (`mine/`, and `embeds/sync/` of the API)."""
    if slug in RESERVED_SLUGS:
        raise ValidationError(
            _("“%(slug)s” is a word of our own addresses."), params={"slug": slug}
        )


class ScopeType(models.TextChoices):
    """What an embed shows, in Kapso's words."""

    PROJECT = "project", _("Whole project")
    CUSTOMER = "customer", _("Customer")
    PHONE_NUMBER = "phone_number", _("Phone number")


class Mode(models.TextChoices):
    """The inbox's theme."""

    SYSTEM = "system", _("As the device")
    LIGHT = "light", _("Light")
    DARK = "dark", _("Dark")


class Language(models.TextChoices):
    """The languages that Kapso's inbox speaks."""

    ENGLISH = "en", _("English")
    SPANISH = "es", _("Spanish")


class Outcome(models.TextChoices):
    """How an attempt to open an inbox ended. Every one but OPENED is a page of ours."""

    OPENED = "opened", pgettext_lazy("inbox", "Opened")
    NOT_IN_FRAME = "not_in_frame", _("Not asked for by a frame of this site")
    SIGNED_OUT = "signed_out", _("Signed out")
    BAD_PARAMETER = "bad_parameter", _("Wrong parameter")
    NOT_AVAILABLE = "not_available", _("Not allowed, or no such inbox")
    NOT_READY = "not_ready", _("No working link yet")
    REVOKED = "revoked", pgettext_lazy("inbox", "Revoked")
    EXPIRED = "expired", pgettext_lazy("inbox", "Expired")
    SECRET_LOST = "secret_lost", _("Secret lost")
    NOT_RECORDED = "not_recorded", _("Could not be recorded")
    BAD_TICKET = "bad_ticket", _("Ticket not valid, or used before")
    WRONG_ORIGIN = "wrong_origin", _("Its link does not allow the origin of the page")


class InboxEmbed(models.Model):
    """What the CRM shows: a slug, who may open it, and a mirror of Kapso's settings for it.

    Stable: pages, permissions, preferences and the audit trail point at it, while its access links
    come and go. Change it through `kapso_inbox.lifecycle`, which keeps Kapso in step.
    """

    slug = models.SlugField(
        _("slug"),
        unique=True,
        validators=[validate_slug_is_free],
        help_text=_("The name that templates use."),
    )
    name = models.CharField(_("name"), max_length=120)
    project = models.CharField(
        _("Kapso project"), max_length=50, default=conf.DEFAULT_PROJECT, editable=False
    )
    scope_type = models.CharField(
        _("shows"), max_length=20, choices=ScopeType.choices, default=ScopeType.PROJECT
    )
    scope_id = models.CharField(_("scope id"), max_length=64, blank=True)
    scope_name = models.CharField(_("scope name"), max_length=255, blank=True, editable=False)
    assigned_user_id = models.CharField(_("only assigned to"), max_length=64, blank=True)
    assigned_user_name = models.CharField(
        _("name of the team member"), max_length=255, blank=True, editable=False
    )
    allowed_origins = models.JSONField(_("allowed origins"), default=list, blank=True)
    # No choices on these two: Kapso may answer with values that no document names yet.
    default_mode = models.CharField(_("theme"), max_length=20, default=Mode.SYSTEM)
    language = models.CharField(_("language"), max_length=20, blank=True)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True, editable=False)
    groups = models.ManyToManyField(
        Group,
        verbose_name=_("groups"),
        blank=True,
        related_name="+",
        help_text=_("Who of those with the permission may open it; none chosen: all of them."),
    )
    # Deleting a group takes it from its embeds without a word. What was for one team alone would
    # then be for everybody: so it is remembered that there was one, and nobody opens it.
    restricted = models.BooleanField(_("for some groups only"), default=False, editable=False)
    # Deliberately no foreign key: with the user gone nobody may open it, and nothing cascades to a
    # link that lives at Kapso.
    personal_to = models.CharField(
        _("only for the user"),
        max_length=255,
        blank=True,
        editable=False,
        db_index=True,
        help_text=_("The primary key of the only user who may open it; blank: no such one."),
    )
    current_link = models.ForeignKey(
        "AccessLink",
        verbose_name=_("current link"),
        null=True,
        blank=True,
        editable=False,
        on_delete=models.SET_NULL,
        related_name="+",
    )
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    updated_at = models.DateTimeField(_("changed"), auto_now=True)

    class Meta:
        verbose_name = _("inbox embed")
        verbose_name_plural = _("inbox embeds")
        ordering = ["name", "pk"]
        permissions = [("open_inboxembed", _("Can open inboxes and read their conversations"))]
        # Lists are in this order, and a hundred thousand rows are not to be sorted for one page.
        indexes = [models.Index(fields=["name", "id"], name="kapso_inbox_embed_by_name")]

    def __str__(self) -> str:
        return self.name

    def open_to_groups_only(self, restricted: bool) -> None:
        """Say, here and in the database, whether those outside of its groups may not open it."""
        if self.restricted != restricted:
            self.restricted = restricted
            using = router.db_for_write(InboxEmbed, instance=self)
            InboxEmbed.objects.using(using).filter(pk=self.pk).update(restricted=restricted)

    def obstacle(self) -> Outcome | None:
        """Say what keeps this inbox from opening for anyone; None where nothing does."""
        link = self.current_link
        if link is None:
            return Outcome.NOT_READY
        if link.state in (AccessLink.State.REVOKING, AccessLink.State.REVOKED):
            return Outcome.REVOKED
        if link.state == AccessLink.State.UNMANAGED:
            return Outcome.NOT_READY
        if link.state != AccessLink.State.ACTIVE:
            return Outcome.SECRET_LOST
        if self.expires_at and self.expires_at <= timezone.now():
            return Outcome.EXPIRED
        if self.personal_to and not self.assigned_user_id:
            # Kapso does not narrow it (any more): it would show everybody's conversations.
            return Outcome.NOT_READY
        return None


class AccessLink(models.Model):
    """One token at Kapso: its id there, its state, its secret address encrypted."""

    class State(models.TextChoices):
        CREATING = "creating", _("Being created")
        ACTIVE = "active", _("Active")
        FAILED = "failed", _("Failed: surely nothing at Kapso")
        UNKNOWN = "unknown", _("Unknown: perhaps something at Kapso")
        SECRET_LOST = "secret_lost", _("Secret lost: lives at Kapso, unusable here")
        UNMANAGED = "unmanaged", _("Unmanaged: made elsewhere, lives at Kapso")
        REVOKING = "revoking", _("Being revoked")
        REVOKED = "revoked", _("Revoked")

    #: States in which something may live at Kapso. A row in one of them cannot be deleted.
    LIVE = frozenset(set(State) - {State.FAILED, State.REVOKED})
    #: States in which it surely lives at Kapso, and is meant to.
    AT_KAPSO = frozenset({State.ACTIVE, State.SECRET_LOST, State.UNMANAGED})
    #: States in which it is not known whether Kapso made it.
    UNCERTAIN = frozenset({State.CREATING, State.UNKNOWN})
    #: States in which Kapso's word is still missing, of its making or of its end.
    UNSETTLED = UNCERTAIN | {State.REVOKING}

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    embed = models.ForeignKey(
        InboxEmbed, verbose_name=_("embed"), on_delete=models.CASCADE, related_name="links"
    )
    kapso_id = models.CharField(_("id at Kapso"), max_length=64, blank=True, db_index=True)
    reference = models.CharField(
        _("reference"), max_length=10, unique=True, default=new_reference, editable=False
    )
    state = models.CharField(
        _("state"), max_length=20, choices=State.choices, default=State.CREATING, db_index=True
    )
    reason = models.CharField(_("reason"), max_length=MAX_REASON, blank=True)
    # An envelope of `encryption`. Deliberately no field type that decrypts: it would put the
    # address into every queryset, dump and serializer.
    sealed_url = models.TextField(blank=True, editable=False)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    state_changed_at = models.DateTimeField(_("in this state since"), default=timezone.now)
    key_fingerprint = models.CharField(
        _("fingerprint of the API key"),
        max_length=12,
        blank=True,
        editable=False,
        help_text=_("Of a key under which Kapso knew it; under another, a 404 proves nothing."),
    )
    checked_at = models.DateTimeField(
        _("last checked"), null=True, blank=True, help_text=_("When a launch last asked Kapso.")
    )
    seen_at = models.DateTimeField(
        _("last seen"), null=True, blank=True, help_text=_("When it last stood in Kapso's list.")
    )
    absent_at = models.DateTimeField(
        _("first absent"),
        null=True,
        blank=True,
        help_text=_("When Kapso's whole list first lacked an uncertain one."),
    )

    class Meta:
        verbose_name = _("access link")
        verbose_name_plural = _("access links")
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"#ki-{self.reference}"

    def __repr__(self) -> str:
        return f"<AccessLink {self} {self.state}>"

    def name_for_kapso(self, name: str) -> str:
        """Return what Kapso shall list the embed of that name under: with the link's reference."""
        return f"{name} {self}"

    def store_url(self, url: str) -> None:
        """Keep the secret address, encrypted; saves nothing.

        Raises:
            ImproperlyConfigured: there are no encryption keys, or they are malformed.
        """
        self.sealed_url = conf.keyring().encrypt(url, context=self._context())

    def reveal_url(self) -> str:
        """Return the secret address. Whoever holds it reads customers' conversations.

        Raises:
            EncryptionError: the key is missing, or the stored text does not open.
            ImproperlyConfigured: there are no encryption keys, or they are malformed.
        """
        if not self.sealed_url:
            raise UnreadableSecretError("No secret is stored.")
        return Secret(conf.keyring().decrypt(self.sealed_url, context=self._context()))

    def move(
        self, state: AccessLink.State, *, expected: Iterable[AccessLink.State], **fields: Any
    ) -> bool:
        """Change the state, here and in the database, unless another process did so before.

        Args:
            state: the new one.
            expected: the states that it may be in until now.
            fields: what else changes with it; `reason` becomes blank if not given.

        Returns:
            Whether it was in one of the expected states, and now is in the new one.
        """
        changes = {"reason": "", **fields, "state": state, "state_changed_at": timezone.now()}
        changes["reason"] = changes["reason"][:MAX_REASON]
        using = router.db_for_write(AccessLink, instance=self)
        links = AccessLink.objects.using(using).filter(pk=self.pk, state__in=list(expected))
        if not links.update(**changes):
            return False
        for name, value in changes.items():
            setattr(self, name, value)
        return True

    def recover_secret(self) -> bool:
        """Take a lost secret for found if it can be revealed: its encryption key was put back."""
        try:
            self.reveal_url()
        except (EncryptionError, ImproperlyConfigured):
            return False
        return self.move(self.State.ACTIVE, expected=[self.State.SECRET_LOST])

    def _context(self) -> str:
        return f"kapso_inbox:AccessLink.sealed_url:{self.pk}"


def note_restriction(sender: Any, instance: InboxEmbed, action: str, **kwargs: Any) -> None:
    """Remember if an embed is for some groups only (`m2m_changed`: a deleted group sends none)."""
    if action.startswith("post_"):
        instance.open_to_groups_only(instance.groups.exists())


def refuse_to_delete_live_links(sender: Any, instance: AccessLink, **kwargs: Any) -> None:
    """Keep a row that accounts for something at Kapso (`pre_delete`: also in bulk and by cascade).

    Raises:
        ProtectedError: the link is in a live state.
    """
    if instance.state in AccessLink.LIVE:
        raise ProtectedError(
            f"{instance} may still work at Kapso. Revoke the embed first, then delete it.",
            {instance},
        )


class InboxPreference(models.Model):
    """A user's own theme and filters for one embed."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, verbose_name=_("user"), on_delete=models.CASCADE, related_name="+"
    )
    embed = models.ForeignKey(
        InboxEmbed, verbose_name=_("embed"), on_delete=models.CASCADE, related_name="preferences"
    )
    params = models.JSONField(_("theme and filters"), default=dict, blank=True)

    class Meta:
        verbose_name = _("inbox preference")
        verbose_name_plural = _("inbox preferences")
        constraints = [
            models.UniqueConstraint(
                fields=["user", "embed"], name="kapso_inbox_one_preference_for_user_and_embed"
            )
        ]

    def __str__(self) -> str:
        # Their ids: a page that lists many would ask for each of their names.
        return f"{self.user_id} · {self.embed_id}"


class LaunchTicket(models.Model):
    """A user's way into one embed, once and at once, where no session comes along.

    Its id alone opens nothing: what bears it is signed, see `kapso_inbox.tickets`. User and embed
    are no constraints of the database: a row that lives for a minute need not lock what it points
    to.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("user"),
        on_delete=models.CASCADE,
        db_constraint=False,
        related_name="+",
    )
    embed = models.ForeignKey(
        InboxEmbed,
        verbose_name=_("embed"),
        on_delete=models.CASCADE,
        db_constraint=False,
        related_name="+",
    )
    params = models.JSONField(_("theme and filters"), default=dict, blank=True)
    created_at = models.DateTimeField(_("created"), default=timezone.now, db_index=True)
    used_at = models.DateTimeField(_("used"), null=True, blank=True)

    class Meta:
        verbose_name = _("launch ticket")
        verbose_name_plural = _("launch tickets")
        # Nobody manages tickets.
        default_permissions = ()

    def __str__(self) -> str:
        # Their ids: a page that lists many would ask for each of their names.
        return f"{self.user_id} · {self.embed_id}"


class Record(models.Model):
    """Who did something to an embed, and when. It outlives the user, the embed and the link.

    Their names stay: a record that went with what it speaks of would be none. Embed and link are no
    constraints of the database: checking one locks the row it points to, and on MariaDB the two in
    an order in which a revocation locks them the other way round (a deadlock, seen in 10.11).
    """

    created_at = models.DateTimeField(_("time"), default=timezone.now, db_index=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("user"),
        null=True,
        on_delete=models.SET_NULL,
        related_name="+",
    )
    username = models.CharField(_("user name"), max_length=254, blank=True)
    embed = models.ForeignKey(
        InboxEmbed,
        verbose_name=_("embed"),
        null=True,
        on_delete=models.SET_NULL,
        db_constraint=False,
        related_name="+",
    )
    slug = models.CharField(_("slug"), max_length=50)
    link = models.ForeignKey(
        AccessLink,
        verbose_name=_("access link"),
        null=True,
        on_delete=models.SET_NULL,
        db_constraint=False,
        related_name="+",
    )

    class Meta:
        abstract = True
        ordering = ["-created_at"]


class InboxChange(Record):
    """One thing that was done to an embed."""

    class Action(models.TextChoices):
        CREATED = "created", pgettext_lazy("inbox", "Created")
        CHANGED = "changed", pgettext_lazy("inbox", "Changed")
        ROTATED = "rotated", _("Link rotated")
        REVOKED = "revoked", pgettext_lazy("inbox", "Revoked")
        LOST = "lost", _("Secret lost")
        SETTLED = "settled", _("Uncertain link settled")
        FOUND = "found", _("Found at Kapso")
        DELETED = "deleted", pgettext_lazy("inbox", "Deleted")

    action = models.CharField(_("action"), max_length=20, choices=Action.choices)
    details = models.CharField(_("details"), max_length=255, blank=True)

    class Meta(Record.Meta):
        verbose_name = _("inbox change")
        verbose_name_plural = _("inbox changes")

    def __str__(self) -> str:
        return f"{self.username or '-'} · {self.slug} · {self.get_action_display()}"


class InboxOpening(Record):
    """One attempt of a signed-in user to open an inbox, and how it ended."""

    outcome = models.CharField(_("outcome"), max_length=20, choices=Outcome.choices)
    address = models.GenericIPAddressField(_("address"), null=True, blank=True)

    class Meta(Record.Meta):
        verbose_name = _("inbox opening")
        verbose_name_plural = _("inbox openings")

    def __str__(self) -> str:
        return f"{self.username} · {self.slug} · {self.get_outcome_display()}"
