"""An administrator changes an embed: only what changed goes to Kapso, in one request."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from datetime import timezone as zone
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.contrib.messages import get_messages
from django.test import Client
from django.utils import timezone

from kapso_inbox.lifecycle import create_embed, rotate_embed, update_embed
from kapso_inbox.models import AccessLink, InboxChange, InboxEmbed
from kapso_inbox.sandbox.engine import Answer, Sandbox
from tests.hosts.database import connection
from tests.hosts.people import User

from .cases import CONDITIONS, FAULTS, assert_all_is_accounted_for, live, make
from .conftest import url
from .test_adding import errors

pytestmark = pytest.mark.django_db

Form = Callable[..., dict[str, Any]]


def sent(sandbox: Sandbox) -> list[Any]:
    """Return the method and settings of each request to Kapso."""
    return [(r.method, (r.json or {}).get("inbox_embed")) for r in sandbox.requests]


def change(client: Client, embed: InboxEmbed, data: dict[str, Any]) -> Any:
    return client.post(url("change", embed.pk), data)


def told(response: Any) -> str:
    return " ".join(text for texts in errors(response).values() for text in texts)


@pytest.mark.parametrize(
    ("typed", "patch"),
    [
        ({"default_mode": "dark"}, {"default_mode": "dark"}),
        ({"language": "es"}, {"language": "es"}),
        (
            {"allowed_origins": "https://a.example\r\n\r\n *.b.example "},
            {"allowed_origins": ["https://a.example", "*.b.example"]},
        ),
        ({"allowed_origins": "", "any_site": "on"}, {"allowed_origins": []}),
        (
            {"default_mode": "light", "language": "es"},
            {"default_mode": "light", "language": "es"},
        ),
    ],
)
def test_what_was_changed_goes_to_kapso_in_one_request(
    admin: Client,
    embed: InboxEmbed,
    change_form: Form,
    kapso_sandbox: Sandbox,
    typed: dict[str, Any],
    patch: dict[str, Any],
) -> None:
    update_embed(embed, allowed_origins=["https://crm.example.com"])
    form = change_form(embed)
    kapso_sandbox.requests.clear()
    connection.settings_dict["ATOMIC_REQUESTS"] = True
    try:
        assert change(admin, embed, form | typed).status_code == 302
    finally:
        connection.settings_dict["ATOMIC_REQUESTS"] = False
    assert sent(kapso_sandbox) == [("PATCH", patch)]
    now = InboxEmbed.objects.get()
    assert {name: getattr(now, name) for name in patch} == patch
    assert InboxChange.objects.filter(action="changed").latest("created_at").username == "admin"
    assert LogEntry.objects.get().is_change()


def test_a_name_is_sent_with_its_reference(
    admin: Client, embed: InboxEmbed, change_form: Form, kapso_sandbox: Sandbox
) -> None:
    form = change_form(embed, name="Sales, São Paulo")
    kapso_sandbox.requests.clear()
    change(admin, embed, form)
    assert sent(kapso_sandbox) == [("PATCH", {"name": f"Sales, São Paulo {embed.current_link}"})]
    assert InboxEmbed.objects.get().name == "Sales, São Paulo"


@pytest.mark.parametrize("days", ["7", "365"])
def test_an_expiry_in_days_is_sent_as_a_time(
    admin: Client, embed: InboxEmbed, change_form: Form, kapso_sandbox: Sandbox, days: str
) -> None:
    form = change_form(embed, expiry=days)
    kapso_sandbox.requests.clear()
    assert change(admin, embed, form).status_code == 302
    [(method, patch)] = sent(kapso_sandbox)
    assert (method, list(patch)) == ("PATCH", ["expires_at"])
    expires_at = InboxEmbed.objects.get().expires_at
    assert expires_at is not None
    assert abs(expires_at - timezone.now() - timedelta(days=int(days))) < timedelta(minutes=1)


def test_an_expiry_can_be_removed(admin: Client, change_form: Form, kapso_sandbox: Sandbox) -> None:
    embed = make("expires soon", kapso_sandbox)
    form = change_form(embed, expiry="never")
    kapso_sandbox.requests.clear()
    assert change(admin, embed, form).status_code == 302
    assert sent(kapso_sandbox) == [("PATCH", {"expires_at": None})]
    assert InboxEmbed.objects.get().expires_at is None


def test_slug_and_groups_are_changed_without_asking_kapso(
    admin: Client, embed: InboxEmbed, change_form: Form, kapso_sandbox: Sandbox
) -> None:
    support = Group.objects.create(name="Support")
    form = change_form(embed, slug="vendas", groups=[support.pk])
    kapso_sandbox.requests.clear()
    kapso_sandbox.fail_next(answer=Answer(500, {}), times=99)
    assert change(admin, embed, form).status_code == 302
    now = InboxEmbed.objects.get()
    assert now.slug == "vendas"
    assert list(now.groups.all()) == [support]
    assert kapso_sandbox.requests == []


@pytest.mark.table
@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_form_that_is_saved_unchanged_changes_nothing(
    admin: Client, change_form: Form, kapso_sandbox: Sandbox, condition: str
) -> None:
    embed = make(condition, kapso_sandbox, allowed_origins=["https://a.example"])
    form = change_form(embed)
    before = list(InboxEmbed.objects.values()), list(AccessLink.objects.values())
    kapso_sandbox.requests.clear()
    assert change(admin, embed, form).status_code == 302
    assert (list(InboxEmbed.objects.values()), list(AccessLink.objects.values())) == before
    assert kapso_sandbox.requests == []
    assert not LogEntry.objects.exists()


def test_an_expired_embed_can_be_changed_without_a_new_expiry(
    admin: Client, change_form: Form, kapso_sandbox: Sandbox
) -> None:
    embed = make("expired", kapso_sandbox)
    form = change_form(embed, default_mode="dark")
    kapso_sandbox.requests.clear()
    assert change(admin, embed, form).status_code == 302
    assert sent(kapso_sandbox) == [("PATCH", {"default_mode": "dark"})]
    assert InboxEmbed.objects.get().expires_at == embed.expires_at


def test_two_administrators_do_not_change_each_others_fields_back(
    admin: Client,
    embed: InboxEmbed,
    change_form: Form,
    kapso_sandbox: Sandbox,
    sales: Group,
) -> None:
    form = change_form(embed)
    support = Group.objects.create(name="Support")
    later = timezone.now() + timedelta(days=9)
    update_embed(
        embed,
        name="Of another",
        slug="other",
        language="es",
        allowed_origins=["https://other.example"],
        expires_at=later,
        groups=[support],
    )
    kapso_sandbox.requests.clear()
    assert change(admin, embed, form | {"default_mode": "dark"}).status_code == 302
    assert sent(kapso_sandbox) == [("PATCH", {"default_mode": "dark"})]
    now = InboxEmbed.objects.get()
    assert (now.name, now.slug, now.language) == ("Of another", "other", "es")
    assert now.allowed_origins == ["https://other.example"]
    assert now.expires_at == later.replace(microsecond=0)
    assert list(now.groups.all()) == [support]
    assert now.default_mode == "dark"


@pytest.mark.parametrize("field", ["default_mode", "language"])
def test_an_undocumented_value_of_kapso_is_kept(
    admin: Client, embed: InboxEmbed, change_form: Form, kapso_sandbox: Sandbox, field: str
) -> None:
    InboxEmbed.objects.update(**{field: "sepia"})
    assert "sepia" in admin.get(url("change", embed.pk)).text
    form = change_form(embed, name="New")
    kapso_sandbox.requests.clear()
    assert change(admin, embed, form).status_code == 302
    [(_method, patch)] = sent(kapso_sandbox)
    assert list(patch) == ["name"]


def test_an_undocumented_value_of_kapso_can_be_replaced(
    admin: Client, embed: InboxEmbed, change_form: Form, kapso_sandbox: Sandbox
) -> None:
    InboxEmbed.objects.update(default_mode="sepia")
    assert change(admin, embed, change_form(embed, default_mode="dark")).status_code == 302
    assert InboxEmbed.objects.get().default_mode == "dark"


def test_what_is_not_in_the_form_cannot_be_changed_by_a_crafted_request(
    admin: Client, embed: InboxEmbed, change_form: Form, kapso_sandbox: Sandbox
) -> None:
    other = make("works", kapso_sandbox, "other")
    form = change_form(embed)
    before = InboxEmbed.objects.filter(pk=embed.pk).values().get()
    links = list(AccessLink.objects.order_by("pk").values())
    kapso_sandbox.requests.clear()
    hostile = {
        "id": other.pk,
        "pk": other.pk,
        "scope_type": "customer",
        "scope_id": "1234",
        "scope_name": "Theirs",
        "scope_as_it_is": "Theirs",
        "project": "other",
        "kapso_project": "other",
        "assigned_user_id": "123e4567-e89b-12d3-a456-426614174000",
        "current_link": other.current_link_id,
        "current_link_id": other.current_link_id,
        "sealed_url": "v1.x.y",
        "state": "active",
        "condition": "works",
        "links": [],
        "last_used_at": "2001-01-01",
        "created_at": "2001-01-01",
        "refusal": "x",
        "_saveasnew": "yes",
    }
    assert change(admin, embed, form | hostile).status_code == 302
    assert InboxEmbed.objects.filter(pk=embed.pk).values().get() == before
    assert list(AccessLink.objects.order_by("pk").values()) == links
    assert InboxEmbed.objects.count() == 2
    assert kapso_sandbox.requests == []


def test_a_form_without_its_hidden_values_changes_only_what_differs(
    admin: Client, embed: InboxEmbed, change_form: Form, kapso_sandbox: Sandbox
) -> None:
    form = change_form(embed, name="New")
    bare = {name: value for name, value in form.items() if not name.startswith("initial-")}
    kapso_sandbox.requests.clear()
    assert change(admin, embed, bare).status_code == 302
    [(_method, patch)] = sent(kapso_sandbox)
    assert list(patch) == ["name"]


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"name": ""},
        {"slug": "sync"},
        {"slug": "ü /"},
        {"default_mode": "blue"},
        {"language": "tlh"},
        {"expiry": "tomorrow"},
        {"expiry": "date", "expires_at_0": "2999-99-99"},
        {"expiry": "date", "expires_at_0": "2001-01-01", "expires_at_1": "00:00"},
        {"groups": ["x", "99999999999999999999999"]},
        {"allowed_origins": "\x00\nhttps://a b"},
        {"name": "\x00"},
        {"initial-expires_at_0": "odd", "initial-groups": ["x"], "initial-default_mode": "odd"},
    ],
)
def test_whatever_is_typed_the_page_answers(
    admin: Client,
    embed: InboxEmbed,
    change_form: Form,
    kapso_sandbox: Sandbox,
    odd: dict[str, Any],
) -> None:
    form = change_form(embed, **odd) if odd else {}
    response = change(admin, embed, form)
    assert response.status_code in (200, 302)
    if response.status_code == 200:
        assert errors(response)


@pytest.mark.table
@pytest.mark.parametrize("times", [1, 99])
@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_kapso_answers_nothing_is_half_changed_and_the_form_keeps_what_was_typed(
    admin: Client,
    change_form: Form,
    kapso_sandbox: Sandbox,
    fault: str,
    times: int,
) -> None:
    embed = make("works", kapso_sandbox)
    support = Group.objects.create(name="Support")
    before = InboxEmbed.objects.values().get()
    typed = {"name": "New name", "default_mode": "dark", "slug": "new", "groups": [support.pk]}
    form = change_form(embed, **typed)
    kapso_sandbox.requests.clear()
    kapso_sandbox.fail_next(**FAULTS[fault], times=times)
    response = change(admin, embed, form)
    now = InboxEmbed.objects.get()
    assert [method for method, _settings in sent(kapso_sandbox)].count("PATCH") == 1
    if response.status_code == 302:
        assert (now.name, now.default_mode, now.slug) == ("New name", "dark", "new")
        assert list(now.groups.all()) == [support]
    else:
        assert response.status_code == 200
        assert told(response)
        assert InboxEmbed.objects.values().get() == before
        assert not now.groups.exists()
        for name in ("name", "default_mode", "slug"):
            assert response.context["adminform"].form[name].value() == typed[name]
        assert not LogEntry.objects.exists()
    assert len(live(kapso_sandbox)) == 1
    assert_all_is_accounted_for(kapso_sandbox)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("401", "refused the API key"),
        ("404", "Kapso does not know this ID under the API key"),
        ("422", "Kapso says: “is odd”"),
        ("429", "Try again in 60 seconds."),
        ("500", "Kapso may have done it"),
        ("no connection", "could not be reached"),
    ],
)
def test_the_form_says_what_happened(
    admin: Client,
    embed: InboxEmbed,
    change_form: Form,
    kapso_sandbox: Sandbox,
    fault: str,
    said: str,
) -> None:
    form = change_form(embed, default_mode="dark")
    kapso_sandbox.fail_next(**FAULTS[fault], method="PATCH")
    assert said in told(change(admin, embed, form))


def test_what_kapso_refuses_about_a_field_is_reported_at_it(
    admin: Client, embed: InboxEmbed, change_form: Form, kapso_sandbox: Sandbox
) -> None:
    form = change_form(embed, name="Odd")
    body = {"errors": {"name": ["is odd"], "colour": ["is odd"]}}
    kapso_sandbox.fail_next(method="PATCH", answer=Answer(422, body))
    assert errors(change(admin, embed, form)) == {
        "name": ["Kapso says: “is odd”"],
        "__all__": ["colour: Kapso says: “is odd”"],
    }


def test_a_404_for_an_embed_with_an_undocumented_scope_is_reported(
    admin: Client, embed: InboxEmbed, change_form: Form, kapso_sandbox: Sandbox
) -> None:
    InboxEmbed.objects.update(scope_type="galaxy", scope_id="milky-way")
    form = change_form(embed, default_mode="dark")
    kapso_sandbox.fail_next(method="PATCH", answer=Answer(404, {"error": "Not found"}))
    assert "does not know this" in told(change(admin, embed, form))


def test_a_slug_that_is_taken_is_reported_at_the_slug(
    admin: Client, embed: InboxEmbed, change_form: Form, kapso_sandbox: Sandbox
) -> None:
    make("works", kapso_sandbox, "taken")
    form = change_form(embed, slug="taken")
    kapso_sandbox.requests.clear()
    told = errors(change(admin, embed, form))["slug"]
    assert told == ["There is an embed with this slug already."]
    assert InboxEmbed.objects.filter(slug="sales").exists()
    assert kapso_sandbox.requests == []


def test_a_new_slug_warns_of_the_templates_that_have_the_old_one(
    admin: Client, embed: InboxEmbed, change_form: Form, kapso_sandbox: Sandbox
) -> None:
    response = change(admin, embed, change_form(embed, slug="vendas"))
    told = [str(message) for message in get_messages(response.wsgi_request)]
    assert any('{% kapso_inbox "sales" %} will no longer show this inbox' in text for text in told)
    response = change(admin, embed, change_form(embed, slug="vendas", name="Vendas"))
    assert "no longer" not in "".join(map(str, get_messages(response.wsgi_request)))


def test_a_new_expiry_in_the_past_is_an_error_of_the_form(
    admin: Client, change_form: Form, kapso_sandbox: Sandbox
) -> None:
    embed = make("expired", kapso_sandbox)
    form = change_form(embed, expires_at_0="2020-01-01", expires_at_1="00:00")
    kapso_sandbox.requests.clear()
    assert errors(change(admin, embed, form)) == {"expires_at": ["This time is in the past."]}
    assert kapso_sandbox.requests == []


def test_kapsos_default_is_not_offered_once_kapso_has_chosen_a_language(
    admin: Client, embed: InboxEmbed, kapso_sandbox: Sandbox
) -> None:
    def offered() -> list[str]:
        form = admin.get(url("change", embed.pk)).context["adminform"].form
        return [value for value, _label in form.fields["language"].choices]

    assert offered() == ["en", "es"]
    InboxEmbed.objects.update(language="")
    assert offered() == ["", "en", "es"]


def test_the_tag_to_copy_is_not_what_was_typed_and_refused(
    admin: Client, embed: InboxEmbed, change_form: Form, kapso_sandbox: Sandbox
) -> None:
    form = change_form(embed, slug="typed", default_mode="dark")
    kapso_sandbox.fail_next(method="PATCH", answer=Answer(500, {}))
    panel = change(admin, embed, form).context["panel"]
    assert panel["tag"] == '{% load kapso_inbox %}{% kapso_inbox "sales" %}'


def test_a_slug_that_is_taken_is_refused_before_kapso_is_sent_anything(
    admin: Client, embed: InboxEmbed, change_form: Form, kapso_sandbox: Sandbox
) -> None:
    make("works", kapso_sandbox, "taken")
    form = change_form(embed, slug="taken", default_mode="dark")
    change(admin, embed, form)
    assert embed.current_link is not None
    there = kapso_sandbox.project().find(embed.current_link.kapso_id)
    assert there["default_mode"] == InboxEmbed.objects.get(slug="sales").default_mode


def test_what_kapso_answers_is_what_is_stored(
    admin: Client, embed: InboxEmbed, change_form: Form, kapso_sandbox: Sandbox
) -> None:
    form = change_form(embed, default_mode="dark")
    assert embed.current_link is not None
    own = {"id": embed.current_link.kapso_id, "default_mode": "light", "name": "Kapso's own"}
    answer = {"data": own}
    kapso_sandbox.fail_next(method="PATCH", answer=Answer(200, answer))
    change(admin, embed, form)
    now = InboxEmbed.objects.get()
    assert (now.default_mode, now.name) == ("light", "Kapso's own")


def test_a_form_from_before_a_rotation_changes_the_new_link(
    admin: Client, embed: InboxEmbed, change_form: Form, kapso_sandbox: Sandbox
) -> None:
    form = change_form(embed, default_mode="dark")
    rotated = rotate_embed(embed).current_link
    assert rotated is not None
    change(admin, embed, form)
    assert kapso_sandbox.project().find(rotated.kapso_id)["default_mode"] == "dark"


@pytest.mark.parametrize("condition", ["revoked", "no link", "waits to be made"])
def test_what_has_no_link_keeps_its_settings_for_the_next_one(
    admin: Client, change_form: Form, kapso_sandbox: Sandbox, condition: str
) -> None:
    embed = make(condition, kapso_sandbox)
    form = change_form(embed, default_mode="dark")
    kapso_sandbox.requests.clear()
    assert change(admin, embed, form).status_code == 302
    assert kapso_sandbox.requests == []
    rotate_embed(embed)
    assert live(kapso_sandbox)
    assert kapso_sandbox.requests[-1].json or kapso_sandbox.requests[0].json
    made = next(r.json["inbox_embed"] for r in kapso_sandbox.requests if r.method == "POST")
    assert made["default_mode"] == "dark"


def test_the_scope_is_shown_with_the_reason_why_it_cannot_be_changed(
    admin: Client, embed: InboxEmbed, kapso_sandbox: Sandbox
) -> None:
    text = admin.get(url("change", embed.pk)).text
    assert "To show another number or customer, add another inbox" in text
    assert 'name="scope_id"' not in text
    assert 'name="scope_type"' not in text


def test_the_page_of_an_embed_that_does_not_exist_answers(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    for odd in (0, 999, "x", "9" * 30, "_5F", "a/b", "1%00"):
        for method in (admin.get, admin.post):
            assert method(url("change", odd)).status_code in (302, 404)


def test_a_user_who_may_only_view_sees_every_setting_and_changes_none(
    client: Client,
    embed: InboxEmbed,
    make_administrator: Callable[..., User],
    kapso_sandbox: Sandbox,
) -> None:
    sites = ["https://a.example", "*.b.example"]
    expires_at = timezone.now() + timedelta(days=3)
    update_embed(embed, expires_at=expires_at, language="es", allowed_origins=sites)
    client.force_login(make_administrator("viewer", "view"))
    page = client.get(url("change", embed.pk))
    assert page.status_code == 200
    assert '<input type="text" name=' not in page.text
    assert "Sales inbox" in page.text
    for words in ("https://a.example<br>*.b.example", "Same as the device", "Spanish", "Sales"):
        assert f'<div class="readonly">{words}</div>' in page.text
    assert "[&quot;" not in page.text
    update_embed(embed, allowed_origins=[])
    assert '<div class="readonly">Any site</div>' in client.get(url("change", embed.pk)).text
    assert client.post(url("change", embed.pk), {"name": "x"}).status_code == 403


def test_forms_of_two_sites_do_not_mix(
    admin: Client, kapso_sandbox: Sandbox, rf: Any, administrator: User, settings: Any
) -> None:
    """Check that each form proposes its own host: one process may serve several."""
    from django.contrib import admin as django_admin

    settings.ALLOWED_HOSTS = ["*"]
    page = django_admin.site._registry[InboxEmbed]
    forms = []
    for host in ("a.example", "b.example"):
        request = rf.get(url("add"), headers={"host": host})
        request.user = administrator
        forms.append(page.get_form(request, change=False))
    assert [form().fields["allowed_origins"].widget.here for form in forms] == [
        "http://a.example",
        "http://b.example",
    ]


@pytest.mark.skipif(not django_settings.USE_TZ, reason="Without time zones, no time is ambiguous.")
def test_an_ambiguous_expiry_may_be_sent_back_unchanged(
    admin: Client, change_form: Form, kapso_sandbox: Sandbox, settings: Any
) -> None:
    settings.TIME_ZONE = "America/New_York"
    # Summer time ends: it is 1:30 both at 5:30 and at 6:30 UTC.
    year = timezone.now().year + 1
    november = datetime(year, 11, 1, 5, 30, tzinfo=zone.utc)
    when = november + timedelta(days=(6 - november.weekday()) % 7)
    embed = create_embed(slug="sales", name="Sales", expires_at=when)
    response = change(admin, embed, change_form(embed, name="Renamed"))
    assert response.status_code == 302, errors(response)
    embed.refresh_from_db()
    assert (embed.name, embed.expires_at) == ("Renamed", when)
    minutes_later = change_form(embed, expires_at_1="01:45:00")
    assert "expires_at" in errors(change(admin, embed, minutes_later))


def test_djangos_save_as_new_creates_nothing(
    admin: Client, embed: InboxEmbed, filled_in: dict[str, Any], kapso_sandbox: Sandbox
) -> None:
    other = make("works", kapso_sandbox, "other")
    response = change(admin, embed, {**filled_in, "slug": other.slug, "_saveasnew": "1"})
    assert errors(response)["slug"]
    assert InboxEmbed.objects.count() == 2
