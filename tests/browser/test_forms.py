"""The forms of embeds in the admin, in Chromium: what is picked, what is wrong, what takes long."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from .axe import violations
from .conftest import Demo, enter, expect
from .test_admin import LIST, OPTION

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    SignIn = Callable[..., Page]
    NewPage = Callable[..., Page]

pytestmark = pytest.mark.browser


def test_a_save_button_that_is_pressed_twice_creates_one_embed(
    own_demo: Demo, new_page: NewPage
) -> None:
    page = new_page()
    enter(page, own_demo, "admin")
    before = len(own_demo.embeds())
    page.goto(f"{own_demo.url}{LIST}add/")
    page.get_by_label("Name:").fill("Twice")
    page.get_by_label("Whole project").check()
    expect(page.locator("#id_scope_id")).to_be_hidden()
    page.get_by_role("button", name="Save", exact=True).dblclick()
    expect(page.get_by_text("“Twice” is ready.")).to_be_visible()
    assert len(own_demo.embeds()) == before + 1
    # Go back to the form, and send it again.
    page.go_back()
    page.get_by_role("button", name="Save", exact=True).click()
    page.wait_for_load_state()
    assert len(own_demo.embeds()) == before + 1


def test_warnings_of_unwise_origins_appear_while_they_are_typed(
    demo: Demo, sign_in: SignIn
) -> None:
    page = sign_in("admin")
    page.goto(f"{demo.url}{LIST}add/")
    any_site = page.get_by_label("Any site may show it")
    for origins, told in (
        ("", "Any site can show this inbox"),
        ("*", "“*” means any site"),
        ("https://elsewhere.example", "would stay blank here"),
    ):
        any_site.set_checked(False)
        page.get_by_label("Allowed origins:").fill(origins)
        any_site.set_checked(not origins)
        expect(page.locator(".kapso-hint").get_by_text(told)).to_be_visible()
    any_site.set_checked(False)
    page.get_by_label("Allowed origins:").fill("")
    expect(page.locator(".kapso-hint")).to_be_hidden()  # It is refused, so it opens nothing.


def test_ticking_any_site_is_enough_and_unticking_brings_the_origins_back(
    own_demo: Demo, new_page: NewPage
) -> None:
    page = new_page()
    enter(page, own_demo, "admin")
    page.goto(f"{own_demo.url}{LIST}1/change/")
    origins = page.get_by_label("Allowed origins:")
    typed = origins.input_value()
    assert typed
    any_site = page.get_by_label("Any site may show it")
    any_site.check()
    expect(origins).to_be_disabled()
    expect(page.locator(".kapso-hint").get_by_text("Any site can show this inbox")).to_be_visible()
    assert violations(page) == []
    any_site.uncheck()
    expect(origins).to_be_enabled()
    expect(origins).to_have_value(typed)
    any_site.check()
    page.get_by_role("button", name="Save and continue editing").click()
    expect(page.locator(".kapso-panel .kapso-badge")).to_have_text("On any site")
    expect(any_site).to_be_checked()
    expect(origins).to_have_value("")


def test_the_first_hit_is_highlighted_and_enter_or_tab_takes_it(
    demo: Demo, sign_in: SignIn
) -> None:
    page = sign_in("admin")
    for key in ("Enter", "Tab"):
        page.goto(f"{demo.url}{LIST}add/")
        number = page.locator("#id_scope_id")
        number.press_sequentially("s")
        expect(page.locator(OPTION).first).to_have_attribute("aria-selected", "true")
        assert page.locator(OPTION).count() > 1
        first = page.locator(OPTION).first.locator("span").first.inner_text()
        assert violations(page) == []
        number.press(key)
        expect(number).to_have_value(re.compile(f"^{first} · "))
        expect(page.locator("[name=scope_id]")).to_have_value(re.compile(r"^\d+$"))
        expect(page.locator(OPTION).first).to_be_hidden()
    # Tab has gone on, and a field that nothing was typed into takes nothing.
    expect(number).not_to_be_focused()
    member = page.locator("#id_assigned_user_id")
    member.click()
    expect(page.locator("#id_assigned_user_id_list [role=option]").first).to_be_visible()
    member.press("Tab")
    expect(page.locator("[name=assigned_user_id]")).to_have_value("")


def test_a_key_that_is_faster_than_the_search_takes_the_only_hit(
    demo: Demo, sign_in: SignIn
) -> None:
    page = sign_in("admin")
    for key in ("Enter", "Tab"):
        page.goto(f"{demo.url}{LIST}add/")
        number = page.locator("#id_scope_id")
        number.focus()
        page.keyboard.type("supp")
        page.keyboard.press(key)
        expect(number).to_have_value(re.compile("^Support · "))
        assert page.url.endswith("/add/")


def test_a_number_is_found_as_it_is_shown(demo: Demo, sign_in: SignIn) -> None:
    page = sign_in("admin")
    page.goto(f"{demo.url}{LIST}add/")
    number = page.locator("#id_scope_id")
    number.fill("supp")
    shown = page.locator(OPTION).filter(has_text="Support").locator("span").last.inner_text()
    digits = "".join(filter(str.isdigit, shown))
    for typed in (shown, digits, f"+{digits}", shown.replace(" ", "-")):
        number.fill(typed)
        expect(page.locator(OPTION)).to_have_count(1)
        expect(page.locator(OPTION)).to_contain_text("Support")
    for typed in (shown, digits):
        page.goto(f"{demo.url}{LIST}")
        page.locator("#searchbar").fill(typed)
        page.get_by_role("button", name="Search").click()
        expect(page.get_by_role("link", name="Support inbox")).to_be_visible()
        expect(page.get_by_text("1 result")).to_be_visible()


def test_a_name_that_was_typed_and_not_picked_asks_for_a_pick(demo: Demo, sign_in: SignIn) -> None:
    page = sign_in("admin")
    page.goto(f"{demo.url}{LIST}add/")
    page.get_by_label("Name:").fill("Front desk")
    number = page.locator("#id_scope_id")
    asked = page.get_by_text("Pick a number from the list.")
    number.fill("s")
    expect(page.locator(OPTION).first).to_be_visible()
    page.get_by_label("Name:").click()
    expect(asked).to_be_visible()
    expect(number).to_have_attribute("aria-invalid", "true")
    assert violations(page) == []
    # Saving sends nothing yet, and what was typed stays.
    page.get_by_role("button", name="Save", exact=True).click()
    expect(number).to_be_focused()
    expect(number).to_have_value("s")
    assert page.url.endswith("/add/")
    # A customer that was not picked, and a number that was picked and then written over.
    number.fill("supp")
    page.locator(OPTION).filter(has_text="Support").click()
    expect(asked).to_be_hidden()
    number.fill("Support and more")
    expect(page.locator(".kapso-picker__note").get_by_text("Nothing found")).to_be_visible()
    number.press("Tab")
    expect(asked).to_be_visible()
    page.get_by_label("Customer", exact=True).check()
    expect(asked).to_be_hidden()
    number.fill("nobody")
    expect(page.locator(".kapso-picker__note").get_by_text("Nothing found")).to_be_visible()
    number.press("Tab")
    expect(page.get_by_text("Pick a customer from the list.")).to_be_visible()


def test_the_label_and_the_placeholder_follow_what_the_inbox_shows(
    demo: Demo, sign_in: SignIn
) -> None:
    page = sign_in("admin")
    page.goto(f"{demo.url}{LIST}add/")
    for scope, label, placeholder in (
        ("Customer", "Customer:", "Search by name or ID"),
        ("Phone number", "Number:", "Search by name or number"),
    ):
        page.get_by_label(scope, exact=True).check()
        expect(page.get_by_role("combobox", name=label)).to_have_attribute(
            "placeholder", placeholder
        )
        expect(page.locator("label[for=id_scope_id]")).to_have_class(re.compile("required"))
    mark = "label => getComputedStyle(label, '::after').content"
    assert "*" in page.locator("label[for=id_scope_id]").evaluate(mark)
    assert "*" not in page.locator("label[for=id_assigned_user_id]").evaluate(mark)


def test_a_new_slug_warns_of_the_templates_that_break(demo: Demo, sign_in: SignIn) -> None:
    page = sign_in("admin")
    page.goto(f"{demo.url}{LIST}1/change/")
    warning = page.get_by_text('{% kapso_inbox "sales" %} will no longer show this inbox.')
    expect(warning).to_be_hidden()
    page.locator("#id_slug").fill("vendas")
    expect(warning.first).to_be_visible()
    assert violations(page) == []
    page.locator("#id_slug").fill("sales")
    expect(page.locator("#id_slug_hint")).to_be_hidden()


def save_without_an_answer(page: Page, demo: Demo) -> None:
    """Press Save on a page that stays, as it does while Kapso is asked."""
    page.goto(f"{demo.url}{LIST}1/change/")
    # Not by a slow answer: playwright looks at nothing while a page is about to be left.
    page.locator("#inboxembed_form").evaluate("form => { form.target = 'elsewhere' }")
    with page.context.expect_page():
        page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("button", name="Save", exact=True)).to_be_disabled()


def test_a_form_that_waits_for_kapso_says_so(demo: Demo, sign_in: SignIn) -> None:
    page = sign_in("admin")
    save_without_an_answer(page, demo)
    expect(page.locator(".kapso-busy")).to_have_text("Saving… Waiting for Kapso.")
    assert violations(page) == []


def test_a_verb_that_waits_for_kapso_says_so(demo: Demo, sign_in: SignIn) -> None:
    page = sign_in("admin")
    page.goto(f"{demo.url}{LIST}verbs/refresh/?id=1")
    page.locator("form[data-kapso-once]").evaluate("form => { form.target = 'elsewhere' }")
    with page.context.expect_page():
        page.get_by_role("button", name="Refresh from Kapso").click()
    expect(page.locator(".kapso-busy")).to_have_text("Working… Waiting for Kapso.")
    expect(page.get_by_role("button", name="Refresh from Kapso")).to_be_disabled()
    assert violations(page) == []


def test_a_button_comes_back_where_no_answer_does(demo: Demo, sign_in: SignIn) -> None:
    page = sign_in("admin")
    page.clock.install()
    save_without_an_answer(page, demo)
    page.clock.fast_forward(30_000)
    expect(page.get_by_role("button", name="Save", exact=True)).to_be_enabled()
    expect(page.locator(".kapso-busy")).to_contain_text("press the button again")


def test_the_add_form_works_without_javascript(demo: Demo, sign_in: SignIn) -> None:
    page = sign_in("admin", java_script_enabled=False)
    page.goto(f"{demo.url}{LIST}add/")
    page.get_by_label("Name:").fill("By hand")
    page.get_by_label("Slug:").fill("by-hand")
    page.get_by_label("Number or customer:").fill("1")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("This key can see:")).to_be_visible()
    expect(page.get_by_label("Number or customer:")).to_have_value("1")


def error_of(page: Page, field: str) -> Locator:
    """Return the error of a field, which must be below its own heading and name it."""
    return page.locator(f".form-row.field-{field} .errorlist, .fieldBox.field-{field} .errorlist")


def fill_by_hand(page: Page, field: str, value: str) -> None:
    """Type an ID instead of picking it from a list."""
    row = page.locator(f".field-{field}")
    row.get_by_role("button", name="Type an ID by hand").click()
    row.locator("input:visible").first.fill(value)


@pytest.mark.parametrize("size", [{"width": 1440, "height": 900}, {"width": 390, "height": 844}])
def test_all_that_is_wrong_is_told_at_once_and_nothing_that_was_typed_is_lost(
    demo: Demo, sign_in: SignIn, size: dict[str, int]
) -> None:
    page = sign_in("admin", viewport=size)
    before = len(demo.embeds())
    page.goto(f"{demo.url}{LIST}add/")
    page.locator("#id_slug").fill("sales")
    page.get_by_label("Whole project").check()
    origins = "https://a.example/path\nhttps://b.example\nftp://c.example"
    page.get_by_label("Allowed origins:").fill(origins)
    page.get_by_label("Expires:").select_option(label="on a date")
    page.locator("#id_expires_at_0").fill("2020-01-01")
    page.locator("#id_expires_at_1").fill("00:00")
    page.locator("#inboxembed_form").evaluate("form => { form.noValidate = true }")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(error_of(page, "name")).to_have_text("This field is required.")
    expect(error_of(page, "slug")).to_have_text("There is an embed with this slug already.")
    expect(error_of(page, "allowed_origins")).to_contain_text(
        "“https://a.example/path”, “ftp://c.example” are not origins."
    )
    expect(error_of(page, "expires_at")).to_have_text("This time is in the past.")
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    expect(page.get_by_label("Whole project")).to_be_checked()
    expect(page.get_by_label("Allowed origins:")).to_have_value(origins)
    expect(page.locator("#id_expires_at_0")).to_have_value("2020-01-01")
    # The asterisk stands for any site, as its hint says, but not beside others.
    page.get_by_label("Allowed origins:").fill("*\nhttps://b.example")
    page.locator("#inboxembed_form").evaluate("form => { form.noValidate = true }")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(error_of(page, "allowed_origins")).to_contain_text("“*” means any site.")
    assert len(demo.embeds()) == before


def test_an_id_that_was_typed_by_hand_is_taken_for_a_typo_first(
    demo: Demo, sign_in: SignIn
) -> None:
    page = sign_in("admin")
    page.goto(f"{demo.url}{LIST}add/")
    page.get_by_label("Name:").fill("By hand")
    fill_by_hand(page, "scope_id", "999999999999")
    page.get_by_role("button", name="Save", exact=True).click()
    told = error_of(page, "scope_id")
    expect(told).to_contain_text("Check it for a typo.")
    text = told.inner_text()
    assert text.index("typo") < text.index("another project") < text.index("This key can see:")
    expect(page.get_by_label("Name:")).to_have_value("By hand")
    assert violations(page) == []
