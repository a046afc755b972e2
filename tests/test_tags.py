from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.template import Context, RequestContext, Template, TemplateSyntaxError
from django.test import RequestFactory, override_settings
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy

from kapso_inbox.lifecycle import revoke_embed
from kapso_inbox.models import InboxEmbed, InboxOpening
from kapso_inbox.sandbox.engine import Sandbox

STYLESHEET = '<link rel="stylesheet" href="/static/kapso_inbox/kapso_inbox.css">\n'
FRAME = (
    '<div class="kapso-inbox">\n'
    '<iframe class="kapso-inbox__frame" src="{src}" title="{title}" '
    'allow="microphone https://inbox.kapso.ai; clipboard-write https://inbox.kapso.ai; '
    'fullscreen https://inbox.kapso.ai" '
    'sandbox="allow-scripts allow-same-origin allow-forms allow-popups '
    'allow-popups-to-escape-sandbox allow-downloads" referrerpolicy="strict-origin"></iframe>\n'
    "</div>\n"
)


def render(source: str, user: Any = None, **context: Any) -> str:
    template = Template("{% load kapso_inbox %}" + source)
    if user is None:
        return template.render(Context(context))
    request = RequestFactory().get("/")
    request.user = user
    return template.render(RequestContext(request, context))


def frame(src: str, title: str = "WhatsApp inbox: support") -> str:
    return FRAME.format(src=src, title=title)


def with_settings(**values: Any) -> override_settings:
    return override_settings(KAPSO_INBOX={**settings.KAPSO_INBOX, **values})


def test_the_tag_renders_a_frame_that_starts_from_the_launch() -> None:
    assert render('{% kapso_inbox "support" %}') == STYLESHEET + frame(
        "/kapso-inbox/support/launch/"
    )


def test_theme_and_filters_are_put_on_the_launch() -> None:
    html = render(
        '{% kapso_inbox slug mode="dark" search=phone unread=True status=None title="Acme & Co" %}',
        slug="support",
        phone="+55 11",
    )
    assert html == STYLESHEET + frame(
        "/kapso-inbox/support/launch/?mode=dark&amp;search=%2B55+11&amp;unread=1", "Acme &amp; Co"
    )


def test_a_hostile_title_or_search_is_escaped() -> None:
    html = render(
        '{% kapso_inbox "support" title=evil search=evil %}', evil='"><script>alert(1)</script>'
    )
    assert "<script" not in html
    assert html.count("<iframe") == 1


def test_each_frame_brings_its_stylesheet() -> None:
    """A fragment of a page can be cached, or put into another page, without the rest of it."""
    assert render('{% kapso_inbox "a" %}{% kapso_inbox "b" %}').count(STYLESHEET) == 2


def test_the_url_tag_prints_or_keeps_the_address_of_the_launch() -> None:
    tag = '{% kapso_inbox_url "support" mode="dark" unread=1'
    url = "/kapso-inbox/support/launch/?mode=dark&unread=1"
    assert render(tag + " %}") == url.replace("&", "&amp;")
    assert render(tag + " as url %}[{{ url|safe }}]") == f"[{url}]"
    assert render("{% autoescape off %}" + tag + " %}{% endautoescape %}") == url


@pytest.mark.django_db
def test_it_costs_no_query_no_request_and_no_decryption(
    kapso_sandbox: Sandbox, ana: User, django_assert_num_queries: Any
) -> None:
    source = "{% for slug in slugs %}{% kapso_inbox slug %}{% endfor %}"
    with django_assert_num_queries(0), with_settings(ENCRYPTION_KEYS={}):
        assert render(source, slugs=["support"] * 50).count("<iframe") == 50
        html = render(source, user=ana, slugs=[f"team-{n}" for n in range(50)])
    assert html.count("<iframe") == 50
    assert kapso_sandbox.requests == []


