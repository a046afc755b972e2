"""The bodies of requests and answers. The lifecycle decides which values are valid."""

from __future__ import annotations

from collections.abc import Mapping
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
from kapso_inbox.models import AccessLink, Condition, InboxEmbed, Language, Mode, Outcome, ScopeType
from kapso_inbox.transactions import database

_MAX_ID = 2**31 - 1
_ORIGIN_LENGTH = 300
_ORIGINS = 100
_GROUPS = 500


class SecretState(TextChoices):
    """What is stored here of the current link's address."""

    STORED = "stored"
    LOST = "lost"
    NONE = "none"


class NamedChoiceField(serializers.ChoiceField):
    """A choice whose name in the schema does not depend on the host's own fields.

    Args:
        name: the name.
        choices: the values.
        is_open: whether other texts are accepted as well, for the lifecycle to judge. Kapso may
            have answered with a value that no document names, and clients may send back what is
            stored.
    """

    def __init__(
        self, name: str, choices: list[str], *, is_open: bool = False, **options: Any
    ) -> None:
        self.name = name
        self.is_open = is_open
        super().__init__(choices, **options)

    def to_internal_value(self, data: Any) -> Any:
        """Return one of the choices, or another text if the lifecycle judges it."""
        if self.is_open and isinstance(data, str):
            return data
        return super().to_internal_value(data)


class MomentField(serializers.DateTimeField):
    """A time, answered in UTC. Without a zone, a time in a body is in the site's zone."""

    def __init__(self, **options: Any) -> None:
        super().__init__(format="iso-8601", input_formats=["iso-8601"], **options)

    def to_internal_value(self, value: Any) -> datetime:
        """Return the time. The first and last year are refused: some zones lack a part of them."""
        moment = super().to_internal_value(value)
        if not MINYEAR < moment.year < MAXYEAR:
            self.fail("overflow")
        return moment

    def enforce_timezone(self, value: datetime) -> datetime:
        """Return the time in UTC, also without USE_TZ. Called for bodies and for answers."""
        try:
            aware = zones.make_aware(value) if zones.is_naive(value) else value
            return aware.astimezone(timezone.utc)
        except (OverflowError, ValueError):
            self.fail("overflow")


