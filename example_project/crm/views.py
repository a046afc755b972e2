"""The CRM's pages."""

import re
from typing import Any, cast

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LoginView
from django.core.paginator import Paginator
from django.db.models import Count, Exists, OuterRef, Q
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from crm import people
from crm.forms import ContactForm, ThemeForm
from crm.models import Contact, Team, User
from kapso_inbox.access import get_policy
from kapso_inbox.conversations.models import Conversation, ConversationQuerySet
from kapso_inbox.models import InboxEmbed

CONTACTS_A_PAGE = 12
TIMELINE_LINES = 8


class SignIn(LoginView):
    """The sign-in page. On the sandbox it offers the demo's accounts."""

    redirect_authenticated_user = True

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the accounts, which are public on the sandbox."""
        if settings.DEBUG and settings.SANDBOX:
            kwargs |= {"accounts": people.ACCOUNTS, "password": people.SANDBOX_PASSWORD}
        return super().get_context_data(**kwargs)


@login_required
def contacts(request: HttpRequest) -> HttpResponse:
    """Show the contacts in pages, searched and filtered by stage."""
    query = request.GET.get("q", "").strip()
    found = Contact.objects.filter(_matches(query)) if query else Contact.objects.all()
    counts = dict(found.order_by().values_list("stage").annotate(Count("pk")))
    stage = request.GET.get("stage", "")
    if stage in Contact.Stage.values:
        found = found.filter(stage=stage)
    else:
        stage = ""
    theirs = _conversations(request).waiting().filter(phone=OuterRef("whatsapp"))
    # Who waits for an answer comes first.
    found = found.annotate(waits=Exists(theirs.exclude(phone=""))).order_by("-waits", "name", "pk")
    page = Paginator(found.select_related("team", "owner"), CONTACTS_A_PAGE).get_page(
        request.GET.get("page")
    )
    tabs = [
        ("", "All", sum(counts.values())),
        *((value, label, counts.get(value, 0)) for value, label in Contact.Stage.choices),
    ]
    return render(
        request,
        "crm/contacts.html",
        {
            "section": "contacts",
            "page": page,
            "is_empty": not counts and not query,
            "my_teams": _user(request).teams(),
            "query": query,
            "stage": stage,
            "tabs": [
                {
                    "label": label,
                    "count": count,
                    "current": value == stage,
                    "query": _query(q=query, stage=value),
                }
                for value, label, count in tabs
            ],
            "page_query": _query(q=query, stage=stage),
        },
    )


@login_required
def contact(request: HttpRequest, pk: int) -> HttpResponse:
    """Show a contact next to their conversations in the team's inbox."""
    person = get_object_or_404(Contact.objects.select_related("team", "owner"), pk=pk)
    form = ContactForm(request.POST or None, instance=person, label_suffix="")
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, "Saved.")
        return redirect(person)
    context = {
        "section": "contacts",
        "contact": person,
        "form": form,
        "timeline": person.timeline.all()[:TIMELINE_LINES],
    }
    return render(request, "crm/contact.html", context)


@login_required
def inbox(request: HttpRequest) -> HttpResponse:
    """Show the inbox of the user's first team."""
    team = _user(request).teams().first()
    return render(request, "crm/inbox.html", {"section": "inbox", "team": team})


@login_required
def my_inbox(request: HttpRequest) -> HttpResponse:
    """Show the user's own conversations. The inbox finds the user's account at Kapso."""
    return render(request, "crm/my_inbox.html", {"section": "inbox"})


@login_required
def team(request: HttpRequest, slug: str) -> HttpResponse:
    """Show a team. Every user may see the page; the inbox itself checks who may open it."""
    shown = get_object_or_404(Team.objects.annotate(Count("contacts")), slug=slug)
    members = User.objects.filter(groups=shown.group).order_by("first_name", "pk")
    return render(request, "crm/team.html", {"section": "team", "team": shown, "members": members})


@login_required
@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    """Store the user's theme, and return to the page they came from."""
    form = ThemeForm(request.POST, instance=_user(request))
    if form.is_valid():
        form.save()
    back = request.POST.get("next", "")
    safe = url_has_allowed_host_and_scheme(
        back, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return redirect(back if safe else "contacts")


def _user(request: HttpRequest) -> User:
    """Return the signed-in user. Every view that calls this requires one."""
    return cast(User, request.user)


def _conversations(request: HttpRequest) -> ConversationQuerySet:
    """Return the conversations in the inboxes that the user may open."""
    embeds = get_policy().openable(_user(request), InboxEmbed.objects.all())
    return Conversation.objects.within(*embeds)


def _matches(query: str) -> Q:
    """Return the condition for a name, a company, or a number in any notation."""
    matches = Q(name__icontains=query) | Q(company__icontains=query)
    digits = re.findall(r"[0-9]", query)
    return matches | Q(phone__regex="[^0-9]*".join(digits)) if digits else matches


def _query(**values: str) -> str:
    """Return `?a=b` for the values that are not blank; `?` if all are."""
    query = QueryDict(mutable=True)
    query.update({name: value for name, value in values.items() if value})
    return f"?{query.urlencode()}" if query else "?"
