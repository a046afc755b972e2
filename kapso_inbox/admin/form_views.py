"""Adding and changing an embed: what a form says is carried out before Django shows anything."""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import timedelta
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.options import IS_POPUP_VAR
from django.contrib.admin.utils import flatten_fieldsets, unquote
from django.core.exceptions import ValidationError
from django.db import DatabaseError
from django.forms import CheckboxSelectMultiple, ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from kapso_inbox import access, conf, lifecycle, refusals
from kapso_inbox.kapso import KapsoError, UncertainError
from kapso_inbox.lifecycle import links, values
from kapso_inbox.models import InboxChange, InboxEmbed
from kapso_inbox.transactions import database

from .base import EmbedPages
from .forms import DAYS, AddEmbedForm, ChangeEmbedForm, origin_warnings
from .verbs import VERBS

logger = logging.getLogger(__name__)

#: A second press of the same button comes within this.
TWICE = timedelta(minutes=2)


class FormPages(EmbedPages):
    """The form of a new embed, and of one that is there."""

    def get_form(
        self,
        request: HttpRequest,
        obj: InboxEmbed | None = None,
        change: bool = False,
        **kwargs: Any,
    ) -> type[ModelForm[InboxEmbed]]:
        """The form of a new embed or of one that is there, with what this request knows."""
        base = ChangeEmbedForm if change else AddEmbedForm
        form: Any = super().get_form(request, obj, change=change, form=base, **kwargs)
        # On the class of this request alone: its fields are shared with all other requests.
        form.refusal = getattr(request, "_kapso_inbox_refusal", None)
        form.lookup_url = self._url("lookup")
        form.here = _here(request)
        return form  # type: ignore[no-any-return]

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """With the origins that are configured for new ones, or this very site."""
        origins = conf.value("ALLOWED_ORIGINS") or [_here(request)]
        return {"allowed_origins": origins, **super().get_changeform_initial_data(request)}

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Groups as check boxes: all of them in sight, and one key press each."""
        return super().formfield_for_manytomany(
            db_field, request, widget=CheckboxSelectMultiple(), **kwargs
        )

    def get_fieldsets(self, request: HttpRequest, obj: InboxEmbed | None = None) -> Any:
        """What is ours, what is shown, who may, and how."""
        ends = ["expiry", "expires_at"]
        look = ["default_mode", "language"]
        if obj is None:
            several = ["kapso_project"] if len(conf.project_aliases()) > 1 else []
            scope = [*several, "scope_type", "scope_id", "assigned_user_id"]
            names = ["name", "slug"]
        else:
            scope, names = ["scope_as_it_is"], ["name", "slug"]
            if not self.has_change_permission(request, obj):
                ends = ["expires"]
        return [
            (None, {"fields": names}),
            (_("What it shows"), {"fields": scope}),
            (_("Who may open it"), {"fields": ["groups"]}),
            (_("Where it may be shown"), {"fields": ["allowed_origins"]}),
            (_("How it looks, and how long it lasts"), {"fields": [*look, *ends]}),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: InboxEmbed | None = None) -> Any:
        """The scope of an embed that is there."""
        return ["scope_as_it_is", "expires"] if obj is not None else []

    def get_prepopulated_fields(self, request: HttpRequest, obj: InboxEmbed | None = None) -> Any:
        """A slug is proposed for a new one; that of another stands in templates."""
        return {"slug": ["name"]} if obj is None else {}

    @admin.display(description=gettext_lazy("Shows"))
    def scope_as_it_is(self, embed: InboxEmbed) -> str:
        """With the reason why it is not to be changed."""
        reason = _("Kapso cannot change it. Add another inbox for another number or customer.")
        return format_html('{}<br><span class="kapso-reason">{}</span>', self.shows(embed), reason)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Django's own form view; what was sent is carried out before it, outside its transaction.

        So it only ever shows: an empty form, one with what was typed wrongly, or one with what
        Kapso said to it.
        """
        if request.method == "POST":
            # No form of ours has this button, and Django would add by it, past the lifecycle.
            request.POST = request.POST.copy()  # type: ignore[assignment]
            request.POST.pop("_saveasnew", None)  # type: ignore[misc]
            done = self._carry_out_form(request, object_id)
            if done is not None:
                return done
        return super().changeform_view(request, object_id, form_url, extra_context)

    def _carry_out_form(self, request: HttpRequest, object_id: str | None) -> HttpResponse | None:
        """Do what the form says; None where Django shall show it, or say that it may not be."""
        embed = None if object_id is None else self.get_object(request, unquote(object_id))
        if object_id is None:
            allowed = self.has_add_permission(request)
        else:
            allowed = embed is not None and self.has_change_permission(request, embed)
        if not allowed:
            return None
        fields = flatten_fieldsets(self.get_fieldsets(request, embed))
        form: Any = self.get_form(request, embed, change=embed is not None, fields=fields)(
            request.POST, instance=embed
        )
        if not form.is_valid():
            return None
        try:
            if embed is None:
                return self._add(request, form)
            return self._change(request, embed, form)
        except DatabaseError as error:
            logger.exception("The database failed while the form of an embed was carried out.")
            request._kapso_inbox_refusal = refusals.explain(error)  # type: ignore[attr-defined]
            return None
        except refusals.REFUSALS as error:
            # A 404 to a change is about its link. Its scope is there, or was.
            made = form.instance if embed is None else None
            request._kapso_inbox_refusal = refusals.explain(error, made)  # type: ignore[attr-defined]
            return None

    def _add(self, request: HttpRequest, form: AddEmbedForm) -> HttpResponse:
        wanted = form.settings()
        try:
            if not access.may_take(request.user, wanted["slug"]):
                raise values.slug_taken()
            embed = lifecycle.create_embed(**wanted, actor=request.user)
        except ValidationError as error:
            twin = self._made_just_now(request, form)
            if twin is None:
                raise error from None
            # The first press may wait for Kapso still, or for good.
            links.refuse_if_being_made(twin)
            twin = links.embeds().get(pk=twin.pk)
            if twin.current_link_id is None:
                return self._uncertain(request, twin, UncertainError())
            return self.response_add(request, twin)
        except (UncertainError, DatabaseError) as error:
            # The database may have failed before it began, and may have failed for good.
            begun = links.embeds().filter(slug=wanted["slug"], current_link=None).first()
            if begun is None:
                raise error from None
            embed = begun
            self.log_addition(
                request, embed, self.construct_change_message(request, form, [], True)
            )
            return self._uncertain(request, embed, error)
        except KapsoError as error:
            form.instance.project = wanted["project"]
            self._forget(wanted["slug"], request)
            raise error from None
        self.log_addition(request, embed, self.construct_change_message(request, form, [], True))
        self._warn_of_origins(request, embed)
        return self.response_add(request, embed)

    def _change(
        self, request: HttpRequest, embed: InboxEmbed, form: ChangeEmbedForm
    ) -> HttpResponse:
        embed = lifecycle.update_embed(embed, actor=request.user, **form.changes())
        if form.has_changed():
            message = self.construct_change_message(request, form, [], False)
            self.log_change(request, embed, message)
        self._warn_of_origins(request, embed)
        return self.response_change(request, embed)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Never come to: what is saved here would pass Kapso by."""
        raise NotImplementedError("Embeds are changed through kapso_inbox.lifecycle.")

    def _made_just_now(self, request: HttpRequest, form: AddEmbedForm) -> InboxEmbed | None:
        """Return the embed that this very form has made already: its button was pressed twice."""
        wanted = form.settings()
        twin = links.embeds().filter(slug=wanted["slug"]).first()
        if twin is None:
            return None
        groups, expires_at = set(wanted.pop("groups")), wanted["expires_at"]
        if form.cleaned_data["expiry"] in map(str, DAYS):
            # So many days from now are some seconds more by now.
            if twin.expires_at is None or abs(twin.expires_at - expires_at) > TWICE:
                return None
            del wanted["expires_at"]
        if not wanted["language"]:
            del wanted["language"]  # it was left to Kapso, and Kapso has chosen
        cleaned = values.clean_settings(wanted)
        if any(getattr(twin, name) != value for name, value in cleaned.items()):
            return None
        if groups != set(twin.groups.using(database())):
            return None
        made = InboxChange.objects.for_write().filter(
            action=InboxChange.Action.CREATED,
            embed_id=twin.pk,
            username=request.user.get_username(),
            created_at__gt=timezone.now() - TWICE,
        )
        return twin if made.exists() else None

    def _forget(self, slug: str, request: HttpRequest) -> None:
        """Delete the row of an embed that Kapso refused: the form still holds all of it.

        One that was there before, and was only taken over, has more links than this: it stays.
        """
        refused = links.embeds().filter(slug=slug, current_link=None).first()
        if refused is not None and links.links_of(refused).count() == 1:
            # Where it is not so any more, somebody else is at it.
            with suppress(lifecycle.LiveError, InboxEmbed.DoesNotExist):
                lifecycle.delete_embed(refused, actor=request.user)

    def _uncertain(
        self, request: HttpRequest, embed: InboxEmbed, error: UncertainError | DatabaseError
    ) -> HttpResponse:
        self.message_user(
            request,
            refusals.texts(error)
            + " "
            + _(
                "Do not add it again: press “%(resolve)s” here in some minutes, then rotate the "
                "link."
            )
            % {"resolve": VERBS["resolve"].label},
            messages.WARNING,
        )
        return self._go_on(request, "change", embed)

    def _go_on(self, request: HttpRequest, name: str, embed: InboxEmbed) -> HttpResponse:
        """To a page of an embed that was just added, or home for who may add and not look."""
        if self.has_view_permission(request, embed):
            return HttpResponseRedirect(self._url(name, embed.pk))
        return HttpResponseRedirect(reverse("admin:index", current_app=self.admin_site.name))

    def _warn_of_origins(self, request: HttpRequest, embed: InboxEmbed) -> None:
        warnings = origin_warnings()
        if not embed.allowed_origins:
            self.message_user(request, warnings["none"], messages.WARNING)
        elif "*" in embed.allowed_origins:
            self.message_user(request, warnings["any"], messages.WARNING)

    def response_add(
        self, request: HttpRequest, obj: InboxEmbed, post_url_continue: str | None = None
    ) -> HttpResponse:
        """On to the embed as people will see it, with the tag to copy."""
        if {IS_POPUP_VAR, "_addanother", "_continue"} & set(request.POST):
            return super().response_add(request, obj, post_url_continue)
        text = _("“%(name)s” is there. This is what it looks like, and how to show it on a page.")
        self.message_user(request, text % {"name": obj.name}, messages.SUCCESS)
        return self._go_on(request, "preview", obj)

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """With the panel of an embed that is there."""
        embed = kwargs.get("obj")
        if embed is not None:
            # Not the form's own, which holds what was typed and perhaps refused.
            context["panel"] = self._panel(request, self._shown(request).get(pk=embed.pk))
        return super().render_change_form(request, context, *args, **kwargs)


def _here(request: HttpRequest) -> str:
    return f"{request.scheme}://{request.get_host()}"