LITERALS = [
    ('{% kapso_inbox "support" mode="black" %}', "system, light, dark"),
    ('{% kapso_inbox "support" language="pt" %}', "en, es"),
    ('{% kapso_inbox "support" status="open" %}', "active, ended, all"),
    ('{% kapso_inbox "support" whatsapp_config_id=5 %}', "UUID"),
    ('{% kapso_inbox "support" unread="yes" %}', "1, true"),
    ('{% kapso_inbox "support" theme="dark" %}', "mode, language, status"),
    ('{% kapso_inbox "two words" %}', "slug"),
    ("{% kapso_inbox 1.5 %}", "slug"),
    ("{% kapso_inbox None %}", "slug"),
    ('{% kapso_inbox "" %}', "slug"),
    ("{% kapso_inbox %}", "needs the slug"),
    ('{% kapso_inbox "support" "dark" %}', "name=value"),
    ('{% kapso_inbox "support" mode="dark" mode="light" %}', "twice"),
    ('{% kapso_inbox "support" as inbox %}', "kapso_inbox_url"),
    ('{% kapso_inbox_url "support" mode="black" as url %}', "system, light, dark"),
    ('{% kapso_inbox_url "support" title="x" %}', "mode, language"),
]


@pytest.mark.parametrize(("source", "message"), LITERALS)
def test_a_wrong_literal_is_a_syntax_error_that_lists_the_right_ones(
    source: str, message: str
) -> None:
    with pytest.raises(TemplateSyntaxError, match=message):
        render(source)


