"""What the CRM knows of conversations, and the webhook events that told it. No message is kept."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.apps import apps
from django.db import models
from django.db.models import Case, F, Q, Value, When
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from kapso_inbox import conf
from kapso_inbox.clock import as_stored
from kapso_inbox.exceptions import ConfigurationError

if not apps.is_installed("kapso_inbox"):
    raise ConfigurationError('Add "kapso_inbox" to INSTALLED_APPS.')

from kapso_inbox.inbox.phone import EXTRA_DIGITS
from kapso_inbox.models import InboxEmbed, InboxQuerySet, ScopeType

if TYPE_CHECKING:
    from typing_extensions import Self

#: How long a conversation waits for a human after a workflow asked for one. Kapso has no event for
#: the end of a hand-off.
HANDOFF_LASTS = timedelta(days=1)


class ConversationQuerySet(InboxQuerySet["Conversation"]):
    """Conversations, by what a page wants to know of them."""

    def unanswered(self) -> Self:
        """Return the conversations whose last message came from the customer."""
        return self.filter(unanswered=True)

    def waiting_for_human(self) -> Self:
        """Return the conversations for which a workflow asked for a human who has not written."""
        return self.filter(handoff_at__gt=timezone.now() - HANDOFF_LASTS)

    def waiting(self) -> Self:
        """Return the conversations that are unanswered or wait for a human."""
        return self.filter(Q(unanswered=True) | Q(handoff_at__gt=timezone.now() - HANDOFF_LASTS))

    def within(self, *embeds: InboxEmbed) -> Self:
        """Return the conversations that one of the embeds shows.

        Args:
            embeds: the embeds. They show their project, customer or number, and if they are
                limited to a team member, only what was assigned to them at the last sync.
        """
        shown = Q(pk__in=())
        for embed in embeds:
            shown |= scope_of(embed)
        return self.filter(shown)

    def of_person(self, *, phone: str = "", business_scoped_user_id: str = "") -> Self:
        """Return the conversations with a person, the latest first.

        Args:
            phone: their number with its country code, written in any way. WhatsApp's own forms of
                numbers of Brazil, Mexico and Argentina are found, too.
            business_scoped_user_id: WhatsApp's id of a person for this business. It is matched
                first; the number then finds only conversations without such an id.
        """
        person = Q(phone__in=forms_of(phone))
        if business_scoped_user_id:
            by_id = Q(business_scoped_user_id=business_scoped_user_id)
            person = by_id | person & Q(business_scoped_user_id="")
        return self.filter(person).order_by(F("last_active_at").desc(nulls_last=True), "-pk")


def digits_of(phone: str) -> str:
    """Return the digits of a phone number with its country code, as conversations keep it."""
    written = phone.replace("(0)", "")
    return "".join(str(int(letter)) for letter in written if letter.isdecimal()).lstrip("0")


def forms_of(phone: str) -> list[str]:
    """Return the digits of a number in each form that WhatsApp may give it.

    In Brazil, Mexico and Argentina, WhatsApp's id of a mobile number can have a digit more or less
    than the number that people dial.

    Args:
        phone: the number with its country code.
    """
    digits = digits_of(phone)
    forms = {digits} - {""}
    for pattern, extra in EXTRA_DIGITS:
        if match := pattern.fullmatch(digits):
            forms |= {match[1] + match[2], match[1] + extra + match[2]}
    return sorted(forms)


def scope_of(embed: InboxEmbed) -> Q:
    """Return the condition for the conversations that an embed shows."""
    scope = Q(project=embed.project)
    if embed.scope_type == ScopeType.PHONE_NUMBER:
        scope &= Q(phone_number_id=embed.scope_id)
    elif embed.scope_type == ScopeType.CUSTOMER:
        numbers = WhatsAppNumber.objects.filter(project=embed.project, customer_id=embed.scope_id)
        scope &= Q(phone_number_id__in=numbers.values("phone_number_id"))
    if embed.assigned_user_id:
        scope &= Q(assigned_user_id=embed.assigned_user_id)
    return scope


class Conversation(models.Model):
    """A conversation at Kapso, as far as it is known here.

    All times only move forward, whatever the order in which events arrive. A person has many
    conversations: after 24 hours without a message, the next one has another id.
    """

    class Status(models.TextChoices):
        """Kapso's words."""

        ACTIVE = "active", pgettext_lazy("conversation", "Active")
        ENDED = "ended", pgettext_lazy("conversation", "Ended")

    project = models.CharField(_("Kapso project"), max_length=50)
    kapso_id = models.CharField(_("ID at Kapso"), max_length=64)
    phone_number_id = models.CharField(_("number"), max_length=64, blank=True)
    phone = models.CharField(_("person's number"), max_length=32, blank=True)
    business_scoped_user_id = models.CharField(_("WhatsApp's ID"), max_length=140, blank=True)
    username = models.CharField(_("user name"), max_length=128, blank=True)
    name = models.CharField(_("name"), max_length=255, blank=True)
    # No choices: Kapso may answer with values that no document names yet.
    status = models.CharField(_("status"), max_length=20, default=Status.ACTIVE)
    #: When Kapso said so: an older status does not replace a newer one.
    status_at = models.DateTimeField(null=True, editable=False)
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True)
    last_inbound_at = models.DateTimeField(_("last message from the person"), null=True, blank=True)
    last_outbound_at = models.DateTimeField(_("last message to the person"), null=True, blank=True)
    last_active_at = models.DateTimeField(_("last activity"), null=True, blank=True)
    handoff_at = models.DateTimeField(_("asked for a human"), null=True, blank=True)
    assigned_user_id = models.CharField(_("assigned to"), max_length=64, blank=True)
    #: The last message, only with `KAPSO_INBOX["STORE_TEXT"]`.
    last_text = models.TextField(_("last message"), blank=True)
    unanswered = models.GeneratedField(
        expression=Case(
            When(
                Q(status="active", last_inbound_at__isnull=False)
                & (Q(last_outbound_at__isnull=True) | Q(last_inbound_at__gt=F("last_outbound_at"))),
                then=Value(True),
            ),
            default=Value(False),
        ),
        output_field=models.BooleanField(),
        db_persist=True,
        verbose_name=_("unanswered"),
    )
    created_at = models.DateTimeField(_("first seen"), default=timezone.now, editable=False)
    #: When this row last changed: what was counted before is counted again.
    updated_at = models.DateTimeField(auto_now=True)

    objects = ConversationQuerySet.as_manager()

    class Meta:
        verbose_name = _("conversation")
        verbose_name_plural = _("conversations")
        ordering = ["-last_active_at", "-pk"]
        # Rows are written by the app alone; deleting a person's is an action.
        default_permissions = ("view", "delete")
        constraints = [
            models.UniqueConstraint(
                fields=["project", "kapso_id"], name="kapso_conversation_unique"
            )
        ]
        indexes = [
            models.Index(
                fields=["unanswered", "project", "phone_number_id", "assigned_user_id"],
                name="kapso_conversation_unanswered",
            ),
            models.Index(fields=["handoff_at"], name="kapso_conversation_handoff"),
            models.Index(fields=["updated_at"], name="kapso_conversation_changed"),
            models.Index(fields=["last_active_at", "id"], name="kapso_conversation_latest"),
            models.Index(fields=["phone"], name="kapso_conversation_phone"),
            models.Index(fields=["business_scoped_user_id"], name="kapso_conversation_person"),
        ]

    def __str__(self) -> str:
        return self.person

    @property
    def person(self) -> str:
        """Return what to call the person: a name, a number, or an id."""
        number = f"+{self.phone}" if self.phone else ""
        username = f"@{self.username}" if self.username else ""
        return self.name or number or username or self.business_scoped_user_id or self.kapso_id

    def learn(
        self,
        *,
        at: datetime | None = None,
        phone_number_id: str = "",
        phone: str = "",
        business_scoped_user_id: str = "",
        username: str = "",
        name: str = "",
        status: str = "",
        status_at: datetime | None = None,
        inbound_at: datetime | None = None,
        outbound_at: datetime | None = None,
        handoff_at: datetime | None = None,
        text: str | None = None,
    ) -> None:
        """Add what was learned of this conversation, without saving it.

        Facts can be learned in any order and repeatedly, with the same result: times only move
        forward, and an older value does not replace a newer one.

        Args:
            at: when the names and numbers below were true.
            phone_number_id: the WhatsApp number that the conversation is with; blank = not told,
                as for all texts.
            phone: the person's number.
            business_scoped_user_id: WhatsApp's id of the person.
            username: the person's user name.
            name: the person's name.
            status: Kapso's status of the conversation.
            status_at: when it had that status.
            inbound_at: when the person wrote.
            outbound_at: when somebody wrote to the person.
            handoff_at: when a workflow asked for a human.
            text: the text of the message of `inbound_at` or `outbound_at`; None = not told.
        """
        at, status_at, inbound_at, outbound_at, handoff_at = (
            moment and as_stored(moment)
            for moment in (at, status_at, inbound_at, outbound_at, handoff_at)
        )
        message_at = _later(inbound_at, outbound_at)
        if (
            message_at
            and text is not None
            and conf.value("STORE_TEXT")
            and not _is_before(message_at, self.last_message_at)
        ):
            self.last_text = text
        is_news = not _is_before(at, self.last_active_at)
        for field, value in {
            # Cut to what the columns hold: one long name must not stop a whole sync.
            "phone_number_id": phone_number_id[:64],
            "phone": phone[:32],
            "business_scoped_user_id": business_scoped_user_id[:140],
            "username": username.lstrip("@")[:128],
            "name": name[:255],
        }.items():
            if value and (is_news or not getattr(self, field)):
                setattr(self, field, value)
        if status == self.Status.ENDED and not _is_before(status_at, self.last_message_at):
            # Whether `updated_at` tells when a conversation ended is not documented. So only a
            # later message outweighs an end.
            self.status, self.status_at = status, _later(self.status_at, status_at)
        elif status and not _is_before(status_at, self.status_at):
            # Of two statuses of the same time, the end is the later one.
            if status_at != self.status_at or self.status != self.Status.ENDED:
                self.status = status[:20]
            self.status_at = status_at
        if status == self.Status.ENDED:
            self.ended_at = _later(self.ended_at, status_at)
        self.last_inbound_at = _later(self.last_inbound_at, inbound_at)
        self.last_outbound_at = _later(self.last_outbound_at, outbound_at)
        self.last_active_at = _later(self.last_active_at, at)
        self.handoff_at = _later(self.handoff_at, handoff_at)
        was_answered = _is_before(self.handoff_at, self.last_outbound_at)
        if was_answered or not _is_before(self.ended_at, self.handoff_at):
            self.handoff_at = None

    @property
    def last_message_at(self) -> datetime | None:
        """Return when the last message was written, by either side."""
        return _later(self.last_inbound_at, self.last_outbound_at)

    @property
    def waits_for_human(self) -> bool:
        """Return whether a workflow has asked for a human, and nobody has written since."""
        return bool(self.handoff_at and self.handoff_at > timezone.now() - HANDOFF_LASTS)


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max(filter(None, (one, other)), default=None)


