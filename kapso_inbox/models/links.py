"""Access links: one token at Kapso each, with its state and its encrypted address."""

from __future__ import annotations

import re
import secrets
import uuid
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from django.db import models
from django.db.models import ProtectedError
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from kapso_inbox import conf
from kapso_inbox.encryption import UnknownKeyError, UnreadableSecretError, key_id_of
from kapso_inbox.secret import Secret, hides_frames

from .querysets import InboxQuerySet

_REFERENCE_IN_NAME = re.compile(r"#ki-([0-9a-f]{10})$")


def new_reference() -> str:
    """Return a random reference for a link: ten hexadecimal digits."""
    return secrets.token_hex(5)


def reference_in(name: str) -> str:
    """Return the reference at the end of an embed's name at Kapso, or "" if there is none."""
    found = _REFERENCE_IN_NAME.search(name)
    return found[1] if found else ""


def name_without_reference(name: str) -> str:
    """Return an embed's name at Kapso as people should see it."""
    found = _REFERENCE_IN_NAME.search(name)
    return name[: found.start()].rstrip() if found else name


class AccessLinkQuerySet(InboxQuerySet["AccessLink"]):
    """Access links by what Kapso has said of them."""

    def unsettled(self) -> AccessLinkQuerySet:
        """Return the links for which Kapso's answer is missing: to their creation or their end."""
        return self.filter(state__in=AccessLink.UNSETTLED)


