"""Every text has a Spanish and a Brazilian Portuguese translation, and every page shows it."""

from __future__ import annotations

import gettext
import io
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polib
import pytest
from django.conf import settings
from django.contrib.auth.models import Group, Permission
from django.core.cache import cache
from django.core.management import call_command
from django.db import DatabaseError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template import RequestContext, Template
from django.test import Client, RequestFactory, modify_settings, override_settings
from django.urls import reverse
from django.utils import timezone, translation
from requests.exceptions import ConnectTimeout
from rest_framework.test import APIClient

import kapso_inbox
from kapso_inbox.access import AccessPolicy
from kapso_inbox.inbox import component, tickets
from kapso_inbox.lifecycle import create_embed, revoke_embed, update_embed
from kapso_inbox.models import AccessLink, InboxEmbed, Outcome
from kapso_inbox.sandbox.engine import Answer, Sandbox
from tests.hosts.database import connection
from tests.hosts.people import User

from .admin.cases import CONDITIONS, confirmed, make
from .conftest import FRAME

# These tests show every page again in each language. Other tests cover the same lines.
pytestmark = [pytest.mark.table, pytest.mark.no_cover]

PACKAGE = Path(kapso_inbox.__file__).parent
#: Our catalogues: name of the folder -> language code of Django and of browsers.
LANGUAGES = {"es": "es", "pt_BR": "pt-br"}

PLACEHOLDER = re.compile(r"%(?:\(\w+\))?[a-z]")
#: Words that are the same in every language: addresses, settings, commands and headers.
NAME = re.compile(r"https?://[\w.]*\w|\b(?:kapso_|manage\.)\w+|\b[A-Z]+_[A-Z_]+\b|\b[A-Z]{5,}\b")


def catalogue(locale: str) -> polib.POFile:
    return polib.pofile(str(PACKAGE / "locale" / locale / "LC_MESSAGES" / "django.po"))


def pairs(entry: polib.POEntry) -> Iterator[tuple[str, str]]:
    """Yield each text with its translation, and a plural text with each of its plural forms."""
    if not entry.msgid_plural:
        yield entry.msgid, entry.msgstr
    for form, text in entry.msgstr_plural.items():
        yield (entry.msgid_plural if form else entry.msgid), text


LAUNCH = "/kapso-inbox/sales/launch/"
#: Settings of a host that shows pages in the language of the reader's browser.
BY_READER = modify_settings(MIDDLEWARE={"append": "django.middleware.locale.LocaleMiddleware"})

each_language = pytest.mark.parametrize("locale", LANGUAGES)


@pytest.fixture(autouse=True)
def _deactivate_the_language() -> Iterator[None]:
    """Deactivate the language of the last request, which Django leaves active in the thread."""
    yield
    translation.deactivate()


# The catalogues


@each_language
def test_every_text_is_translated(locale: str) -> None:
    entries = catalogue(locale)
    assert [entry.msgid for entry in entries if not entry.translated()] == []
    forms = int(re.search(r"nplurals=(\d)", entries.metadata["Plural-Forms"])[1])  # type: ignore[index]
    plurals = [entry for entry in entries if entry.msgid_plural]
    assert {len(entry.msgstr_plural) for entry in plurals} == {forms}


@each_language
def test_placeholders_and_names_stay_as_they_are(locale: str) -> None:
    def kept(text: str) -> Counter[str]:
        return Counter(PLACEHOLDER.findall(text)) + Counter(NAME.findall(text))

    texts = [pair for entry in catalogue(locale) for pair in pairs(entry)]
    assert any(kept(text) for text, _translated in texts)
    assert [text for text, translated in texts if kept(text) != kept(translated)] == []


@each_language
def test_a_translation_ends_with_the_punctuation_of_its_text(locale: str) -> None:
    texts = [pair for entry in catalogue(locale) for pair in pairs(entry)]

    def end(text: str) -> str:
        return text[-1] if text[-1] in ".:…" else ""

    assert [text for text, translated in texts if end(text) != end(translated)] == []


#: What a sentence may end with, because it never ends in a full stop: codes, addresses, counts and
#: the names of files and settings.
NEVER_END_IN_A_STOP = frozenset(
    {
        *(
            "address",
            "answer",
            "choices",
            "done",
            "email",
            "events",
            "failure",
            "features",
            "files",
        ),
        *("inbox_origins", "keys", "link", "missing", "most", "option", "origins", "page", "path"),
        *("prefix", "projects", "reason", "tables", "value", "where"),
    }
)