@pytest.mark.parametrize("debug", [True, False])
def test_a_wrong_value_at_run_time_is_left_out_said_in_debug_and_logged(
    debug: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with override_settings(DEBUG=debug):
        html = render('{% kapso_inbox "support" mode=mode unread=1 %}', mode="<black>")
    assert 'src="/kapso-inbox/support/launch/?unread=1"' in html
    assert ("mode: is one of system, light, dark" in html) is debug
    assert "<black>" not in html
    assert "mode: is one of system, light, dark" in caplog.text


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize("slug", ["", "two words", None, "a/../b"])
def test_a_wrong_slug_at_run_time_never_breaks_the_page(
    debug: bool, slug: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with override_settings(DEBUG=debug):
        html = render("before {% kapso_inbox slug %} after", slug=slug)
        assert render("{% kapso_inbox_url slug %}", slug=slug) == ""
    assert "<iframe" not in html
    assert html.startswith("before")
    assert ('role="alert"' in html) is debug
    assert "not the slug of an embed" in caplog.text


def test_a_variable_that_is_missing_is_left_out() -> None:
    html = render('{% kapso_inbox "support" search=contact.phone mode=request.user.theme %}')
    assert 'src="/kapso-inbox/support/launch/"' in html


@override_settings(ROOT_URLCONF="tests.urls_without_inbox")
def test_a_urlconf_without_our_addresses_never_breaks_the_page(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert "<iframe" not in render('{% kapso_inbox "support" %}')
    assert render('{% kapso_inbox_url "support" %}') == ""
    assert 'include("kapso_inbox.urls")' in caplog.text


@pytest.mark.parametrize("delivery", ["launch", "direct"])
@pytest.mark.parametrize("request_", ["a leave request", {"id": 5}, 7, object(), None])
def test_a_page_may_call_something_else_a_request(delivery: str, request_: Any) -> None:
    with with_settings(DELIVERY=delivery):
        html = render('{% kapso_inbox "support" %}', request=request_)
    assert ("<iframe" in html) is (delivery == "launch")


def test_a_request_without_a_user_gets_no_secret(rf: RequestFactory) -> None:
    with with_settings(DELIVERY="direct"):
        assert "<iframe" not in render('{% kapso_inbox "support" %}', request=rf.get("/"))


class Mute:
    def __str__(self) -> str:
        raise ValueError("no text")


ODD = [gettext_lazy("Light"), mark_safe('"><script>'), 5.5, b"x", [], {}, object(), Mute()]


@pytest.mark.parametrize(
    "value", [*ODD, "a\0b", "x" * 5000, "\ud800"], ids=lambda v: type(v).__name__
)
@pytest.mark.parametrize("name", ["mode", "search", "unread", "whatsapp_config_id", "title"])
@pytest.mark.parametrize("autoescape", ["on", "off"])
def test_an_odd_value_never_breaks_the_page(value: Any, name: str, autoescape: str) -> None:
    tag = f'{{% kapso_inbox "a" {name}=v %}}'
    html = render(f"{{% autoescape {autoescape} %}}{tag}{{% endautoescape %}}", v=value)
    assert html.count("<iframe") == 1
    assert "<script" not in html


def test_an_embed_itself_stands_for_its_slug() -> None:
    embed = InboxEmbed(slug="support", name="Sales")
    assert 'src="/kapso-inbox/support/launch/"' in render("{% kapso_inbox embed %}", embed=embed)


@pytest.mark.parametrize("projects", [None, {"b": {}}, {"b": None}])
def test_projects_that_are_not_in_order_never_break_the_page(projects: Any) -> None:
    with with_settings(PROJECTS=projects):
        assert "<iframe" in render('{% kapso_inbox "support" %}')


# Direct delivery


@pytest.fixture
def direct() -> Any:
    with with_settings(DELIVERY="direct"):
        yield


@pytest.mark.django_db
def test_direct_delivery_puts_the_secret_address_into_the_page(
    direct: None, kapso_sandbox: Sandbox, embed: InboxEmbed, ana: User
) -> None:
    (record,) = kapso_sandbox.project().active_embeds()
    sent = len(kapso_sandbox.requests)
    html = render('{% kapso_inbox "sales" mode="dark" %}', user=ana)
    assert f'src="{record["embed_url"]}?mode=dark"' in html
    assert list(InboxOpening.objects.values_list("outcome", flat=True)) == ["opened"]
    assert len(kapso_sandbox.requests) == sent


@pytest.mark.django_db
def test_direct_delivery_shows_nothing_to_those_who_may_not(
    direct: None,
    kapso_sandbox: Sandbox,
    embed: InboxEmbed,
    make_agent: Callable[..., User],
    caplog: pytest.LogCaptureFixture,
) -> None:
    token = kapso_sandbox.project().active_embeds()[0]["token"]
    source = '{% kapso_inbox "sales" %}'
    for html in (
        render(source),
        render(source, user=AnonymousUser()),
        render(source, user=make_agent("bo")),
        render('{% kapso_inbox "nobodys" %}', user=make_agent("cy")),
    ):
        assert "<iframe" not in html
        assert token not in html
    assert token not in caplog.text
    assert "needs a request of a signed-in user" in caplog.text


@pytest.mark.django_db
def test_direct_delivery_of_a_revoked_embed_is_said_in_debug(
    direct: None, embed: InboxEmbed, ana: User
) -> None:
    revoke_embed(embed)
    with override_settings(DEBUG=True):
        assert "Revoked" in render('{% kapso_inbox "sales" %}', user=ana)


@pytest.mark.django_db
def test_direct_delivery_costs_one_query_for_the_embed_and_one_for_the_record(
    direct: None, embed: InboxEmbed, ana: User, django_assert_num_queries: Any
) -> None:
    ana.has_perm("kapso_inbox.open_inboxembed")  # as a page behind a permission has asked already
    with django_assert_num_queries(4):  # and the savepoint around the record, begun and released
        render('{% kapso_inbox "sales" %}', user=ana)


@pytest.mark.django_db
def test_the_url_tag_is_the_launch_also_with_direct_delivery(
    direct: None, embed: InboxEmbed, ana: User
) -> None:
    assert render('{% kapso_inbox_url "sales" %}', user=ana) == "/kapso-inbox/sales/launch/"
