"""The functions for Jinja2 show what the tags show."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings
from django.template import engines
from django.test import RequestFactory, override_settings
from jinja2 import StrictUndefined

from kapso_inbox.exceptions import ConfigurationError
from kapso_inbox.lifecycle import create_embed
from tests.templatetags.test_kapso_inbox import render as render_tags

JINJA2 = {
    "BACKEND": "django.template.backends.jinja2.Jinja2",
    "NAME": "jinja2",
    "OPTIONS": {"extensions": ["kapso_inbox.jinja2.KapsoInboxExtension"]},
}
WITH_JINJA2 = [*settings.TEMPLATES, JINJA2]


@pytest.fixture(autouse=True)
def jinja2_backend(settings: Any) -> None:
    settings.TEMPLATES = WITH_JINJA2


def render(source: str, user: Any = None, **context: Any) -> str:
    request = None
    if user is not None:
        request = RequestFactory().get("/")
        request.user = user
    text: str = engines["jinja2"].from_string(source).render(context, request)
    return text


@pytest.mark.parametrize(
    ("function", "tag"),
    [
        ('kapso_inbox("support")', 'kapso_inbox "support"'),
        (
            'kapso_inbox(slug, contact=phone, views=1, variant="drawer", title=title)',
            'kapso_inbox slug contact=phone views=1 variant="drawer" title=title',
        ),
        ("kapso_inbox(slug, contact=customer.phone)", "kapso_inbox slug contact=customer.phone"),
        ('kapso_my_inbox(mode="dark")', 'kapso_my_inbox mode="dark"'),
        (
            'kapso_inbox_link("support", contact=phone, text=title, class="row")',
            'kapso_inbox_link "support" contact=phone text=title class="row"',
        ),
        ('kapso_inbox_link("support", contact="?")', 'kapso_inbox_link "support" contact=none'),
        (
            'kapso_inbox_url("support", unread=1, mode="dark")',
            'kapso_inbox_url "support" unread=1 mode="dark"',
        ),
        ("kapso_inbox_assets()", "kapso_inbox_assets"),
    ],
)
def test_a_function_returns_what_the_tag_renders(function: str, tag: str) -> None:
    names = {
        "slug": "support",
        "phone": "+55 11 91234-5678",
        "title": '<b>"Rosa"</b>',
        "customer": {},
        "none": "?",
    }
    rendered = render("{{ " + function + " }}", **names)
    assert rendered == render_tags("{% " + tag + " %}", **names)


def test_an_address_is_stored_as_it_is_and_escaped_where_it_is_printed() -> None:
    source = '{% set url = kapso_inbox_url("support", unread=1, mode="dark") %}'
    address = "/kapso-inbox/support/launch/?unread=1&mode=dark"
    assert render(source + "{{ url|safe }}") == address
    assert render(source + "{{ url }}") == address.replace("&", "&amp;")


def test_a_page_gets_stylesheet_and_script_once(admin_user: Any) -> None:
    page = render(
        "{{ kapso_inbox_assets() }}{{ kapso_inbox('a') }}{{ kapso_inbox('b') }}", admin_user
    )
    assert page.count("kapso_inbox.js") == 1


def test_stylesheet_and_script_carry_the_nonce_of_the_page() -> None:
    assert render("{{ kapso_inbox_assets() }}", csp_nonce="n0nce").count('nonce="n0nce"') == 2


def test_a_wrong_value_is_left_out_logged_with_the_template_and_shown_in_debug(
    caplog: pytest.LogCaptureFixture, settings: Any
) -> None:
    source = '{{ kapso_inbox("support", mode="pink") }}'
    assert "pink" not in render(source)
    assert "mode" in caplog.text
    settings.DEBUG = True
    assert 'role="alert"' in render(source)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ('kapso_inbox("support", modee="dark")', "kapso_inbox.. has no argument 'modee'"),
        ('kapso_inbox_url("support", contact=1)', "kapso_inbox_url.. has no argument 'contact'"),
        ('kapso_inbox("support", contact=1, search="a")', "either 'contact' or 'search'"),
    ],
)
def test_an_argument_that_does_not_exist_is_an_error(call: str, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        render("{{ " + call + " }}")


def test_a_missing_variable_is_left_out_even_where_it_is_an_error_to_print_it(
    settings: Any,
) -> None:
    strict = {**JINJA2["OPTIONS"], "undefined": StrictUndefined}  # type: ignore[dict-item]
    settings.TEMPLATES = [*WITH_JINJA2[:-1], {**JINJA2, "OPTIONS": strict}]
    assert render('{{ kapso_inbox("support", search=missing) }}') == render_tags(
        '{% kapso_inbox "support" search=missing %}'
    )


@pytest.mark.parametrize("others", [[], [{**WITH_JINJA2[0], "APP_DIRS": False}]], ids=str)
def test_without_djangos_own_templates_the_error_says_what_to_add(others: Any) -> None:
    own = [{**one, "OPTIONS": {}} for one in others]
    with (
        override_settings(TEMPLATES=[*own, JINJA2]),
        pytest.raises(ConfigurationError, match="DjangoTemplates"),
    ):
        render('{{ kapso_inbox("support") }}')


@pytest.mark.django_db
def test_direct_delivery_puts_the_secret_address_into_the_page(
    kapso_sandbox: Any, admin_user: Any, settings: Any
) -> None:
    settings.KAPSO_INBOX = {**settings.KAPSO_INBOX, "DELIVERY": "direct"}
    create_embed(slug="support", name="Support")
    assert 'src="https://inbox.kapso.ai/' in render('{{ kapso_inbox("support") }}', admin_user)
