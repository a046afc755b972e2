"""What goes in and what comes out. What a value may be, the lifecycle decides."""

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
    """What is kept here of the current link's address."""

    STORED = "stored"
    LOST = "lost"
    NONE = "none"


class NamedChoiceField(serializers.ChoiceField):
    """A choice with a name of its own in the schema, whatever the host's fields are called.

    Args:
        name: that name.
        choices: the values.
        is_open: whether any other text is let through, for the lifecycle to judge. Kapso may have
            answered what no document names, and what is stored may be sent back as it is.
    """

    def __init__(
        self, name: str, choices: list[str], *, is_open: bool = False, **options: Any
    ) -> None:
        self.name = name
        self.is_open = is_open
        super().__init__(choices, **options)

    def to_internal_value(self, data: Any) -> Any:
        """Return one of the choices, or another text where that is left to the lifecycle."""
        if self.is_open and isinstance(data, str):
            return data
        return super().to_internal_value(data)


class MomentField(serializers.DateTimeField):
    """A time with its zone: answered in UTC, taken with any zone, or in the site's without one."""

    def __init__(self, **options: Any) -> None:
        super().__init__(format="iso-8601", input_formats=["iso-8601"], **options)

    def to_internal_value(self, value: Any) -> datetime:
        """Return it, but for the first and the last year, of which not every zone has all."""
        moment = super().to_internal_value(value)
        if not MINYEAR < moment.year < MAXYEAR:
            self.fail("overflow")
        return moment

    def enforce_timezone(self, value: datetime) -> datetime:
        """Return it in UTC, also on a site without USE_TZ; called on the way in and out."""
        try:
            aware = zones.make_aware(value) if zones.is_naive(value) else value
            return aware.astimezone(timezone.utc)
        except (OverflowError, ValueError):
            self.fail("overflow")


class GroupsField(serializers.ListField):
    """Groups by their primary keys; read in one query."""

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
            ValidationError: there is no such group.
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
    """The settings of an embed; those that are not given keep what they are, or their defaults."""

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
        help_text="A team member's UUID: shows only what is assigned to them. Blank = everything.",
    )
    allowed_origins = serializers.ListField(
        child=serializers.CharField(max_length=_ORIGIN_LENGTH),
        max_length=_ORIGINS,
        required=False,
        help_text="Pages that may frame it, such as https://crm.example.com; empty = any.",
    )
    default_mode = NamedChoiceField("InboxMode", Mode.values, is_open=True, required=False)
    language = NamedChoiceField(
        "InboxLanguage",
        ["", *Language.values],
        is_open=True,
        required=False,
        help_text="Blank leaves it to Kapso.",
    )
    expires_at = MomentField(required=False, allow_null=True, help_text="Null = never.")
    groups = GroupsField(
        required=False,
        help_text="Who of those with the permission may open it; empty = all of them.",
    )


class NewEmbedSerializer(SettingsSerializer):
    """What a new embed takes."""

    slug = serializers.SlugField(max_length=50, help_text="The name that templates use.")
    name = serializers.CharField(max_length=120)


class ChangesSerializer(SettingsSerializer):
    """What can be given to change an embed."""

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
    """An embed as it is answered. Takes rows of `base.presentable`."""

    slug = serializers.CharField()
    name = serializers.CharField()
    condition = NamedChoiceField("InboxCondition", Condition.values)
    secret = serializers.SerializerMethodField(
        help_text="What is kept here of its address, which no answer holds."
    )
    has_unsettled_links = serializers.BooleanField(
        help_text="A link beside the current one is not settled; `resolve/` asks Kapso."
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
        allow_null=True, help_text="The link that was begun last; `rotate/` takes it."
    )
    created_at = MomentField()
    updated_at = MomentField()

    def get_secret(self, embed: InboxEmbed) -> str:
        """Return what is kept of the current link's address; its row is not read for it."""
        state = embed.current_link.state if embed.current_link else None
        if state == AccessLink.State.ACTIVE:
            return SecretState.STORED.value
        return (
            SecretState.LOST if state == AccessLink.State.SECRET_LOST else SecretState.NONE
        ).value


class RotationSerializer(serializers.Serializer[Any]):
    """What a rotation takes."""

    newest_link_id = serializers.UUIDField(
        required=False,
        allow_null=True,
        help_text="As the embed was answered with: a rotation that is sent twice makes one link.",
    )
    revive = serializers.BooleanField(
        required=False,
        allow_null=True,
        help_text=(
            "Whether to bring it back if it was revoked. Null or left out: only where no "
            "`newest_link_id` is given."
        ),
    )

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """Return what is given; in a form, which has no null, what is blank is not."""
        values = super().to_internal_value(data)
        if isinstance(data, QueryDict) and not data.get("newest_link_id"):
            values.pop("newest_link_id", None)
        return dict(values)


class SyncSerializer(serializers.Serializer[Any]):
    """What a sync takes."""

    project = serializers.CharField(
        max_length=50, default=conf.DEFAULT_PROJECT, help_text="The alias of the Kapso project."
    )
    dry_run = serializers.BooleanField(default=False, help_text="Only look.")

    def validate_project(self, project: str) -> str:
        """Return it if there is such a project."""
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
        """Return the parameters as Kapso takes them; one that is none of them is refused."""
        values = super().to_internal_value(data)
        # A form brings its own fields along, such as the one against cross-site requests.
        others = () if isinstance(data, QueryDict) else data.keys() - self.fields.keys()
        try:
            return clean_params({**values, **dict.fromkeys(others)})
        except ParameterError as error:
            raise serializers.ValidationError({error.name: [error.expected]}) from None

    def to_representation(self, instance: Any) -> dict[str, Any]:
        """Return all of them, null where none is there."""
        return super().to_representation(instance if isinstance(instance, Mapping) else {})


class TicketSerializer(serializers.Serializer[Any]):
    """A ticket, and where it is used."""

    ticket = serializers.CharField()
    url = serializers.URLField(help_text="The address that takes it: the `src` of an iframe.")
    expires_in = serializers.IntegerField(help_text="Seconds.")


class ChoiceSerializer(serializers.Serializer[Any]):
    """One thing to pick."""

    id = serializers.CharField(help_text="What a scope or an assignment takes.")
    name = serializers.CharField(allow_blank=True)
    detail = serializers.CharField(
        allow_blank=True, help_text="A number, an e-mail address, the CRM's own id."
    )
    internal_id = serializers.CharField(
        allow_blank=True, help_text="A number's UUID, which `whatsapp_config_id` takes."
    )


class FoundSerializer(serializers.Serializer[Any]):
    """What a search found so far."""

    results = ChoiceSerializer(many=True)
    next_page = serializers.IntegerField(
        allow_null=True, help_text="Where to go on; null = that was all."
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

    Raises:
        ValidationError: it is not.
    """
    if alias not in conf.project_aliases():
        raise serializers.ValidationError(
            _("There is no Kapso project “%(alias)s” in the settings.") % {"alias": alias}
        )
    return alias