@each_language
def test_no_sentence_ends_with_a_time_or_with_a_name_that_somebody_chose(locale: str) -> None:
    """One can end in "p.m.", the other in "S.A.": the sentence would end with two full stops."""
    ending = re.compile(r"%\((\w+)\)s\.(?=\s|$)")
    texts = {text for entry in catalogue(locale) for pair in pairs(entry) for text in pair}
    found = {(name, text) for text in texts for name in ending.findall(text)}
    assert {(name, text) for name, text in found if name not in NEVER_END_IN_A_STOP} == set()


@each_language
def test_the_compiled_catalogue_is_up_to_date(locale: str) -> None:
    entries = catalogue(locale)
    compiled = PACKAGE / "locale" / locale / "LC_MESSAGES" / "django.mo"
    with compiled.open("rb") as file:
        installed = gettext.GNUTranslations(file)
    fresh = gettext.GNUTranslations(io.BytesIO(entries.to_binary()))
    for entry in entries:
        asked = (entry.msgctxt, entry.msgid) if entry.msgctxt else (entry.msgid,)
        name = "pgettext" if entry.msgctxt else "gettext"
        assert getattr(installed, name)(*asked) == getattr(fresh, name)(*asked)
        for count in (0, 1, 2, 1_000_000) if entry.msgid_plural else ():
            of_many = (entry.msgid, entry.msgid_plural, count)
            assert installed.ngettext(*of_many) == fresh.ngettext(*of_many)
    assert texts_of(polib.mofile(str(compiled))) == texts_of(entries)


@each_language
def test_no_other_apps_translation_replaces_ours(locale: str) -> None:
    """All apps share one catalogue, so another app may translate a word without a context."""
    with translation.override(LANGUAGES[locale]):
        for entry in catalogue(locale):
            if entry.msgctxt:
                assert translation.pgettext(entry.msgctxt, entry.msgid) == entry.msgstr
            elif not entry.msgid_plural:
                assert translation.gettext(entry.msgid) == entry.msgstr


@each_language
def test_a_catalogue_names_no_person_and_no_date(locale: str) -> None:
    header = catalogue(locale).metadata
    assert header["Language"] == locale
    assert [name for name in header if "Date" in name or "Transl" in name] == []
    assert [value for value in header.values() if "@" in value] == []


def test_the_catalogues_have_every_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("xgettext") is None:
        reason = "xgettext is missing: install gettext"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    copy = shutil.copytree(PACKAGE, tmp_path / PACKAGE.name)
    monkeypatch.chdir(copy)
    call_command("makemessages", locale=list(LANGUAGES), no_obsolete=True, verbosity=0)
    for locale in LANGUAGES:
        found = polib.pofile(str(copy / "locale" / locale / "LC_MESSAGES" / "django.po"))
        assert texts_of(found) == texts_of(catalogue(locale))


def texts_of(entries: Iterable[Any]) -> set[tuple[str, ...]]:
    """Return the texts of a catalogue without their translations."""
    return {
        (entry.msgctxt or "", entry.msgid, entry.msgid_plural or "")
        for entry in entries
        if not entry.obsolete
    }


# The pages


