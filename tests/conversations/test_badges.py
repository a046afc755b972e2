"""`{% kapso_waiting %}`: the badge as a page is built, before the script asks for its number."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.contrib.staticfiles import finders
from django.core.cache import cache
from django.core.cache.backends.dummy import DummyCache
from django.template import Context, RequestContext, Template, TemplateSyntaxError, engines
from django.test import Client, RequestFactory, override_settings
from django.urls import reverse
from django.utils import translation

from kapso_inbox.models import InboxEmbed
from tests.conftest import FRAME
from tests.hosts.people import User

from .conftest import Post, about, handoff

pytestmark = pytest.mark.django_db

RECEIVED = "whatsapp.message.received"
HANDOFF = "workflow.execution.handoff"

ASSETS = (
    '<link rel="stylesheet" href="/static/kapso_inbox/waiting.css">\n'
    '<script src="/static/kapso_inbox/waiting.js" defer></script>\n'
)
INBOX_ASSETS = "/static/kapso_inbox/kapso_inbox.js"


def render(source: str, user: Any = None, /, **context: Any) -> str:
    template = Template("{% load kapso_inbox kapso_conversations %}" + source)
    if user is None:
        return template.render(Context(context))
    request = RequestFactory().get("/")
    request.user = user
    return template.render(RequestContext(request, context))


def badge(
    slugs: str = "sales", kind: str = "both", number: str = "", text: str = "", more: str = ""
) -> str:
    one, other = {
        "both": ("conversation waits for an answer", "conversations wait for an answer"),
        "unanswered": ("conversation is unanswered", "conversations are unanswered"),
        "handoff": ("conversation waits for a human", "conversations wait for a human"),
    }[kind]
    return (
        f'<kapso-waiting class="kapso-waiting" lang="en" data-address="/kapso-inbox/waiting/" '
        f'data-slugs="{slugs}" data-kind="{kind}" data-one="{{n}} {one}" '
        f'data-other="{{n}} {other}"{more}{"" if number else " hidden"}>'
        f'<span class="kapso-waiting__number" aria-hidden="true"'
        f"{f' title={chr(34)}{text}{chr(34)}' if number else ''} data-number>{number}</span>"
        f'<span class="kapso-waiting__text" data-text>{text}</span></kapso-waiting>'
    )


@pytest.fixture
def counted(client: Client, ana: User, embed: InboxEmbed, post: Post) -> User:
    """Let two customers write, of whom one waits for a human, and count that for an agent."""
    post(RECEIVED, about(1, "c-1"))
    post(RECEIVED, about(2, "c-2"))
    post(HANDOFF, handoff(3, "c-2"))
    client.force_login(ana)
    counts = client.get(reverse("kapso_inbox:waiting"), {"slug": "sales"}).json()
    assert counts == {"sales": {"unanswered": 2, "handoff": 1}}
    return ana


def test_a_badge_starts_hidden_while_nothing_was_counted(ana: User) -> None:
    assert render('{% kapso_waiting "sales" %}', ana) == ASSETS + badge()


@pytest.mark.parametrize(
    ("arguments", "kind", "number", "text"),
    [
        ("", "both", "2", "2 conversations wait for an answer"),
        ('kind="unanswered"', "unanswered", "2", "2 conversations are unanswered"),
        ('kind="handoff"', "handoff", "1", "1 conversation waits for a human"),
        ("kind=missing", "both", "2", "2 conversations wait for an answer"),
    ],
)
def test_it_shows_what_was_last_counted(
    counted: User, arguments: str, kind: str, number: str, text: str
) -> None:
    html = render(f'{{% kapso_waiting "sales" {arguments} %}}', counted)
    assert html == ASSETS + badge("sales", kind, number, text)


def test_whoever_acts_as_the_user_is_not_shown_what_was_counted_for_the_user(
    counted: User,
) -> None:
    request = RequestFactory().get("/")
    request.user, request.impersonator = counted, "support@example.com"  # type: ignore[attr-defined]
    tag = '{% load kapso_conversations %}{% kapso_waiting "sales" %}'
    assert " hidden>" in Template(tag).render(RequestContext(request))


def nobody_knows(request: Any) -> Any:
    raise RuntimeError("The impersonator could not be read")


def test_a_host_that_cannot_say_who_is_there_keeps_its_page(
    counted: User, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.KAPSO_INBOX = {**settings.KAPSO_INBOX, "REAL_USER": f"{__name__}.nobody_knows"}
    assert " hidden>" in render('{% kapso_waiting "sales" %}', counted)
    assert caplog.messages == ["REAL_USER failed for a badge: RuntimeError"]


def test_it_makes_no_query(counted: User, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        html = render('{% kapso_waiting "sales" %}{% kapso_waiting "sales" "mine" %}', counted)
    assert ">2<" in html


def test_it_takes_several_slugs_the_users_own_and_an_embed(embed: InboxEmbed, ana: User) -> None:
    html = render('{% kapso_waiting one "support" "mine" title=1 %}', ana, one=embed)
    assert html == ASSETS + badge("sales support mine", more=" data-in-title")


def test_a_large_number_is_shortened(ana: User, monkeypatch: pytest.MonkeyPatch) -> None:
    from kapso_inbox.conversations.waiting import _last_key

    cache.set(_last_key(ana.pk, "sales"), (120, 0, 120))
    html = render('{% kapso_waiting "sales" %}', ana)
    assert html == ASSETS + badge("sales", "both", "99+", "120 conversations wait for an answer")


def test_whoever_is_not_signed_in_gets_nothing() -> None:
    assert render('{% kapso_waiting "sales" %}', AnonymousUser()) == ""


def test_without_a_request_the_script_finds_out_who_reads() -> None:
    assert render('{% kapso_waiting "sales" %}') == ASSETS + badge()


@pytest.mark.parametrize("value", ["", None, "a b", '"><script>', object()])
def test_what_is_not_a_slug_is_left_out_and_logged(
    ana: User, caplog: pytest.LogCaptureFixture, value: object
) -> None:
    assert render("{% kapso_waiting slug %}", ana, slug=value) == ""
    assert render('{% kapso_waiting slug "sales" %}', ana, slug=value) == ASSETS + badge()
    assert "A kapso_waiting tag in <unknown source>: one of its arguments is not" in caplog.text


def test_a_missing_variable_is_left_out(ana: User, caplog: pytest.LogCaptureFixture) -> None:
    assert render("{% kapso_waiting missing %}", ana) == ""
    assert "is not the slug of an embed" in caplog.text


@pytest.mark.parametrize(("option", "said"), [("kind", "both, unanswered"), ("title", "1, true")])
def test_a_wrong_option_is_left_out_and_logged(
    ana: User, caplog: pytest.LogCaptureFixture, option: str, said: str
) -> None:
    html = render(f'{{% kapso_waiting "sales" {option}=value %}}', ana, value='"><script>')
    assert html == ASSETS + badge()
    assert said in caplog.text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("", "needs the slug"),
        ('kind="both"', "needs the slug"),
        ('"a b"', "is not the slug"),
        ('"a" kin="both"', "has no argument 'kin'; it has: kind, title"),
        ('"a" kind="unread"', "both, unanswered, handoff"),
        ('"a" title="yes"', "1, true"),
        ('"a" kind="both" kind="both"', "twice"),
        ('"a" kind="both" "b"', "not of the form name=value"),
    ],
)
def test_a_wrong_literal_is_a_syntax_error(arguments: str, said: str) -> None:
    with pytest.raises(TemplateSyntaxError, match=said):
        render(f"{{% kapso_waiting {arguments} %}}")


def test_a_site_without_the_addresses_gets_its_page_and_a_line_in_the_log(
    ana: User, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.ROOT_URLCONF = "tests.urls_without_inbox"
    assert render('{% kapso_waiting "sales" %}', ana) == ""
    assert "the URLconf lacks" in caplog.text


def test_a_cache_that_fails_does_not_break_the_page(ana: User) -> None:
    with override_settings(CACHES={"default": {"BACKEND": f"{__name__}.BrokenCache"}}):
        assert render('{% kapso_waiting "sales" %}', ana) == ASSETS + badge()


class BrokenCache(DummyCache):
    def __init__(self, *args: Any) -> None:
        super().__init__("", {})

    def get_many(self, *args: Any, **options: Any) -> Any:
        raise ConnectionError


def test_the_texts_are_in_the_readers_language_and_say_so(ana: User) -> None:
    with translation.override("es-mx"):
        assert ' lang="es"' in render('{% kapso_waiting "sales" %}', ana)


# Stylesheet and script


def test_a_page_gets_stylesheet_and_script_once(ana: User) -> None:
    badges = '{% kapso_waiting "a" %}{% kapso_waiting "b" %}'
    assert render(badges, ana).count("<script") == 1
    html = render("<head>{% kapso_inbox_assets %}{% kapso_waiting_assets %}</head>" + badges, ana)
    assert html.count("<script") == 2
    assert f"{ASSETS}</head><kapso-waiting" in html


def test_a_page_without_a_badge_gets_neither(ana: User) -> None:
    assert "waiting" not in render('{% kapso_inbox "sales" views=1 variant="floating" %}', ana)


def test_stylesheet_and_script_carry_the_nonce(ana: User) -> None:
    html = render('{% kapso_waiting "sales" %}', ana, csp_nonce="n0nce")
    assert html.count(' nonce="n0nce"') == 2


@pytest.mark.parametrize("name", ["waiting.js", "waiting.css", "notifications.js"])
def test_stylesheet_and_scripts_stay_small(name: str) -> None:
    content = Path(str(finders.find(f"kapso_inbox/{name}"))).read_bytes()
    assert len(gzip.compress(content, mtime=0)) < 3000


# In an inbox


@pytest.mark.parametrize("variant", ["drawer", "floating"])
def test_the_button_of_an_inbox_carries_a_badge(counted: User, variant: str) -> None:
    html = render(
        f'{{% kapso_inbox "sales" variant="{variant}" waiting=1 title="Chat" %}}', counted
    )
    button = html[html.index('<button class="kapso-inbox__button"') : html.index("</button>")]
    assert badge("sales", "both", "2", "2 conversations wait for an answer") in button
    # What a screen reader says is the title and the number.
    assert "aria-label" not in button
    assert ">Chat</span>" in button
    assert html.index(ASSETS) < html.index("<kapso-inbox ")
    assert html.count("<script") == 2


def test_the_view_of_those_who_wait_for_a_human_carries_their_number(counted: User) -> None:
    html = render('{% kapso_inbox "sales" views=1 waiting=1 %}', counted)
    views = re.findall(r"<a [^>]+ data-view>.*?</a>", html, re.DOTALL)
    assert ["<kapso-waiting" in view for view in views] == [False, False, True]
    assert badge("sales", "handoff", "1", "1 conversation waits for a human") in views[2]


def test_the_own_inbox_carries_one(ana: User) -> None:
    assert badge("mine") in render('{% kapso_my_inbox variant="drawer" waiting=1 %}', ana)


def test_somebody_who_is_not_signed_in_sees_the_button_alone() -> None:
    html = render('{% kapso_inbox "sales" variant="floating" waiting=1 %}', AnonymousUser())
    assert "<kapso-waiting" not in html
    assert "<button" in html


def test_without_the_app_the_option_is_a_problem_that_says_what_to_install(
    ana: User, caplog: pytest.LogCaptureFixture
) -> None:
    said = 'needs "kapso_inbox.conversations" in INSTALLED_APPS'
    others = [name for name in settings.INSTALLED_APPS if name != "kapso_inbox.conversations"]
    source = '{% load kapso_inbox %}{% kapso_inbox "sales" variant="drawer" waiting=flag %}'
    template = Template(source)
    with override_settings(INSTALLED_APPS=others, DEBUG=True):
        assert not apps.is_installed("kapso_inbox.conversations")
        html = template.render(Context({"flag": True}))
        with pytest.raises(TemplateSyntaxError, match=said):
            Template(source.replace("flag", "1"))
    assert "waiting.js" not in html
    assert said.replace('"', "&quot;") in html
    assert said in caplog.text


# In the whole pages


@pytest.mark.parametrize("page", ["sales", "mine"])
def test_the_title_of_a_whole_page_shows_how_many_wait(
    client: Client, ana: User, embed: InboxEmbed, page: str
) -> None:
    client.force_login(ana)
    html = client.get(f"/kapso-inbox/{page}/").content.decode()
    assert badge(page, more=" data-in-title") in html
    others = [name for name in settings.INSTALLED_APPS if name != "kapso_inbox.conversations"]
    with override_settings(INSTALLED_APPS=others):
        html = client.get(f"/kapso-inbox/{page}/").content.decode()
    assert "<kapso-inbox " in html
    assert "waiting" not in html


# In the settings of a user


def test_the_settings_offer_notifications(client: Client, ana: User, embed: InboxEmbed) -> None:
    client.force_login(ana)
    address = "/kapso-inbox/sales/settings/"
    answer = client.get(address, **FRAME)  # type: ignore[arg-type]
    page = answer.content.decode()
    assert "data-kapso-notifications" in page
    assert "script-src 'self'" in answer["Content-Security-Policy"]
    # It is kept in the browser, and not sent with the form.
    assert 'type="checkbox" id="kapso-inbox-notifications" aria' in page


def test_without_the_app_they_do_not(client: Client, ana: User, embed: InboxEmbed) -> None:
    client.force_login(ana)
    others = [name for name in settings.INSTALLED_APPS if name != "kapso_inbox.conversations"]
    with override_settings(INSTALLED_APPS=others):
        answer = client.get("/kapso-inbox/sales/settings/", **FRAME)  # type: ignore[arg-type]
    assert b"otifications" not in answer.content
    assert "script-src" not in answer["Content-Security-Policy"]


# In Jinja2


def test_the_functions_for_jinja2_return_what_the_tags_render(ana: User, settings: Any) -> None:
    pytest.importorskip("jinja2")
    extension = "kapso_inbox.jinja2.KapsoInboxExtension"
    jinja2 = {
        "BACKEND": "django.template.backends.jinja2.Jinja2",
        "NAME": "jinja2",
        "OPTIONS": {"extensions": [extension]},
    }
    settings.TEMPLATES = [*settings.TEMPLATES, jinja2]
    request = RequestFactory().get("/")
    request.user = ana
    page = engines["jinja2"].from_string(
        '{{ kapso_waiting_assets() }}{{ kapso_waiting("sales", "mine", kind="handoff", title=1) }}'
        '{{ kapso_waiting("sales", kind=missing) }}'
    )
    rendered = page.render({}, request)
    assert rendered == (
        ASSETS + badge("sales mine", "handoff", more=" data-in-title") + badge("sales")
    )
    with pytest.raises(TypeError, match="kin"):
        engines["jinja2"].from_string('{{ kapso_waiting("sales", kin=1) }}').render({}, request)