class GroupsField(serializers.ListField):
    """Groups by their primary keys, read in one query."""

    default_error_messages = {
        # REST framework's own words, and so its translations.
        "does_not_exist": serializers.PrimaryKeyRelatedField.default_error_messages[
            "does_not_exist"
        ]
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(
            child=serializers.IntegerField(min_value=1, max_value=_MAX_ID),
            max_length=_GROUPS,
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
        """Return their primary keys."""
        return sorted(group.pk for group in data.all())


class SettingsSerializer(serializers.Serializer[InboxEmbed]):
    """The settings of an embed. Those that are left out keep their values, or get defaults."""

    name = serializers.CharField(max_length=120, required=False)
    project = serializers.CharField(
        max_length=50, required=False, help_text="The alias of the Kapso project."
    )
    scope_type = NamedChoiceField("InboxScopeType", ScopeType.values, required=False)
    scope_id = serializers.CharField(
        max_length=64,
        required=False,
        allow_blank=True,
        help_text="Blank for a project, a customer's UUID, or a WhatsApp phone_number_id.",
    )
    assigned_user_id = serializers.CharField(
        max_length=64,
        required=False,
        allow_blank=True,
        help_text="A team member's UUID: only what is assigned to them. Blank means everything.",
    )
    allowed_origins = serializers.ListField(
        child=serializers.CharField(max_length=_ORIGIN_LENGTH),
        max_length=_ORIGINS,
        required=False,
        help_text="Pages that may frame it, such as https://crm.example.com. Empty means any.",
    )
    default_mode = NamedChoiceField("InboxMode", Mode.values, is_open=True, required=False)
    language = NamedChoiceField(
        "InboxLanguage",
        ["", *Language.values],
        is_open=True,
        required=False,
        help_text="Blank leaves it to Kapso.",
    )
    expires_at = MomentField(required=False, allow_null=True, help_text="Null means never.")
    groups = GroupsField(
        required=False,
        help_text="Groups whose members may open it. Empty means all with the permission.",
    )


class NewEmbedSerializer(SettingsSerializer):
    """The settings of a new embed."""

    slug = serializers.SlugField(max_length=50, help_text="The name that templates use.")
    name = serializers.CharField(max_length=120)


class ChangesSerializer(SettingsSerializer):
    """The settings of an embed that can be changed."""

    slug = serializers.SlugField(
        max_length=50, required=False, help_text="The name that templates use."
    )


class LinkSerializer(serializers.Serializer[AccessLink]):
    """An access link, without its secret."""

    id = serializers.UUIDField()
    kapso_id = serializers.CharField(allow_blank=True)
    reference = serializers.CharField(help_text="The end of the name that Kapso lists it under.")
    state = NamedChoiceField("InboxLinkState", AccessLink.State.values)
    reason = serializers.CharField(allow_blank=True)
    created_at = MomentField()
    state_changed_at = MomentField()


class EmbedSerializer(serializers.Serializer[InboxEmbed]):
    """An embed, as `base.presentable` reads it."""

    slug = serializers.CharField()
    name = serializers.CharField()
    condition = NamedChoiceField("InboxCondition", Condition.values)
    secret = serializers.SerializerMethodField(
        help_text="What is stored here of its secret address, which no answer contains."
    )
    has_unsettled_links = serializers.BooleanField(
        help_text="A link other than the current one is not settled; `resolve/` asks Kapso."
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
    current_link = LinkSerializer(allow_null=True)
    newest_link_id = serializers.UUIDField(
        allow_null=True, help_text="The latest link, whatever became of it; for `rotate/`."
    )
    created_at = MomentField()
    updated_at = MomentField()

    def get_secret(self, embed: InboxEmbed) -> str:
        """Return what is stored of the current link's address, without reading it."""
        state = embed.current_link.state if embed.current_link else None
        if state == AccessLink.State.ACTIVE:
            return SecretState.STORED.value
        return (
            SecretState.LOST if state == AccessLink.State.SECRET_LOST else SecretState.NONE
        ).value


class RotationSerializer(serializers.Serializer[Any]):
    """The body of a rotation."""

    newest_link_id = serializers.UUIDField(
        required=False,
        allow_null=True,
        help_text="From an earlier answer. A rotation that is sent twice then creates one link.",
    )
    revive = serializers.BooleanField(
        required=False,
        allow_null=True,
        help_text=(
            "Whether to bring it back if it was revoked. Null, or left out: only without a "
            "`newest_link_id`."
        ),
    )

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """Return what is given. In a form, which has no null, a blank value is not given."""
        values = super().to_internal_value(data)
        if isinstance(data, QueryDict) and not data.get("newest_link_id"):
            values.pop("newest_link_id", None)
        return dict(values)


class SyncSerializer(serializers.Serializer[Any]):
    """The body of a sync."""

    project = serializers.CharField(
        max_length=50, default=conf.DEFAULT_PROJECT, help_text="The alias of the Kapso project."
    )
    dry_run = serializers.BooleanField(default=False, help_text="Only look.")

    def validate_project(self, project: str) -> str:
        """Return the alias if there is such a project."""
        return known_project(project)


class ReportSerializer(serializers.Serializer[Any]):
    """What a sync found and did; with `dry_run`, what it would have done."""

    project = serializers.CharField()
    dry_run = serializers.BooleanField()
    complete = serializers.BooleanField(help_text="Whether Kapso's whole list was seen.")
    listed = serializers.IntegerField()
    pages = serializers.IntegerField()
    updated = serializers.IntegerField()
    unmanaged = serializers.IntegerField()
    ended = serializers.IntegerField()
    settled = serializers.IntegerField()
    revoked = serializers.IntegerField()
    renewed = serializers.IntegerField()
    pruned = serializers.IntegerField()
    waiting = serializers.IntegerField()
    problems = serializers.ListField(
        child=serializers.CharField(), help_text="What somebody should look at, in words."
    )


class ParamsSerializer(serializers.Serializer[Any]):
    """Theme and filters. Null, blank and false count as left out."""

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
        help_text="A number's `internal_id`, or `all`.",
    )
    unread = serializers.BooleanField(required=False, allow_null=True)
    handoff = serializers.BooleanField(required=False, allow_null=True)

    def to_internal_value(self, data: Any) -> dict[str, str]:
        """Return the parameters as Kapso takes them. An unknown one is refused."""
        values = super().to_internal_value(data)
        # A form brings its own fields along, such as the one against cross-site requests.
        others = () if isinstance(data, QueryDict) else data.keys() - self.fields.keys()
        try:
            return clean_params({**values, **dict.fromkeys(others)})
        except ParameterError as error:
            raise serializers.ValidationError({error.name: [error.expected]}) from None

    def to_representation(self, instance: Any) -> dict[str, Any]:
        """Return all parameters, with null for those that are not set."""
        return super().to_representation(instance if isinstance(instance, Mapping) else {})


class TicketSerializer(serializers.Serializer[Any]):
    """A ticket, and the address that takes it."""

    ticket = serializers.CharField()
    url = serializers.URLField(help_text="The address that takes it: the `src` of an iframe.")
    expires_in = serializers.IntegerField(help_text="Seconds.")


class ChoiceSerializer(serializers.Serializer[Any]):
    """Something that can be picked."""

    id = serializers.CharField(help_text="The value for a scope or an assignment.")
    name = serializers.CharField(allow_blank=True)
    detail = serializers.CharField(
        allow_blank=True, help_text="A number, an e-mail address, the CRM's own id."
    )
    internal_id = serializers.CharField(
        allow_blank=True, help_text="A number's UUID, for `whatsapp_config_id`."
    )


class FoundSerializer(serializers.Serializer[Any]):
    """What a search has found so far."""

    results = ChoiceSerializer(many=True)
    next_page = serializers.IntegerField(
        allow_null=True, help_text="The next page to search; null means that this was all."
    )


class LaunchAttemptSerializer(serializers.Serializer[Any]):
    """One attempt to open an inbox, and how it ended."""

    id = serializers.IntegerField()
    created_at = MomentField()
    user = serializers.CharField(source="username", allow_blank=True)
    user_id = serializers.CharField(allow_null=True, help_text="Null once the user is deleted.")
    slug = serializers.CharField()
    link = serializers.UUIDField(source="link_id", allow_null=True)
    outcome = NamedChoiceField("InboxOutcome", Outcome.values)
    address = serializers.IPAddressField(allow_null=True)


def known_project(alias: str) -> str:
    """Return the alias if such a project is configured.

    Args:
        alias: the alias.

    Raises:
        ValidationError: there is no such project.
    """
    if alias not in conf.project_aliases():
        raise serializers.ValidationError(
            _("There is no Kapso project “%(alias)s” in the settings.") % {"alias": alias}
        )
    return alias