def _is_before(one: datetime | None, other: datetime | None) -> bool:
    """Return whether a time is before another. None is before every time."""
    return other is not None and (one is None or one < other)


class WhatsAppNumber(models.Model):
    """A WhatsApp number of a project, as the last sync found it: whose conversations are whose."""

    project = models.CharField(_("Kapso project"), max_length=50)
    phone_number_id = models.CharField(_("ID at Kapso"), max_length=64)
    customer_id = models.CharField(_("customer"), max_length=64, blank=True, db_index=True)
    name = models.CharField(_("name"), max_length=255, blank=True)
    display_phone_number = models.CharField(_("number"), max_length=64, blank=True)

    objects = InboxQuerySet.as_manager()

    class Meta:
        verbose_name = _("WhatsApp number")
        verbose_name_plural = _("WhatsApp numbers")
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                fields=["project", "phone_number_id"], name="kapso_number_unique"
            )
        ]

    def __str__(self) -> str:
        return self.name or self.display_phone_number or self.phone_number_id


class ConversationRead(models.Model):
    """How far the conversations of a project were read from Kapso, beside what webhooks told."""

    project = models.CharField(_("Kapso project"), max_length=50, unique=True)
    #: What was active before, by Kapso's clock, has been read.
    read_until = models.DateTimeField(_("read until"))

    objects = InboxQuerySet.as_manager()

    class Meta:
        verbose_name = _("reading of conversations")
        verbose_name_plural = _("readings of conversations")
        default_permissions = ()

    def __str__(self) -> str:
        return self.project


