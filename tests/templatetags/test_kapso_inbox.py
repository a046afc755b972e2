"""The tags of `{% load kapso_inbox %}`, in templates of hosts."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.contrib.staticfiles import finders
from django.db import transaction
from django.template import Context, RequestContext, Template, TemplateSyntaxError
from django.test import Client, RequestFactory, override_settings
from django.utils.functional import SimpleLazyObject, empty
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy

from kapso_inbox.csp import STYLESHEET
from kapso_inbox.inbox import component
from kapso_inbox.lifecycle import revoke_embed
from kapso_inbox.models import InboxEmbed, InboxPreference, LaunchAttempt
from kapso_inbox.sandbox.engine import Sandbox
from kapso_inbox.signals import inbox_opened
from tests.conftest import FRAME as FROM_A_FRAME
from tests.hosts.database import connection
from tests.hosts.people import User

ASSETS = (
    '<link rel="stylesheet" href="/static/kapso_inbox/kapso_inbox.css">\n'
    '<script src="/static/kapso_inbox/kapso_inbox.js" defer></script>\n'
)
FRAME = (
    '<iframe class="kapso-inbox__frame" name="kapso-inbox-support" src="{src}" title="{title}" '
    'width="100%" height="480" loading="lazy" allow="microphone https://inbox.kapso.ai; '
    'clipboard-write https://inbox.kapso.ai; fullscreen https://inbox.kapso.ai" '
    'sandbox="allow-scripts allow-same-origin allow-forms allow-modals allow-popups '
    'allow-popups-to-escape-sandbox allow-downloads" referrerpolicy="strict-origin"></iframe>\n'
)


RELOAD = (
    '<svg class="kapso-inbox__icon" width="20" height="20" fill="none" stroke="currentColor" '
    'viewBox="0 0 24 24" aria-hidden="true">'
    '<path d="M20 12a8 8 0 1 1-2.3-5.7L20 8.6M20 4v4.6h-4.6"/></svg>'
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
    assert render('{% kapso_inbox "support" %}') == (
        ASSETS
        + '<kapso-inbox class="kapso-inbox kapso-inbox--panel" lang="en" data-slug="support" '
        'data-state="loading" data-launch="/kapso-inbox/support/launch/" '
        'data-reach="/kapso-inbox/support/reach/">\n'
        '<div class="kapso-inbox__panel">\n'
        '<div class="kapso-inbox__notice" data-notice="offline" hidden><span>You are offline. The '
        "inbox comes back when you are online again.</span></div>\n"
        '<div class="kapso-inbox__notice" data-notice="slow" hidden><span>The inbox takes longer '
        'than usual. Check your connection.</span> <a href="/kapso-inbox/support/launch/" '
        'target="kapso-inbox-support" data-retry>Try again</a></div>\n'
        '<div class="kapso-inbox__notice" data-notice="failed" hidden><span>Something else in the '
        "CRM answered in place of the inbox. If this continues, tell an administrator.</span> "
        '<a href="/kapso-inbox/support/launch/" target="kapso-inbox-support" data-retry>Try again'
        "</a></div>\n"
        '<div class="kapso-inbox__notice" data-notice="unreachable" hidden><span>Kapso, which '
        "holds the inbox, does not answer at the moment. If this continues, tell an administrator."
        "</span> "
        '<a href="/kapso-inbox/support/launch/" target="kapso-inbox-support" data-retry>Reload'
        "</a></div>\n"
        '<div class="kapso-inbox__notice" data-notice="saved" hidden><span>Your settings are saved.'
        "</span></div>\n"
        '<div class="kapso-inbox__notice" data-notice="isolated" hidden><span>This page does not '
        "allow the inbox to be shown. Tell an administrator: it must be sent without the header"
        "</span> <code>Cross-Origin-Embedder-Policy</code></div>\n"
        '<div class="kapso-inbox__notice" data-notice="blocked" hidden><span>This page does not '
        "allow the inbox to be shown. Tell an administrator: its Content-Security-Policy needs "
        "<code>frame-src 'self' https://inbox.kapso.ai</code></span></div>\n"
        '<div class="kapso-inbox__place">\n'
        '<div class="kapso-inbox__loading" aria-hidden="true"></div>\n'
        + frame("/kapso-inbox/support/launch/")
        + '<a class="kapso-inbox__reload" href="/kapso-inbox/support/launch/" '
        'target="kapso-inbox-support" data-retry title="Reload" aria-label="Reload">'
        + RELOAD
        + "</a>\n</div>\n"
        '<p class="kapso-inbox__said" role="status"></p>\n'
        "</div>\n"
        "</kapso-inbox>\n"
    )


def test_theme_and_filters_are_put_on_the_launch() -> None:
    html = render(
        '{% kapso_inbox slug mode="dark" search=phone unread=True status=None title="Acme & Co" %}',
        slug="support",
        phone="+55 11",
    )
    assert (
        frame(
            "/kapso-inbox/support/launch/?mode=dark&amp;search=%2B55+11&amp;unread=1&amp;handoff=0",
            "Acme &amp; Co",
        )
        in html
    )


def test_a_hostile_title_or_search_is_escaped() -> None:
    html = render(
        '{% kapso_inbox "support" variant="drawer" views=1 title=evil search=evil %}'
        '{% kapso_inbox_link "support" contact=evil text=evil class=evil %}'
        '{% kapso_inbox_link "support" contact="+5511912345678" text=evil class=evil %}',
        evil=mark_safe('"><script>alert(1)</script>'),
    )
    assert "<script>" not in html
    assert '"">' not in html
    assert html.count("<iframe") == 1


# Stylesheet and script


def test_a_page_gets_stylesheet_and_script_once(rf: RequestFactory) -> None:
    inboxes = '{% kapso_inbox "a" %}{% kapso_inbox "b" %}'
    assert render(inboxes, user=AnonymousUser()).count(ASSETS) == 1
    html = render("<head>{% kapso_inbox_assets %}</head>" + inboxes, user=AnonymousUser())
    assert html.startswith(f"<head>{ASSETS}</head><kapso-inbox")
    assert html.count(ASSETS) == 1


def test_without_a_request_each_inbox_brings_its_own() -> None:
    assert render('{% kapso_inbox "a" %}{% kapso_inbox "b" %}').count(ASSETS) == 2


@pytest.mark.parametrize("of", ["context", "request"])
def test_stylesheet_and_script_carry_the_nonce_of_the_pages_policy(
    rf: RequestFactory, of: str
) -> None:
    made = []
    # Like Django's and django-csp's: generated by being read, and false until then.
    nonce = LazyNonce(lambda: made.append(1) or "r4nd0m")  # type: ignore[func-returns-value]
    request = rf.get("/")
    values: dict[str, Any] = {"request": request}
    if of == "context":
        values["csp_nonce"] = nonce
    else:
        request.csp_nonce = nonce  # type: ignore[attr-defined]
    template = Template('{% load kapso_inbox %}{% kapso_inbox "a" %}{% kapso_inbox "b" %}')
    html = template.render(Context(values))
    assert html.count(' nonce="r4nd0m">') + html.count(' defer nonce="r4nd0m">') == 3
    assert made == [1]


class LazyNonce(SimpleLazyObject):  # type: ignore[type-arg]
    def __bool__(self) -> bool:
        return self._wrapped is not empty


@pytest.mark.parametrize(("path", "limit"), [(STYLESHEET, 3000), (component.SCRIPT, 3500)])
def test_stylesheet_and_script_stay_small(path: str, limit: int) -> None:
    content = Path(str(finders.find(path))).read_bytes()
    assert len(gzip.compress(content, mtime=0)) < limit


# Appearance


def test_two_inboxes_with_one_slug_have_separate_frames_and_panels() -> None:
    html = render('{% kapso_inbox "a" variant="drawer" %}' * 2, user=AnonymousUser())
    names = re.findall(r'<iframe [^>]*name="([^"]+)"', html)
    assert names == ["kapso-inbox-a", "kapso-inbox-a-2"]
    assert re.findall(r' id="([^"]+)"', html) == [f"{name}-panel" for name in names]


@pytest.mark.parametrize(("variant", "popover"), [("drawer", "auto"), ("floating", "manual")])
def test_variants_that_open_on_demand_are_native_popovers(variant: str, popover: str) -> None:
    html = render(f'{{% kapso_inbox "a" variant="{variant}" title="Chat" %}}')
    assert f'id="kapso-inbox-a-panel" popover="{popover}" role="dialog" aria-label="Chat"' in html
    assert html.count('type="button" popovertarget="kapso-inbox-a-panel"') == 2
    assert ' popovertargetaction="hide"' in html


@pytest.mark.parametrize(
    ("arguments", "lazy"),
    [
        ("", False),
        ("lazy=True", True),
        ('variant="page"', False),
        # Nobody has opened it yet, so the record of openings must not say that.
        ('variant="drawer"', True),
        ('variant="drawer" lazy=False', False),
        ('variant="floating"', True),
        # The script finds the page's theme. If the server gives one, nothing needs to wait.
        ('theme_source="html[data-theme]"', True),
        ('theme_source="html[data-theme]" mode="dark"', False),
    ],
)
def test_a_lazy_frame_waits_until_it_is_visible(arguments: str, lazy: bool) -> None:
    html = render(f'{{% kapso_inbox "a" {arguments} %}}')
    assert (" data-lazy" in html) is lazy


def test_no_frame_loads_before_the_script_has_put_a_new_one_in_its_place() -> None:
    """A browser restores the last address, the secret one, to a frame that the markup loads."""
    assert '<iframe class="kapso-inbox__frame" name="kapso-inbox-a" src="' in render(
        '{% kapso_inbox "a" %}'
    )
    assert ' loading="lazy" ' in render('{% kapso_inbox "a" lazy=0 %}')


def test_an_id_keeps_the_inbox_alive_while_the_page_around_it_is_swapped() -> None:
    html = render('{% kapso_inbox "a" id="chat" %}')
    assert (
        '<kapso-inbox class="kapso-inbox kapso-inbox--panel" id="chat" hx-preserve="true" '
        "data-turbo-permanent " in html
    )
    assert 'name="kapso-inbox-chat"' in html
    assert "hx-preserve" not in render('{% kapso_inbox "a" %}')


def test_quick_views_and_settings_act_inside_the_frame() -> None:
    html = render('{% kapso_inbox "a" views=1 settings=1 mode="dark" unread=1 %}')
    target = 'target="kapso-inbox-a"'
    launch = "/kapso-inbox/a/launch/?mode=dark"
    for address, text in (
        (f"{launch}&amp;unread=0&amp;handoff=0", "All"),
        (f"{launch}&amp;unread=1&amp;handoff=0", "Unread"),
        (f"{launch}&amp;unread=0&amp;handoff=1", "Waiting for a human"),
    ):
        assert f'<a href="{address}" {target} data-view>{text}</a>' in html
    assert f'href="/kapso-inbox/a/settings/?mode=dark&amp;unread=1&amp;handoff=0" {target}' in html
    assert "settings/" not in render('{% kapso_inbox "a" %}')


def test_a_host_overrides_one_block_of_the_template(tmp_path: Path) -> None:
    own = tmp_path / "kapso_inbox" / "component.html"
    own.parent.mkdir()
    own.write_text(
        '{% extends "kapso_inbox/component.html" %}'
        "{% block loading %}<p>One moment …</p>{% endblock %}"
    )
    (configured,) = settings.TEMPLATES
    with override_settings(TEMPLATES=[{**configured, "DIRS": [tmp_path]}]):
        html = render('{% kapso_inbox "support" %}')
    assert "<p>One moment …</p>" in html
    assert "kapso-inbox__loading" not in html
    assert frame("/kapso-inbox/support/launch/") in html


# A contact's conversations

PHONE = "+55 11 91234-5678"


def test_the_inbox_is_searched_for_a_contacts_number() -> None:
    html = render('{% kapso_inbox "support" contact=phone status="all" %}', phone=PHONE)
    assert (
        frame(
            "/kapso-inbox/support/launch/?status=all&amp;search=5511912345678&amp;unread=0&amp;handoff=0"
        )
        in html
    )


@pytest.mark.parametrize(
    ("phone", "said"),
    [
        ("", "The phone number is missing."),
        (None, "The phone number is missing"),
        ("Bo", "“Bo” is"),
    ],
)
def test_without_a_valid_number_the_tag_says_so_and_shows_no_inbox(phone: Any, said: str) -> None:
    html = render(
        '{% kapso_inbox "support" contact=contact.phone views=1 settings=1 %}',
        contact={"phone": phone},
    )
    assert f'<p class="kapso-inbox__instead">{said}' in html
    assert "<iframe" not in html
    assert "<a " not in html


def test_a_missing_contact_counts_as_no_number() -> None:
    assert "The phone number is missing." in render(
        '{% kapso_inbox "support" contact=nobody.phone %}'
    )


def test_the_link_leads_to_the_whole_page_with_a_search_for_the_number() -> None:
    tag = '{% kapso_inbox_link "support" contact=phone text="Write to Ana" class="button" %}'
    assert render(tag, phone=PHONE) == (
        '<a class="kapso-inbox-link button" '
        'href="/kapso-inbox/support/?search=5511912345678&amp;unread=0&amp;handoff=0" '
        'data-kapso-inbox-open="support">Write to Ana</a>'
    )
    assert render(tag, phone="none") == (
        '<span class="kapso-inbox-link button" title="“none” is not a phone number.">'
        "Write to Ana</span>"
    )


def test_fifty_links_make_no_query(db: None, ana: User, django_assert_num_queries: Any) -> None:
    source = '{% for phone in phones %}{% kapso_inbox_link "support" contact=phone %}{% endfor %}'
    with django_assert_num_queries(0):
        html = render(source, user=ana, phones=[f"+55 11 91234-56{n}" for n in range(10, 60)])
    assert html.count("<a ") == 50


def test_the_url_tag_prints_or_stores_the_address_of_the_launch() -> None:
    tag = '{% kapso_inbox_url "support" mode="dark" unread=1'
    url = "/kapso-inbox/support/launch/?mode=dark&unread=1"
    assert render(tag + " %}") == url.replace("&", "&amp;")
    assert render(tag + " as url %}[{{ url|safe }}]") == f"[{url}]"
    assert render("{% autoescape off %}" + tag + " %}{% endautoescape %}") == url


@pytest.mark.parametrize("off", ["False", "0", '"0"', '"false"', "off"])
def test_a_false_filter_is_turned_off_and_a_blank_one_is_left_out(
    off: str,
) -> None:
    for value, query in ((off, "?unread=0"), ("None", ""), ('""', ""), ("missing", "")):
        url = render(f'{{% kapso_inbox_url "support" unread={value} %}}', off=False)
        assert url == f"/kapso-inbox/support/launch/{query}"


@pytest.mark.django_db
def test_a_contact_is_found_whatever_filters_somebody_saved(
    kapso_sandbox: Sandbox, client: Client, ana: User, embed: InboxEmbed
) -> None:
    client.force_login(ana)
    saved = {"unread": "1", "handoff": "1", "mode": "dark"}
    InboxPreference.objects.create(user=ana, embed=embed, params=saved)
    for arguments, filters in (
        ('contact="+55 11 91234-5678"', {}),
        ('search="Maria"', {}),
        ('search="Maria" unread=1', {"unread": ["1"]}),
        ("", {"unread": ["1"], "handoff": ["1"]}),
    ):
        html = render(f'{{% kapso_inbox "{embed.slug}" {arguments} %}}', user=ana)
        [address] = re.findall(r'<iframe[^>]* src="([^"]+)"', html)
        inbox = client.get(unescape(address), **FROM_A_FRAME)["Location"]
        query = parse_qs(urlsplit(inbox).query)
        assert query.pop("mode") == ["dark"]
        query.pop("search", None)
        assert query == filters


@pytest.mark.django_db
def test_it_makes_no_query_no_request_and_no_decryption(
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
    ('{% kapso_inbox "support" variant="modal" %}', "panel, page, drawer, floating"),
    ('{% kapso_inbox "support" lazy="yes" %}', "1, true"),
    ('{% kapso_inbox "support" views=2 %}', "1, true"),
    ('{% kapso_inbox "support" id="a b" %}', "letter"),
    ('{% kapso_inbox "support" theme_source="html" %}', r"html\[data-theme\]"),
    ('{% kapso_inbox "support" contact=a search=b %}', "either"),
    (
        '{% kapso_inbox "support" text="x" %}',
        "variant, lazy, views, settings, waiting, theme_source, id",
    ),
    ('{% kapso_inbox_link "support" variant="drawer" %}', "contact, text, class"),
    ('{% kapso_inbox_link "support" as link %}', "does not support 'as'"),
]


@pytest.mark.parametrize(("source", "message"), LITERALS)
def test_a_wrong_literal_is_a_syntax_error_that_lists_the_right_ones(
    source: str, message: str
) -> None:
    with pytest.raises(TemplateSyntaxError, match=message):
        render(source)


@pytest.mark.parametrize("debug", [True, False])
def test_a_wrong_value_at_run_time_is_left_out_logged_and_shown_in_debug(
    debug: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with override_settings(DEBUG=debug):
        html = render('{% kapso_inbox "support" mode=mode unread=1 %}', mode="<black>")
    assert 'src="/kapso-inbox/support/launch/?unread=1"' in html
    assert ("mode: must be one of system, light, dark" in html) is debug
    assert "<black>" not in html
    assert "mode: must be one of system, light, dark" in caplog.text


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


def test_a_missing_variable_is_left_out() -> None:
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
def test_a_page_may_use_the_name_request_for_something_else(delivery: str, request_: Any) -> None:
    with with_settings(DELIVERY=delivery):
        html = render('{% kapso_inbox "support" %}', request=request_)
    assert ("<iframe" in html) is (delivery == "launch")


def test_a_request_without_a_user_gets_no_secret(rf: RequestFactory) -> None:
    with with_settings(DELIVERY="direct"):
        assert "<iframe" not in render('{% kapso_inbox "support" %}', request=rf.get("/"))


class Mute:
    def __str__(self) -> str:
        raise ValueError("no text")


ODD_NAMES = ["mode", "search", "unread", "whatsapp_config_id", "title"]
ODD = [gettext_lazy("Light"), mark_safe('"><script>'), 5.5, b"x", [], {}, object(), Mute()]


@pytest.mark.parametrize(
    "value", [*ODD, "a\0b", "x" * 5000, "\ud800"], ids=lambda v: type(v).__name__
)
@pytest.mark.parametrize(
    "name",
    [*ODD_NAMES, "variant", "lazy", "views", "theme_source", "id"],
)
@pytest.mark.parametrize("autoescape", ["on", "off"])
def test_an_odd_value_never_breaks_the_page(value: Any, name: str, autoescape: str) -> None:
    tag = f'{{% kapso_inbox "a" {name}=v %}}'
    html = render(f"{{% autoescape {autoescape} %}}{tag}{{% endautoescape %}}", v=value)
    assert html.count("<iframe") == 1
    assert "<script>" not in html


@pytest.mark.parametrize("value", [*ODD, "a\0b", "\ud800"], ids=lambda v: type(v).__name__)
def test_an_odd_contact_never_breaks_the_page(value: Any) -> None:
    tags = '{% kapso_inbox "a" contact=v %}{% kapso_inbox_link "a" contact=v text=v class=v %}'
    html = render(tags, v=value)
    assert "<iframe" not in html
    assert "<script>" not in html


def test_an_embed_itself_stands_for_its_slug() -> None:
    embed = InboxEmbed(slug="support", name="Sales")
    assert 'src="/kapso-inbox/support/launch/"' in render("{% kapso_inbox embed %}", embed=embed)


@pytest.mark.parametrize("projects", [None, {"b": {}}, {"b": None}])
def test_malformed_projects_never_break_the_page(projects: Any) -> None:
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
    assert list(LaunchAttempt.objects.values_list("outcome", flat=True)) == ["opened"]
    assert len(kapso_sandbox.requests) == sent


@pytest.mark.django_db
def test_direct_delivery_shows_nothing_to_users_without_access(
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
def test_direct_delivery_reports_a_revoked_embed_in_debug(
    direct: None, embed: InboxEmbed, ana: User
) -> None:
    revoke_embed(embed)
    with override_settings(DEBUG=True):
        assert "Revoked" in render('{% kapso_inbox "sales" %}', user=ana)


@pytest.mark.django_db
def test_direct_delivery_makes_one_query_for_the_embed_and_one_for_the_record(
    direct: None, embed: InboxEmbed, ana: User, django_assert_num_queries: Any
) -> None:
    ana.has_perm("kapso_inbox.open_inboxembed")  # cached, as in a page that requires a permission
    with django_assert_num_queries(4):  # two more for the savepoint around the record
        render('{% kapso_inbox "sales" %}', user=ana)


@pytest.fixture
def openings() -> Iterator[list[tuple[InboxEmbed, User]]]:
    """Collect what `inbox_opened` sends."""
    received: list[tuple[InboxEmbed, User]] = []

    def note(sender: Any, embed: InboxEmbed, user: User, **kwargs: Any) -> None:
        received.append((embed, user))

    inbox_opened.connect(note)
    yield received
    inbox_opened.disconnect(note)


@pytest.mark.django_db(transaction=True)
def test_an_opening_inside_a_transaction_is_signalled_after_the_commit(
    direct: None, embed: InboxEmbed, ana: User, openings: list[tuple[InboxEmbed, User]]
) -> None:
    with transaction.atomic(using=connection.alias):
        assert "<iframe" in render('{% kapso_inbox "sales" %}', user=ana)
        assert openings == []
    assert openings == [(embed, ana)]
    assert LaunchAttempt.objects.get().outcome == "opened"


@pytest.mark.django_db(transaction=True)
def test_an_opening_that_is_rolled_back_is_neither_signalled_nor_recorded(
    direct: None, embed: InboxEmbed, ana: User, openings: list[tuple[InboxEmbed, User]]
) -> None:
    with transaction.atomic(using=connection.alias):
        assert "<iframe" in render('{% kapso_inbox "sales" %}', user=ana)
        transaction.set_rollback(True, using=connection.alias)
    assert openings == []
    assert not LaunchAttempt.objects.exists()


@pytest.mark.django_db
def test_the_url_tag_prints_the_launch_even_with_direct_delivery(
    direct: None, embed: InboxEmbed, ana: User
) -> None:
    assert render('{% kapso_inbox_url "sales" %}', user=ana) == "/kapso-inbox/sales/launch/"