class AccessLink(models.Model):
    """One token at Kapso: its ID there, its state, and its secret address, encrypted."""

    class State(models.TextChoices):
        """Where a link is in its life."""

        CREATING = "creating", _("Being created")
        ACTIVE = "active", _("Active")
        FAILED = "failed", _("Failed: Kapso created nothing")
        UNKNOWN = "unknown", _("Unknown: Kapso may have created it")
        SECRET_LOST = "secret_lost", _("Secret lost: works at Kapso, cannot be used here")
        UNMANAGED = "unmanaged", _("Unmanaged: created elsewhere, works at Kapso")
        REVOKING = "revoking", _("Being revoked")
        REVOKED = "revoked", _("Revoked")

    #: States in which the link may exist at Kapso. A row in one of them cannot be deleted.
    LIVE = frozenset(set(State) - {State.FAILED, State.REVOKED})
    #: States in which the link exists at Kapso, and is meant to.
    AT_KAPSO = frozenset({State.ACTIVE, State.SECRET_LOST, State.UNMANAGED})
    #: States in which it is unknown whether Kapso created the link.
    UNCERTAIN = frozenset({State.CREATING, State.UNKNOWN})
    #: States in which Kapso's answer is missing, to the link's creation or to its end.
    UNSETTLED = UNCERTAIN | {State.REVOKING}
    #: States in which Kapso can be asked about the link by its ID.
    KNOWN_BY_ID = AT_KAPSO | {State.REVOKING}
    #: States in which somebody has ended the link, whether Kapso has confirmed it or not.
    OVER = frozenset({State.REVOKING, State.REVOKED})

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    embed = models.ForeignKey(
        "kapso_inbox.InboxEmbed",
        verbose_name=_("embed"),
        on_delete=models.CASCADE,
        related_name="links",
    )
    kapso_id = models.CharField(_("id at Kapso"), max_length=64, blank=True, db_index=True)
    reference = models.CharField(
        _("reference"), max_length=10, unique=True, default=new_reference, editable=False
    )
    state = models.CharField(
        _("state"), max_length=20, choices=State.choices, default=State.CREATING, db_index=True
    )
    reason = models.TextField(_("reason"), blank=True)
    # Not the embed's own fields: they stay as they were asked for, and the next link gets them.
    differences = models.CharField(
        _("differences"),
        max_length=255,
        blank=True,
        editable=False,
        help_text=_(
            "Whose conversations it shows at Kapso, if not those that it was created for; then "
            "nobody may open it."
        ),
    )
    # An envelope of `encryption`. This is not a field type that decrypts by itself: it would put
    # the address into every queryset, dump and serializer.
    sealed_url = models.TextField(blank=True, editable=False)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    state_changed_at = models.DateTimeField(_("in this state since"), default=timezone.now)
    key_fingerprint = models.CharField(
        _("fingerprint of the API key"),
        max_length=12,
        blank=True,
        editable=False,
        help_text=_(
            "Of the API key under which Kapso knew it. Under another key, a 404 proves nothing."
        ),
    )
    checked_at = models.DateTimeField(
        _("last checked"), null=True, blank=True, help_text=_("When a launch last asked Kapso.")
    )
    answered_at = models.DateTimeField(
        _("last answered"),
        null=True,
        blank=True,
        help_text=_("When a launch last asked Kapso and Kapso answered."),
    )
    seen_at = models.DateTimeField(
        _("last seen"), null=True, blank=True, help_text=_("When it was last in Kapso's list.")
    )
    absent_at = models.DateTimeField(
        _("first absent"),
        null=True,
        blank=True,
        help_text=_("When Kapso's whole list first lacked it, if it has not been seen since."),
    )

    objects = AccessLinkQuerySet.as_manager()

    class Meta:
        verbose_name = _("access link")
        verbose_name_plural = _("access links")
        ordering = ["-created_at"]
        # Links are managed through their embeds.
        default_permissions = ()

    def __str__(self) -> str:
        return f"#ki-{self.reference}"

    def __repr__(self) -> str:
        return f"<AccessLink {self} {self.state}>"

    def name_for_kapso(self, name: str) -> str:
        """Return the name that Kapso lists this link under: the embed's, then the reference.

        Args:
            name: the embed's name.
        """
        return f"{name} {self}"

    @hides_frames
    def store_url(self, url: str) -> None:
        """Put the secret address on this instance, encrypted. Nothing is saved.

        Raises:
            ConfigurationError: the encryption keys are missing or malformed.
        """
        self.sealed_url = conf.keyring().encrypt(url, context=self._context())

    def reveal_url(self) -> str:
        """Return the secret address. Whoever holds it reads customers' conversations.

        Raises:
            UnreadableSecretError: the stored text cannot be decrypted: the secret is lost.
            ConfigurationError: this process lacks the key (`UnknownKeyError`), or its encryption
                keys are missing or malformed. The secret may well be readable elsewhere.
        """
        if not self.sealed_url:
            raise UnreadableSecretError("No secret is stored.")
        return Secret(conf.keyring().decrypt(self.sealed_url, context=self._context()))

    def move(
        self, state: AccessLink.State, *, expected: Iterable[AccessLink.State], **fields: Any
    ) -> bool:
        """Change the state here and in the database, unless another process did so first.

        Args:
            state: the new state.
            expected: the states that the link may be in until now.
            fields: other fields to change with it; `reason`, which `reason()` makes, becomes blank
                if it is left out.

        Returns:
            Whether the link was in one of the expected states, and is now in the new one.
        """
        changes = {"reason": "", **fields, "state": state, "state_changed_at": timezone.now()}
        links = AccessLink.objects.for_write().filter(pk=self.pk, state__in=list(expected))
        if not links.update(**changes):
            return False
        for name, value in changes.items():
            setattr(self, name, value)
        return True

    def require_key(self) -> None:
        """Check that this process has the key of the stored secret. Nothing is decrypted.

        Raises:
            ConfigurationError: it has not (`UnknownKeyError`), or its encryption keys are missing
                or malformed.
        """
        with suppress(UnreadableSecretError):  # no key decrypts what is not an envelope
            key_id = key_id_of(self.sealed_url)
            if key_id not in conf.keyring().key_ids:
                raise UnknownKeyError(key_id)

    def recover_secret(self) -> bool:
        """Make a link active again if its lost secret can be decrypted now.

        That is so once its encryption key was put back into the settings under its own ID.

        Returns:
            Whether the link is active now.

        Raises:
            ConfigurationError: as for `reveal_url`.
        """
        try:
            self.reveal_url()
        except UnreadableSecretError:
            return False
        return self.move(self.State.ACTIVE, expected=[self.State.SECRET_LOST])

    def _context(self) -> str:
        return f"kapso_inbox:AccessLink.sealed_url:{self.pk}"


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