class WebhookDelivery(models.Model):
    """One event that a webhook delivered, so that its repetition is known. It holds no content."""

    class Outcome(models.TextChoices):
        """What became of it."""

        APPLIED = "applied", _("Applied")
        IGNORED = "ignored", _("Not needed")
        UNRECOGNISED = "unrecognised", _("Not recognised")
        REFUSED = "refused", _("Signature refused")

    project = models.CharField(_("Kapso project"), max_length=50)
    #: `X-Idempotency-Key`; for a batch, on the row of its first event.
    idempotency_key = models.CharField(_("idempotency key"), max_length=64, null=True)
    #: A digest of what tells this event from others. A message's id holds its person's number.
    event_key = models.CharField(max_length=64)
    event = models.CharField(_("event"), max_length=64, blank=True)
    outcome = models.CharField(_("outcome"), max_length=20, choices=Outcome.choices)
    #: The names of the fields of what was not recognised, and none of their values.
    keys = models.CharField(_("fields"), max_length=500, blank=True)
    received_at = models.DateTimeField(_("time"), default=timezone.now, db_index=True)

    objects = InboxQuerySet.as_manager()

    class Meta:
        verbose_name = _("webhook delivery")
        verbose_name_plural = _("webhook deliveries")
        ordering = ["-received_at", "-pk"]
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(
                fields=["project", "idempotency_key"], name="kapso_delivery_key_unique"
            ),
            models.UniqueConstraint(
                fields=["project", "event_key"], name="kapso_delivery_event_unique"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.event or '-'} · {self.get_outcome_display()}"