class Visible(HTMLParser):
    """The texts of a page that a reader sees or a screen reader reads out."""

    ATTRIBUTES = frozenset(
        {
            *("title", "aria-label", "placeholder", "alt", "data-kapso-copied"),
            *("data-kapso-busy", "data-kapso-slow", "data-kapso-warning"),
        }
    )
    TEXTS = frozenset({"data-kapso-texts", "data-kapso-origins"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._unread = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._unread += tag in ("script", "style")
        values = {name: value or "" for name, value in attrs}
        self.texts += [value for name, value in values.items() if name in self.ATTRIBUTES]
        if values.get("type") in ("submit", "button"):
            self.texts.append(values.get("value", ""))
        for name in self.TEXTS & values.keys():
            self.texts += json.loads(values[name]).values()

    def handle_endtag(self, tag: str) -> None:
        self._unread -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        if not self._unread and data.strip():
            self.texts.append(" ".join(data.split()))


def left_in_english(locale: str, shown: list[str]) -> list[tuple[str, str]]:
    """Return our texts that are shown in English, each with the text in which it was found.

    A text of more than two words is also looked for inside longer texts, because pages join texts.
    """
    left = []
    for text, translated in {pair for entry in catalogue(locale) for pair in pairs(entry)}:
        if text == translated:
            continue
        parts = PLACEHOLDER.split(text)
        pattern = re.compile(".+?".join(map(re.escape, parts)), re.IGNORECASE | re.DOTALL)
        words = re.findall(r"[^\W\d_]{2,}", " ".join(parts))
        looks = pattern.search if len(words) > 2 else pattern.fullmatch
        left += [(text, one) for one in shown if looks(one)]
    return left


def ours(locale: str, shown: list[str]) -> set[str]:
    """Return our translations of two or more words that are shown unchanged."""
    translated = {text for entry in catalogue(locale) for _id, text in pairs(entry) if " " in text}
    return translated & set(shown)


def assert_speaks(locale: str, response: HttpResponse) -> None:
    page = response.content.decode()
    shown = Visible(page).texts
    assert f'<html lang="{LANGUAGES[locale]}"' in page
    assert left_in_english(locale, shown) == []
    assert ours(locale, shown), shown


def test_an_english_page_does_not_count_as_translated(client: Client, db: None) -> None:
    shown = Visible(client.get(LAUNCH, **FRAME).content.decode()).texts  # type: ignore[arg-type]
    left = {text for text, _where in left_in_english("es", shown)}
    assert {"You are signed out", "WhatsApp inbox"} <= left
    assert ours("es", shown) == set()


def refuse_to_record(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
    if sql.startswith("INSERT") and "launchattempt" in sql:
        raise DatabaseError("disk full")
    return execute(sql, params, many, context)


def unreadable(embed: InboxEmbed) -> None:
    lost = AccessLink.State.SECRET_LOST
    AccessLink.objects.filter(embed=embed).update(sealed_url="", state=lost)


def different(embed: InboxEmbed) -> None:
    AccessLink.objects.filter(embed=embed).update(differences="scope_type=project, scope_id=")


def expired(embed: InboxEmbed) -> None:
    past = timezone.now() - timedelta(days=1)
    InboxEmbed.objects.filter(pk=embed.pk).update(expires_at=past)


def without_link(embed: InboxEmbed) -> None:
    InboxEmbed.objects.filter(pk=embed.pk).update(current_link=None)


def for_another_page(embed: InboxEmbed) -> None:
    update_embed(embed, allowed_origins=["https://crm.example"])


def for_others(embed: InboxEmbed) -> None:
    embed.groups.set([Group.objects.create(name="Otros")])


class NobodyAdmitted(AccessPolicy):
    def admits(self, request: HttpRequest) -> bool:
        return False


class Mistaken(AccessPolicy):
    def admits(self, request: HttpRequest) -> bool:
        raise LookupError


def somebody_else(request: HttpRequest) -> str:
    return "root"


#: The settings that lead to an outcome.
BY_SETTINGS: dict[Outcome, dict[str, str]] = {
    Outcome.NOT_ADMITTED: {"ACCESS_POLICY": f"{__name__}.NobodyAdmitted"},
    Outcome.FAILED: {"ACCESS_POLICY": f"{__name__}.Mistaken"},
    Outcome.IMPERSONATED: {"REAL_USER": f"{__name__}.somebody_else"},
}
#: How to prepare an outcome that does not depend on the request alone.
BEFORE: dict[Outcome, Callable[[InboxEmbed], object]] = {
    Outcome.NOT_AVAILABLE: for_others,
    Outcome.NOT_READY: without_link,
    Outcome.REVOKED: revoke_embed,
    Outcome.EXPIRED: expired,
    Outcome.SECRET_LOST: unreadable,
    Outcome.DIFFERENT: different,
    Outcome.WRONG_ORIGIN: for_another_page,
}
#: The outcome, the query and the headers of a launch. Each shows a page of ours.
ASKED: list[tuple[Outcome, str, dict[str, str]]] = [
    (Outcome.SIGNED_OUT, "", FRAME),
    (Outcome.SIGNED_OUT, "", {**FRAME, "HTTP_SEC_FETCH_STORAGE_ACCESS": "active"}),
    (Outcome.NOT_IN_FRAME, "", {}),
    (Outcome.NOT_IN_FRAME, "", {"wsgi.url_scheme": "https"}),
    (Outcome.NOT_IN_FRAME, "", {"HTTP_SEC_FETCH_DEST": "document", "HTTP_SEC_FETCH_SITE": "none"}),
    (Outcome.NOT_IN_FRAME, "", {**FRAME, "HTTP_SEC_FETCH_DEST": "empty"}),
    (Outcome.BAD_PARAMETER, "?mode=pink", FRAME),
    (Outcome.BAD_PARAMETER, "?mode=dark&mode=light", FRAME),
    (Outcome.BAD_PARAMETER, "?colour=red", FRAME),
    (Outcome.BAD_PARAMETER, "?unread=maybe", FRAME),
    (Outcome.BAD_PARAMETER, f"?search={'x' * 200}", FRAME),
    (Outcome.BAD_PARAMETER, "?whatsapp_config_id=5", FRAME),
    (Outcome.BAD_TICKET, "?ticket=none", FRAME),
    (Outcome.OTHER_USER, "?ticket=", FRAME),
    (Outcome.WRONG_ORIGIN, "", {**FRAME, "HTTP_REFERER": "https://otro.example"}),
    *(
        (outcome, "", FRAME)
        for outcome in (*BEFORE, *BY_SETTINGS, Outcome.NOT_RECORDED)
        if outcome != Outcome.WRONG_ORIGIN
    ),
]


def test_every_outcome_with_a_page_is_tested() -> None:
    assert {outcome for outcome, *_how in ASKED} == set(Outcome) - {Outcome.OPENED}


@pytest.fixture
def manager(make_agent: Callable[..., User], sales: Group) -> User:
    """Return an agent of the group Sales who also manages the embeds."""
    user = make_agent("mona", sales, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="kapso_inbox"))
    return user


def in_frame(client: Client, locale: str, address: str, **headers: str) -> Any:
    """Request an address as a frame of the site does, with the reader's language."""
    asked = {**FRAME, "HTTP_ACCEPT_LANGUAGE": LANGUAGES[locale], **headers}
    with BY_READER:
        return client.get(address, **asked)  # type: ignore[arg-type]


@pytest.mark.django_db
@each_language
@pytest.mark.parametrize("reader", ["ana", "mona"], ids=["agent", "administrator"])
@pytest.mark.parametrize(("outcome", "query", "headers"), ASKED)
def test_the_page_of_a_launch_is_in_the_readers_language(
    client: Client,
    ana: User,
    manager: User,
    embed: InboxEmbed,
    outcome: Outcome,
    query: str,
    headers: dict[str, str],
    reader: str,
    locale: str,
) -> None:
    user = {"ana": ana, "mona": manager}[reader]
    if outcome != Outcome.SIGNED_OUT:
        client.force_login(user)
    if outcome in BEFORE:
        BEFORE[outcome](embed)
    if outcome == Outcome.IMPERSONATED:
        InboxEmbed.objects.filter(pk=embed.pk).update(personal_to=str(user.pk))
    if outcome == Outcome.OTHER_USER:
        query += tickets.issue_ticket({"ana": manager, "mona": ana}[reader], embed, {})
    client.raise_request_exception = False
    own = {**settings.KAPSO_INBOX, **BY_SETTINGS.get(outcome, {})}
    fails = outcome == Outcome.NOT_RECORDED
    with (
        override_settings(KAPSO_INBOX=own),
        BY_READER,
        connection.execute_wrapper(refuse_to_record) if fails else nullcontext(),
    ):
        response: Any = client.get(
            LAUNCH + query,
            HTTP_ACCEPT_LANGUAGE=LANGUAGES[locale],
            **headers,  # type: ignore[arg-type]
        )
    page = response.content.decode()
    assert f'data-outcome="{outcome.value}"' in page
    change = reverse("admin:kapso_inbox_inboxembed_change", args=[embed.pk])
    assert (change in page) == (reader == "mona" and outcome in BEFORE)
    assert_speaks(locale, response)


def without_permission(embed: InboxEmbed, user: User) -> None:
    user.user_permissions.remove(Permission.objects.get(codename="open_inboxembed"))


def of_another(embed: InboxEmbed, user: User) -> None:
    InboxEmbed.objects.filter(pk=embed.pk).update(personal_to="0")


def by_policy(embed: InboxEmbed, user: User) -> None:
    user.groups.clear()
    embed.groups.clear()


class Nobody(AccessPolicy):
    def openable(self, user: Any, embeds: QuerySet[InboxEmbed]) -> QuerySet[InboxEmbed]:
        return embeds.none()


@pytest.mark.django_db
@each_language
@pytest.mark.parametrize("because", [without_permission, of_another, by_policy])
def test_the_reason_why_a_manager_may_not_open_an_inbox_is_in_their_language(
    client: Client,
    manager: User,
    embed: InboxEmbed,
    because: Callable[[InboxEmbed, User], None],
    locale: str,
) -> None:
    because(embed, manager)
    client.force_login(manager)
    policy = {"ACCESS_POLICY": f"{__name__}.Nobody"} if because is by_policy else {}
    with override_settings(KAPSO_INBOX={**settings.KAPSO_INBOX, **policy}):
        response = in_frame(client, locale, LAUNCH)
    assert response.status_code == 404
    assert_speaks(locale, response)


@pytest.mark.django_db
@each_language
@pytest.mark.parametrize("is_known", [True, False], ids=["numbers", "no numbers"])
@pytest.mark.parametrize("query", ["", "?mode=dark&unread=1&language=es&status=ended"])
def test_the_settings_page_is_in_the_readers_language(
    client: Client,
    ana: User,
    embed: InboxEmbed,
    kapso_sandbox: Sandbox,
    query: str,
    is_known: bool,
    locale: str,
) -> None:
    cache.clear()
    if not is_known:
        kapso_sandbox.fail_next(answer=Answer(200, "not json"), times=9)
    client.force_login(ana)
    response = in_frame(client, locale, "/kapso-inbox/sales/settings/" + query)
    assert (response.status_code, bool(response.context["numbers_unknown"])) == (200, not is_known)
    assert_speaks(locale, response)


@pytest.mark.django_db
@each_language
@pytest.mark.parametrize("address", ["sales/", "sales/?mode=pink", "sales/signed-in/", "mine/"])
def test_a_whole_page_is_in_the_readers_language(
    client: Client, ana: User, embed: InboxEmbed, address: str, locale: str
) -> None:
    client.force_login(ana)
    assert_speaks(locale, in_frame(client, locale, f"/kapso-inbox/{address}"))


# Personal inboxes


def address_of(user: User, email: str) -> None:
    User.objects.filter(pk=user.pk).update(**{User.get_email_field_name(): email})


def no_address(user: User, kapso: Sandbox) -> None:
    address_of(user, "")


def no_member(user: User, kapso: Sandbox) -> None:
    address_of(user, "nadie@example.com")


def anothers_address(user: User, kapso: Sandbox) -> None:
    User.objects.create_user("eva", email="bruno@example.com")


def two_members(user: User, kapso: Sandbox) -> None:
    kapso.project().users[0]["email"] = "bruno@example.com"


def answer_lost(user: User, kapso: Sandbox) -> None:
    kapso.fail_next(method="POST", drop="after")


def key_refused(user: User, kapso: Sandbox) -> None:
    kapso.fail_next(method="POST", answer=Answer(403, {"error": ""}))


def unreachable(user: User, kapso: Sandbox) -> None:
    kapso.fail_next(method="POST", error=ConnectTimeout())


def unknown_to_the_host(user: Any) -> str:
    return ""


@pytest.mark.django_db
@each_language
@pytest.mark.parametrize("manages", [False, True], ids=["agent", "administrator"])
@pytest.mark.parametrize(
    ("trouble", "outcome"),
    [
        (None, "not_set_up"),
        (unknown_to_the_host, "no_match"),
        (no_address, "no_match"),
        (no_member, "no_match"),
        (anothers_address, "ambiguous"),
        (two_members, "ambiguous"),
        (answer_lost, "unsettled"),
        (key_refused, "failed"),
        (unreachable, "failed"),
    ],
)
def test_setting_up_a_personal_inbox_is_in_the_readers_language(
    client: Client,
    make_agent: Callable[..., User],
    manager: User,
    kapso_sandbox: Sandbox,
    trouble: Callable[..., object] | None,
    outcome: str,
    manages: bool,
    locale: str,
) -> None:
    cache.clear()
    user = manager if manages else make_agent("bruno")
    address_of(user, "bruno@example.com")
    client.force_login(user)
    address = "/kapso-inbox/mine/launch/"
    function = f"{__name__}.{unknown_to_the_host.__name__}"
    members = {"TEAM_MEMBER": function} if trouble is unknown_to_the_host else {}
    if trouble is None:
        response = in_frame(client, locale, address)
    else:
        if not members:
            trouble(user, kapso_sandbox)
        asked = {**FRAME, "HTTP_ACCEPT_LANGUAGE": LANGUAGES[locale]}
        with BY_READER, override_settings(KAPSO_INBOX={**settings.KAPSO_INBOX, **members}):
            response = client.post(address, **asked)  # type: ignore[arg-type]
    assert f'data-outcome="{outcome}"' in response.content.decode()
    assert_speaks(locale, response)


# The tags


WITH_BAR = "views=True settings=True"


@pytest.mark.django_db
@each_language
@pytest.mark.parametrize("delivery", ["launch", "direct"])
@pytest.mark.parametrize(
    ("tag", "is_debug"),
    [
        *(
            (f'kapso_inbox "sales" variant="{variant}" {WITH_BAR}', False)
            for variant in component.VARIANTS
        ),
        (f"kapso_my_inbox {WITH_BAR}", False),
        ('kapso_inbox "sales" contact=""', False),
        ('kapso_inbox "sales" contact="at the office"', False),
        ('kapso_inbox_link "sales" contact="at the office"', False),
        ("kapso_inbox_link nothing contact='+14155552671'", False),
        ("kapso_inbox nothing", True),
        *(
            (f'kapso_inbox "sales" {name}=wrong', True)
            for name in ("variant", "lazy", "theme_source", "id", "mode", "unread")
        ),
    ],
)
def test_a_tag_is_in_the_readers_language(
    ana: User, embed: InboxEmbed, tag: str, is_debug: bool, delivery: str, locale: str
) -> None:
    request = RequestFactory().get("/")
    request.user = ana
    chosen = {**settings.KAPSO_INBOX, "DELIVERY": delivery}
    template = Template(f"{{% load kapso_inbox %}}{{% {tag} %}}")
    with (
        override_settings(KAPSO_INBOX=chosen, DEBUG=is_debug),
        translation.override(LANGUAGES[locale]),
    ):
        html = template.render(RequestContext(request, {"wrong": "1 wrong"}))
    shown = Visible(html).texts
    assert shown
    assert left_in_english(locale, shown) == []


@pytest.fixture
def admin(client: Client, db: None) -> Client:
    """Return the browser of an administrator with all permissions of the app."""
    user = User.objects.create_user("admin", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="kapso_inbox"))
    client.force_login(user)
    return client


def url(name: str, *args: Any) -> str:
    return reverse(f"admin:kapso_inbox_{name}", args=args)


@pytest.mark.django_db(transaction=True)
@each_language
def test_the_admin_is_in_the_sites_language(
    admin: Client, kapso_sandbox: Sandbox, locale: str
) -> None:
    for number, condition in enumerate(CONDITIONS):
        make(condition, kapso_sandbox, f"ventas-{number}", name=f"Ventas {number}")
    assigned = kapso_sandbox.project().users[0]["user_id"]
    create_embed(slug="ana", name="Ana", assigned_user_id=assigned, allowed_origins=["localhost"])
    # Names come from the sandbox, and are not texts of the app.
    InboxEmbed.objects.update(assigned_user_name="Ana")
    embeds = InboxEmbed.objects.order_by("pk")
    ids = {"id": [embed.pk for embed in embeds]}
    verbs = ("rotate", "adopt", "extend", "refresh", "resolve", "revoke", "delete")
    with override_settings(LANGUAGE_CODE=LANGUAGES[locale]):
        pages = [
            admin.get(url("inboxembed_changelist")),
            admin.get(url("inboxembed_add")),
            admin.post(url("inboxembed_add"), {"scope_type": "phone_number", "expiry": "date"}),
            *(admin.get(url("inboxembed_change", embed.pk)) for embed in embeds),
            admin.get(url("inboxembed_preview", embeds[0].pk)),
            admin.get(url("inboxembed_health")),
            *(admin.get(url("inboxembed_verb", verb), ids) for verb in verbs),
            *(admin.get(confirmed(admin, verb, *embeds)[1]["Location"]) for verb in verbs),
            admin.get(url("launchattempt_changelist")),
            admin.get(url("inboxchange_changelist")),
        ]
    for page in pages:
        assert page.status_code == 200
        assert_speaks(locale, page)


@pytest.mark.django_db
@each_language
def test_the_api_answers_in_the_readers_language(embed: InboxEmbed, db: None, locale: str) -> None:
    manager = User.objects.create_user("mona")
    manager.user_permissions.set(Permission.objects.filter(content_type__app_label="kapso_inbox"))
    api = APIClient()
    api.force_authenticate(manager)
    with BY_READER:
        response = api.post(
            "/api/kapso-inbox/embeds/",
            {"slug": "sales", "name": "Ventas", "scope_type": "project"},
            format="json",
            headers={"accept-language": LANGUAGES[locale]},
        )
    assert response.status_code == 409
    error = response.json()["error"]
    assert error["code"] == "slug_taken"
    said = [error["message"], *error["fields"]["slug"]]
    assert ours(locale, said) == set(said)
