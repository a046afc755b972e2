"""The bodies and the answers of the API. The lifecycle decides which settings are valid."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import MAXYEAR, MINYEAR, datetime, timezone
from typing import Any

from django.contrib.auth.models import Group
from django.db.models import TextChoices
from django.http import QueryDict
from django.utils import timezone as zones
from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

from kapso_inbox import conf
from kapso_inbox.inbox.params import MAX_SEARCH, STATUSES, ParameterError, clean_params
from kapso_inbox.models import (
    AccessLink,
    Condition,
    InboxEmbed,
    Language,
    Mode,
    Outcome,
    ScopeType,
    reason_code,
)
from kapso_inbox.reasons import describe_reason
from kapso_inbox.transactions import database

from .names import BodySerializer

_MAX_ID = 2**31 - 1
_MAX_ORIGIN_LENGTH = 300
_MAX_ORIGINS = 100
_MAX_GROUPS = 500


class SecretState(TextChoices):
    """What is stored here of the current link's secret address."""

    STORED = "stored"
    LOST = "lost"
    NONE = "none"


class NamedChoiceField(serializers.ChoiceField):
    """A choice that has a component of its own in the schema, whatever the host's fields are.

    Args:
        name: the component's name.
        choices: the values.
        is_open: whether any other text is left to the lifecycle to check. Kapso may have answered a
            value that its documents do not name, and clients may send back what is stored.
    """

    def __init__(
        self, name: str, choices: list[str], *, is_open: bool = False, **options: Any
    ) -> None:
        self.name = name
        self.is_open = is_open
        super().__init__(choices, **options)

    def to_internal_value(self, data: Any) -> Any:
        """Return one of the choices, or another text if that is left to the lifecycle."""
        if self.is_open and isinstance(data, str):
            return data
        return super().to_internal_value(data)


class MomentField(serializers.DateTimeField):
    """A time: answered in UTC, accepted in any zone, or in the site's zone if it names none."""

    def __init__(self, **options: Any) -> None:
        super().__init__(format="iso-8601", input_formats=["iso-8601"], **options)

    def to_internal_value(self, value: Any) -> datetime:
        """Return the time, except in the years 1 and 9999, which not every zone has completely."""
        moment = super().to_internal_value(value)
        if not MINYEAR < moment.year < MAXYEAR:
            self.fail("overflow")
        return moment

    def enforce_timezone(self, value: datetime) -> datetime:
        """Return the time in UTC, also on a site without USE_TZ. Called for bodies and answers."""
        try:
            aware = zones.make_aware(value) if zones.is_naive(value) else value
            return aware.astimezone(timezone.utc)
        except (OverflowError, ValueError):
            self.fail("overflow")