def erase_person(*, phone: str = "", business_scoped_user_id: str = "") -> int:
    """Delete what is known here of a person, in every project. Kapso keeps its own record.

    Later events of that person are recorded again: end the conversation at Kapso first.

    Args:
        phone: their number with its country code, written in any way.
        business_scoped_user_id: WhatsApp's id of the person for this business.

    Returns:
        How many conversations were deleted.

    Raises:
        ValueError: neither was given.
    """
    if not digits_of(phone) and not business_scoped_user_id:
        raise ValueError("Give a phone number or a business-scoped user ID.")
    people = Conversation.objects.for_write()
    found = people.filter(phone__in=forms_of(phone))
    if business_scoped_user_id:
        found |= people.filter(business_scoped_user_id=business_scoped_user_id)
    return of_same_people(found).delete()[0]


def of_same_people(conversations: Iterable[Conversation]) -> ConversationQuerySet:
    """Return these conversations and all others of the same people, in every project.

    Args:
        conversations: some conversations of each person.
    """
    known = list(conversations)
    phones = {form for one in known for form in forms_of(one.phone)}
    ids = {one.business_scoped_user_id for one in known} - {""}
    same = Q(pk__in=[one.pk for one in known])
    same |= Q(phone__in=phones) | Q(business_scoped_user_id__in=ids)
    return Conversation.objects.for_write().filter(same)