class GroupsField(serializers.ListField):
    """Groups by their primary keys, read in one query."""

    default_error_messages = {
        # REST framework's own text, which it translates.
        "does_not_exist": serializers.PrimaryKeyRelatedField.default_error_messages[
            "does_not_exist"
        ]
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(
            child=serializers.IntegerField(min_value=1, max_value=_MAX_ID),
            max_length=_MAX_GROUPS,
            **options,
        )

    def to_internal_value(self, data: Any) -> list[Any]:
        """Return the groups.

        Raises:
            ValidationError: a group does not exist.
        """
        keys = super().to_internal_value(data)
        groups = Group.objects.using(database()).in_bulk(keys)
        for key in keys:
            if key not in groups:
                self.fail("does_not_exist", pk_value=key)
        return list(groups.values())

    def to_representation(self, data: Any) -> list[Any]:
        """Return the groups' primary keys."""
        return sorted(group.pk for group in data.all())


class InboxEmbedSettingsSerializer(BodySerializer):
    """The settings of an embed. Those left out keep their values, or get their defaults."""

    name = serializers.CharField(max_length=120, required=False)
    project = serializers.CharField(
        max_length=50, required=False, help_text="The alias of the Kapso project."
    )
    scope_type = NamedChoiceField("InboxScopeType", ScopeType.values, required=False)
    scope_id = serializers.CharField(
        max_length=64,
        required=False,
        allow_blank=True,
        help_text="Blank for a project, a customer's UUID, or a WhatsApp `phone_number_id`.",
    )
    assigned_user_id = serializers.CharField(
        max_length=64,
        required=False,
        allow_blank=True,
        help_text=(
            "A team member's UUID, to show only what is assigned to them. Blank shows everything."
        ),
    )
    allowed_origins = serializers.ListField(
        child=serializers.CharField(max_length=_MAX_ORIGIN_LENGTH),
        max_length=_MAX_ORIGINS,
        required=False,
        help_text=(
            "The sites that may frame it, such as https://crm.example.com. Empty means any. A new "
            "embed without them gets those of the setting ALLOWED_ORIGINS, which must then exist."
        ),
    )
    default_mode = NamedChoiceField("InboxMode", Mode.values, is_open=True, required=False)
    language = NamedChoiceField(
        "InboxLanguage",
        ["", *Language.values],
        is_open=True,
        required=False,
        help_text="Blank means Kapso's default.",
    )
    expires_at = MomentField(required=False, allow_null=True, help_text="Null means never.")
    groups = GroupsField(
        required=False,
        help_text=(
            "The groups whose members may open it, if they have the permission. Empty means all "
            "users with the permission."
        ),
    )

    def read_only_names(self) -> Collection[str]:
        """Return the names in the answer that no request can set."""
        return InboxEmbedSerializer().fields.keys() - self.fields.keys()


class NewInboxEmbedSerializer(InboxEmbedSettingsSerializer):
    """The slug and the settings of a new embed."""

    slug = serializers.SlugField(
        max_length=50, help_text="The name that templates and addresses use."
    )
    name = serializers.CharField(max_length=120)
    scope_type = NamedChoiceField("InboxScopeType", ScopeType.values)


class InboxEmbedChangesSerializer(InboxEmbedSettingsSerializer):
    """The values to change. Those left out keep their values."""

    slug = serializers.SlugField(
        max_length=50, required=False, help_text="The name that templates and addresses use."
    )


class AccessLinkSerializer(serializers.Serializer[AccessLink]):
    """An access link, without its secret."""

    id = serializers.UUIDField()
    kapso_id = serializers.CharField(allow_blank=True)
    reference = serializers.CharField(help_text="The end of the link's name in Kapso's list.")
    state = NamedChoiceField("InboxLinkState", AccessLink.State.values)
    reason_code = serializers.SerializerMethodField(
        help_text="Why it is in this state, for programs; blank if there is nothing to say."
    )
    reason = serializers.SerializerMethodField(
        help_text="The same in words, in the language of the request."
    )
    created_at = MomentField()
    state_changed_at = MomentField()

    def get_reason_code(self, link: AccessLink) -> str:
        """Return the code of the reason."""
        return reason_code(link.reason)

    def get_reason(self, link: AccessLink) -> str:
        """Return the reason in the active language."""
        return describe_reason(link.reason)


class InboxEmbedSerializer(serializers.Serializer[InboxEmbed]):
    """An embed, with its current link and without any secret."""

    slug = serializers.CharField()
    name = serializers.CharField()
    condition = NamedChoiceField("InboxCondition", Condition.values)
    secret = serializers.SerializerMethodField(
        help_text="What is stored of the inbox's address. No answer contains the address."
    )
    has_unsettled_links = serializers.BooleanField(
        help_text=(
            "Whether Kapso's answer about a link other than the current one is missing. `resolve/` "
            "asks Kapso."
        )
    )
    project = serializers.CharField()
    scope_type = serializers.CharField()
    scope_id = serializers.CharField(allow_blank=True)
    scope_name = serializers.CharField(allow_blank=True)
    assigned_user_id = serializers.CharField(allow_blank=True)
    assigned_user_name = serializers.CharField(allow_blank=True)
    allowed_origins = serializers.ListField(child=serializers.CharField())
    default_mode = serializers.CharField()
    language = serializers.CharField(allow_blank=True)
    expires_at = MomentField(allow_null=True)
    last_used_at = MomentField(allow_null=True)
    groups = GroupsField()
    current_link = AccessLinkSerializer(allow_null=True)
    newest_link_id = serializers.UUIDField(
        allow_null=True, help_text="The link that was begun last. Send it with `rotate/`."
    )
    created_at = MomentField()
    updated_at = MomentField()

    def get_secret(self, embed: InboxEmbed) -> str:
        """Return what is stored of the address, as the state of the current link tells."""
        state = embed.current_link.state if embed.current_link else None
        if state == AccessLink.State.ACTIVE:
            return SecretState.STORED.value
        return (
            SecretState.LOST if state == AccessLink.State.SECRET_LOST else SecretState.NONE
        ).value


class InboxRotationSerializer(BodySerializer):
    """How to rotate the link."""

    newest_link_id = serializers.UUIDField(
        required=False,
        allow_null=True,
        help_text=(
            "The embed's `newest_link_id` as you read it. With it, a rotation that is sent twice "
            "makes one link."
        ),
    )
    revive = serializers.BooleanField(
        required=False,
        allow_null=True,
        help_text=(
            "Whether to bring the embed back if it was revoked. Null or left out means only if "
            "`newest_link_id` is left out."
        ),
    )

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """Return the values. In a form, which has no null, a blank link counts as left out."""
        values = super().to_internal_value(data)
        if isinstance(data, QueryDict) and not data.get("newest_link_id"):
            values.pop("newest_link_id", None)
        return dict(values)


class InboxSyncSerializer(BodySerializer):
    """What to sync."""

    project = serializers.CharField(
        max_length=50, default=conf.DEFAULT_PROJECT, help_text="The alias of the Kapso project."
    )
    dry_run = serializers.BooleanField(
        default=False, help_text="Whether to report without changing anything."
    )

    def validate_project(self, project: str) -> str:
        """Return the alias if such a project is configured."""
        return configured_project(project)


class InboxSyncReportSerializer(serializers.Serializer[Any]):
    """What a sync found and did. With `dry_run`: what it would have done."""

    project = serializers.CharField()
    dry_run = serializers.BooleanField()
    complete = serializers.BooleanField(help_text="Whether Kapso's whole list was read.")
    listed = serializers.IntegerField()
    pages = serializers.IntegerField()
    updated = serializers.IntegerField()
    unmanaged = serializers.IntegerField()
    ended = serializers.IntegerField()
    missing = serializers.IntegerField()
    settled = serializers.IntegerField()
    revoked = serializers.IntegerField()
    renewed = serializers.IntegerField()
    pruned = serializers.IntegerField()
    waiting = serializers.IntegerField()
    problems = serializers.ListField(
        child=serializers.CharField(), help_text="What needs somebody's attention, in words."
    )
    left_undone = serializers.ListField(
        child=serializers.CharField(),
        help_text="What was not done at Kapso, since this deployment is read-only, in words.",
    )


class InboxParamsSerializer(BodySerializer):
    """A theme and filters. Null, blank and false count as left out."""

    mode = NamedChoiceField("InboxMode", Mode.values, required=False, allow_null=True)
    language = NamedChoiceField(
        "InboxLanguage", ["", *Language.values], required=False, allow_null=True
    )
    status = NamedChoiceField("InboxStatusFilter", list(STATUSES), required=False, allow_null=True)
    search = serializers.CharField(
        required=False, allow_null=True, allow_blank=True, max_length=MAX_SEARCH
    )
    whatsapp_config_id = serializers.CharField(
        required=False,
        allow_null=True,
        allow_blank=True,
        max_length=64,
        help_text="A phone number's `internal_id`, or `all`.",
    )
    unread = serializers.BooleanField(required=False, allow_null=True)
    handoff = serializers.BooleanField(required=False, allow_null=True)
    conversation_id = serializers.CharField(
        required=False, allow_null=True, allow_blank=True, max_length=64, help_text="A UUID."
    )
    assignee = serializers.CharField(
        required=False,
        allow_null=True,
        allow_blank=True,
        max_length=64,
        help_text="`me`, `unassigned`, or the UUID of a team member.",
    )

    def to_internal_value(self, data: Any) -> dict[str, str]:
        """Return the parameters as Kapso takes them.

        Raises:
            ValidationError: a value is not valid, or the body names an unknown parameter.
        """
        try:
            return clean_params(super().to_internal_value(data))
        except ParameterError as error:
            raise serializers.ValidationError({error.name: [error.expected]}) from None

    def to_representation(self, instance: Any) -> dict[str, Any]:
        """Return all parameters, with null for those that are not set."""
        return super().to_representation(instance if isinstance(instance, Mapping) else {})


class InboxTicketSerializer(serializers.Serializer[Any]):
    """A ticket, and where to use it."""

    ticket = serializers.CharField()
    url = serializers.URLField(help_text="The address to show: the `src` of an iframe.")
    expires_in = serializers.IntegerField(help_text="In seconds.")


class InboxChoiceSerializer(serializers.Serializer[Any]):
    """A phone number, a customer or a team member."""

    id = serializers.CharField(help_text="The ID that a scope or an assignment takes.")
    name = serializers.CharField(allow_blank=True)
    detail = serializers.CharField(
        allow_blank=True, help_text="A number, an e-mail address, or the CRM's own ID."
    )
    internal_id = serializers.CharField(
        allow_blank=True, help_text="A phone number's UUID, which `whatsapp_config_id` takes."
    )


class InboxChoicesSerializer(serializers.Serializer[Any]):
    """What a search has found so far."""

    results = InboxChoiceSerializer(many=True)
    next_page = serializers.IntegerField(
        allow_null=True, help_text="The page to ask for next. Null means that there are no more."
    )


class LaunchAttemptSerializer(serializers.Serializer[Any]):
    """An attempt to open an inbox, and how it ended."""

    id = serializers.IntegerField()
    created_at = MomentField()
    user = serializers.CharField(source="username", allow_blank=True)
    user_id = serializers.CharField(allow_null=True, help_text="Null once the user is deleted.")
    acting_as = serializers.CharField(
        allow_blank=True, help_text="The user as whom that user acted, if it was another one."
    )
    slug = serializers.CharField()
    link = serializers.UUIDField(source="link_id", allow_null=True)
    outcome = NamedChoiceField("InboxOutcome", Outcome.values)
    address = serializers.IPAddressField(allow_null=True)
    times = serializers.IntegerField(
        help_text="How many refusals like this one there were within a minute."
    )


def configured_project(alias: str) -> str:
    """Return the alias if such a project is configured.

    Raises:
        ValidationError: no such project is configured.
    """
    if alias not in conf.project_aliases():
        raise serializers.ValidationError(
            _("There is no Kapso project “%(alias)s” in the settings.") % {"alias": alias}
        )
    return alias
