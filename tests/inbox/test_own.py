"""An agent's own inbox: set up once, by the agent, and opened by nobody else."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import settings
from django.contrib.auth.models import Permission
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.db import DatabaseError, transaction
from django.http import HttpResponse
from django.template import Context, Template, TemplateSyntaxError
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from requests.exceptions import ConnectTimeout

from kapso_inbox import lifecycle
from kapso_inbox.access import AccessPolicy
from kapso_inbox.inbox import own
from kapso_inbox.models import AccessLink, InboxChange, InboxEmbed, LaunchAttempt, Outcome
from kapso_inbox.sandbox.engine import Answer, Sandbox
from tests.conftest import FRAME, age_cache
from tests.hosts.database import connection
from tests.hosts.people import User

pytestmark = pytest.mark.django_db

MINE = "/kapso-inbox/mine/launch/"


class Lenient(AccessPolicy):
    superusers_open_everything = True


class Nobody(AccessPolicy):
    def may_have_own(self, user: Any) -> bool:
        return False


def with_settings(**values: Any) -> override_settings:
    return override_settings(KAPSO_INBOX={**settings.KAPSO_INBOX, **values})


@pytest.fixture(autouse=True)
def forget_what_kapso_said() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def bruno(make_agent: Callable[..., User]) -> User:
    """Return an agent with the e-mail address of a team member at Kapso, in another case."""
    return make_agent("bruno", email="Bruno@Example.com", first_name="Bruno", last_name="Salgado")


@pytest.fixture
def browser(client: Client, bruno: User, kapso_sandbox: Sandbox) -> Client:
    client.force_login(bruno)
    return client


def move(user: User, email: str, **fields: Any) -> None:
    """Change a user's e-mail address, and perhaps other fields."""
    changes = {User.get_email_field_name(): email, **fields}
    User.objects.filter(pk=user.pk).update(**changes)


def member(sandbox: Sandbox, email: str = "bruno@example.com") -> str:
    return next(str(one["user_id"]) for one in sandbox.project().users if one["email"] == email)


def look(client: Client, query: str = "") -> HttpResponse:
    return client.get(MINE + query, **FRAME)  # type: ignore[arg-type, return-value]


def press(client: Client, query: str = "", **more: Any) -> HttpResponse:
    return client.post(MINE + query, **FRAME, **more)  # type: ignore[arg-type, return-value]


def outcome(response: HttpResponse) -> str:
    found = re.search(r'data-outcome="(\w+)"', response.content.decode())
    assert found, (response.status_code, response.content)
    return found[1]


def says(response: HttpResponse) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())


def writes(sandbox: Sandbox) -> list[str]:
    """Return the methods of the requests that change something at Kapso."""
    return [request.method for request in sandbox.requests if request.method != "GET"]


def the_embed() -> InboxEmbed:
    return InboxEmbed.objects.get(slug__startswith="mine-")


# Setting it up


def test_at_first_the_page_offers_the_setup_and_kapso_is_not_asked(
    browser: Client, kapso_sandbox: Sandbox
) -> None:
    response = look(browser)
    assert (response.status_code, outcome(response)) == (200, "not_set_up")
    assert "Set up my inbox" in says(response)
    assert kapso_sandbox.requests == []
    assert not InboxEmbed.objects.exists()


def test_a_press_creates_it_for_this_agent_alone_and_opens_it(
    browser: Client, bruno: User, kapso_sandbox: Sandbox
) -> None:
    response = press(browser)
    embed = the_embed()
    assert response.status_code == 303
    assert response["Location"] == f"/kapso-inbox/mine-{bruno.pk}/launch/"
    assert (embed.slug, embed.name) == (f"mine-{bruno.pk}", "Bruno Salgado")
    assert embed.personal_to == str(bruno.pk)
    assert embed.assigned_user_id == member(kapso_sandbox)
    (at_kapso,) = kapso_sandbox.project().active_embeds()
    assert at_kapso["assigned_user_id"] == member(kapso_sandbox)
    launched = browser.get(response["Location"], **FRAME)  # type: ignore[arg-type]
    assert (launched.status_code, launched["Location"]) == (302, at_kapso["embed_url"])


def test_the_record_names_the_user_who_set_it_up(browser: Client, bruno: User) -> None:
    press(browser)
    change = InboxChange.objects.get()
    assert (change.action, change.user, change.slug) == ("created", bruno, f"mine-{bruno.pk}")


def test_once_it_exists_the_frame_is_sent_on_with_theme_and_filters(
    browser: Client, bruno: User, kapso_sandbox: Sandbox
) -> None:
    press(browser)
    response = look(browser, "?mode=dark&unread=1")
    assert response.status_code == 302
    assert response["Location"] == f"/kapso-inbox/mine-{bruno.pk}/launch/?mode=dark&unread=1"
    launched = browser.get(response["Location"], **FRAME)  # type: ignore[arg-type]
    query = parse_qs(urlsplit(launched["Location"]).query)
    assert query == {"mode": ["dark"], "unread": ["1"]}


def test_a_press_keeps_theme_and_filters(browser: Client, bruno: User) -> None:
    page = look(browser, "?mode=dark").content.decode()
    assert re.search(r'<form[^>]* method="post">', page), "it posts to the page itself"
    response = press(browser, "?mode=dark")
    assert response["Location"] == f"/kapso-inbox/mine-{bruno.pk}/launch/?mode=dark"


def test_a_second_press_creates_nothing(browser: Client, kapso_sandbox: Sandbox) -> None:
    assert press(browser)["Location"] == press(browser)["Location"]
    assert writes(kapso_sandbox) == ["POST"]


def test_only_this_site_may_frame_the_page_and_its_form_may_lead_into_the_inbox(
    browser: Client,
) -> None:
    response = look(browser)
    policy = dict(
        directive.split(" ", 1) for directive in response["Content-Security-Policy"].split("; ")
    )
    assert policy["form-action"] == "'self' https://inbox.kapso.ai"
    assert policy["frame-ancestors"] == "'self'"
    assert response["X-Frame-Options"] == "SAMEORIGIN"
    assert response["Cache-Control"] == "no-store, private"


def test_a_press_from_another_site_does_nothing(bruno: User, kapso_sandbox: Sandbox) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(bruno)
    assert press(browser).status_code == 403
    assert kapso_sandbox.requests == []
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', look(browser).content.decode())
    assert token is not None
    assert press(browser, data={"csrfmiddlewaretoken": token[1]}).status_code == 303


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"HTTP_SEC_FETCH_DEST": "document", "HTTP_SEC_FETCH_SITE": "same-origin"},
        {"HTTP_SEC_FETCH_DEST": "iframe", "HTTP_SEC_FETCH_SITE": "cross-site"},
    ],
    ids=["none", "document", "other site"],
)
def test_only_a_frame_of_this_site_may_press(
    browser: Client, kapso_sandbox: Sandbox, headers: dict[str, str]
) -> None:
    response = browser.post(MINE, **headers)  # type: ignore[arg-type]
    assert (response.status_code, outcome(response)) == (403, "not_in_frame")  # type: ignore[arg-type]
    assert kapso_sandbox.requests == []


def test_a_wrong_parameter_is_reported_before_anything_is_done(
    browser: Client, kapso_sandbox: Sandbox
) -> None:
    assert outcome(press(browser, "?mode=pink")) == "bad_parameter"
    assert kapso_sandbox.requests == []


@pytest.mark.parametrize(
    ("configured", "expected"),
    [
        ([], []),
        (
            ["https://crm.example.com", "*.example.org"],
            ["https://crm.example.com", "*.example.org"],
        ),
    ],
)
def test_the_sites_of_the_settings_may_frame_it(
    browser: Client, configured: list[str], expected: list[str]
) -> None:
    with with_settings(ALLOWED_ORIGINS=configured):
        press(browser, secure=True)
    assert the_embed().allowed_origins == expected


def test_without_the_setting_only_this_site_may_show_it(
    browser: Client, kapso_sandbox: Sandbox
) -> None:
    with with_settings(ALLOWED_ORIGINS=None):
        assert press(browser).status_code == 303
    (at_kapso,) = kapso_sandbox.project().active_embeds()
    assert at_kapso["allowed_origins"] == ["http://testserver"]


def test_without_a_full_name_it_is_named_by_the_username(browser: Client, bruno: User) -> None:
    User.objects.filter(pk=bruno.pk).update(first_name=" ", last_name="\n")
    press(browser)
    assert the_embed().name == "bruno"


def test_a_long_name_is_cut_and_one_with_line_breaks_is_one_line(
    browser: Client, bruno: User
) -> None:
    User.objects.filter(pk=bruno.pk).update(first_name="Bruno\nde", last_name="S" * 150)
    press(browser)
    assert the_embed().name == ("Bruno de " + "S" * 150)[:120]


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor == "sqlite", reason="one connection to a database in memory")
def test_only_one_of_two_simultaneous_presses_creates_it(
    bruno: User, kapso_sandbox: Sandbox
) -> None:
    kapso_sandbox.fail_next(method="POST", delay=0.3)
    start = threading.Barrier(2)
    answers: list[HttpResponse] = []

    def press_once() -> None:
        browser = Client()
        browser.force_login(bruno)
        start.wait()
        try:
            answers.append(press(browser))
        finally:
            connection.close()

    threads = [threading.Thread(target=press_once) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert writes(kapso_sandbox).count("POST") == 1
    assert 303 in [answer.status_code for answer in answers]
    late = [outcome(answer) for answer in answers if answer.status_code != 303]
    assert late in ([], ["unsettled"])
    assert len(kapso_sandbox.project().active_embeds()) == 1


def test_it_is_created_outside_the_transaction_of_a_site_with_atomic_requests(
    browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    assert press(browser).status_code == 303


# Matching users with team members


def test_every_page_of_kapsos_list_is_searched(browser: Client, kapso_sandbox: Sandbox) -> None:
    project = kapso_sandbox.project()
    wanted = next(user for user in project.users if user["email"] == "bruno@example.com")
    others = [
        {**wanted, "user_id": str(number), "email": f"no{number}@example.com"}
        for number in range(13)
    ]
    project.users[:] = [*others, wanted]
    kapso_sandbox.max_per_page = 2
    assert press(browser).status_code == 303
    assert the_embed().assigned_user_id == wanted["user_id"]


def test_a_user_who_is_not_a_member_is_told_which_address_was_searched_for(
    browser: Client, bruno: User, kapso_sandbox: Sandbox
) -> None:
    move(bruno, "bruno@elsewhere.example")
    response = press(browser)
    assert (response.status_code, outcome(response)) == (404, "no_match")
    assert "bruno@elsewhere.example" in says(response)
    assert "Ask an administrator" in says(response)
    assert "TEAM_MEMBER" not in says(response)
    assert writes(kapso_sandbox) == []
    assert not InboxEmbed.objects.exists()


def test_an_administrator_is_told_how_to_fix_it(browser: Client, bruno: User) -> None:
    bruno.user_permissions.add(Permission.objects.get(codename="change_inboxembed"))
    move(bruno, "bruno@elsewhere.example", is_staff=True)
    said = says(press(browser))
    assert "TEAM_MEMBER" in said
    assert "Ask an administrator" not in said


def test_a_user_who_was_just_added_to_the_team_is_found(
    browser: Client, kapso_sandbox: Sandbox
) -> None:
    project = kapso_sandbox.project()
    wanted = next(user for user in project.users if user["email"] == "bruno@example.com")
    project.users.remove(wanted)
    assert outcome(press(browser)) == "no_match"
    project.users.append(wanted)
    age_cache(10)
    assert press(browser).status_code == 303


def test_a_user_who_is_not_a_member_presses_as_often_as_they_like_and_kapso_is_asked_once(
    browser: Client, bruno: User, kapso_sandbox: Sandbox
) -> None:
    move(bruno, "bruno@elsewhere.example")
    for _ in range(20):
        assert outcome(press(browser)) == "no_match"
    assert len(kapso_sandbox.requests) == 1


def test_while_kapsos_team_cannot_be_read_the_reason_is_told_and_kapso_is_asked_once(
    browser: Client, kapso_sandbox: Sandbox
) -> None:
    kapso_sandbox.fail_next(answer=Answer(401, {"error": "no such key"}), times=99)
    for _ in range(20):
        response = press(browser)
        assert (response.status_code, outcome(response)) == (503, "failed")
        assert "Kapso refused the API key" in says(response)
    assert len(kapso_sandbox.requests) == 1


def test_while_kapso_refuses_to_create_it_the_reason_is_told_and_kapso_is_asked_once(
    browser: Client, kapso_sandbox: Sandbox
) -> None:
    kapso_sandbox.fail_next(method="POST", answer=Answer(422, {"error": "too many"}))
    for _ in range(20):
        response = press(browser)
        assert (response.status_code, outcome(response)) == (503, "failed")
        assert "too many" in says(response)
    assert writes(kapso_sandbox) == ["POST"]
    assert InboxChange.objects.get().action == InboxChange.Action.CREATION_REFUSED
    age_cache(10)
    assert press(browser).status_code == 303


def test_while_kapsos_inboxes_are_at_an_unknown_origin_that_is_told_and_kapso_is_asked_once(
    browser: Client, kapso_sandbox: Sandbox
) -> None:
    kapso_sandbox.project().inbox_origin = "https://inbox.kapso.example"
    for _ in range(3):
        response = press(browser)
        assert (response.status_code, outcome(response)) == (503, "failed")
        assert "is at https://inbox.kapso.example, but KAPSO_INBOX" in says(response)
        assert "has only https://inbox.kapso.ai." in says(response)
    assert writes(kapso_sandbox) == ["POST", "DELETE"]


@pytest.mark.parametrize("email", ["", "  "])
def test_an_account_without_an_address_matches_nobody(
    browser: Client, bruno: User, kapso_sandbox: Sandbox, email: str
) -> None:
    kapso_sandbox.project().users[0]["email"] = email
    move(bruno, email)
    response = press(browser)
    assert outcome(response) == "no_match"
    assert "has no e-mail address" in says(response)
    assert kapso_sandbox.requests == []


def test_on_a_site_without_addresses_users_match_nobody(
    browser: Client, monkeypatch: pytest.MonkeyPatch, kapso_sandbox: Sandbox
) -> None:
    monkeypatch.setattr(User, "EMAIL_FIELD", "electronic_address")
    assert "has no e-mail address" in says(press(browser))
    assert kapso_sandbox.requests == []


def test_an_address_that_is_part_of_anothers_matches_nobody(browser: Client, bruno: User) -> None:
    move(bruno, "runo@example.com")
    assert outcome(press(browser)) == "no_match"


def test_two_members_with_one_address_match_nobody(browser: Client, kapso_sandbox: Sandbox) -> None:
    kapso_sandbox.project().users[0]["email"] = "BRUNO@example.com"
    response = press(browser)
    assert (response.status_code, outcome(response)) == (409, "ambiguous")
    assert "bruno@example.com" in says(response).lower()
    assert writes(kapso_sandbox) == []


def test_an_address_that_another_account_has_too_matches_nobody(
    browser: Client, make_agent: Callable[..., User], kapso_sandbox: Sandbox
) -> None:
    make_agent("eve", email="bruno@example.com")
    response = press(browser)
    assert outcome(response) == "ambiguous"
    assert "Another account" in says(response)
    assert kapso_sandbox.requests == []


def test_addresses_that_differ_beyond_ascii_are_not_folded_together(
    browser: Client, bruno: User, kapso_sandbox: Sandbox
) -> None:
    kapso_sandbox.project().users[0]["email"] = "mike@example.com"
    move(bruno, "mi\N{KELVIN SIGN}e@example.com")
    assert outcome(press(browser)) == "no_match"


TEAM: dict[str, Any] = {}


def team_member(user: Any) -> Any:
    found = TEAM[user.get_username()]
    if isinstance(found, Exception):
        raise found
    return found


@pytest.fixture
def team(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Let the host itself match users with team members."""
    TEAM.clear()
    with with_settings(TEAM_MEMBER="tests.inbox.test_own.team_member"):
        yield TEAM


def test_the_hosts_own_function_decides_and_kapsos_list_is_not_read(
    browser: Client, team: dict[str, Any], kapso_sandbox: Sandbox
) -> None:
    team["bruno"] = member(kapso_sandbox, "carla@example.com")
    assert press(browser).status_code == 303
    assert the_embed().assigned_user_id == team["bruno"]
    assert [request.method for request in kapso_sandbox.requests] == ["POST"]


@pytest.mark.parametrize("found", [None, "", " ", LookupError("bruno@example.com")], ids=repr)
def test_if_the_hosts_function_knows_nobody_nothing_is_created(
    browser: Client, team: dict[str, Any], kapso_sandbox: Sandbox, found: Any
) -> None:
    team["bruno"] = found
    assert outcome(press(browser)) == "no_match"
    assert not InboxEmbed.objects.exists()
    assert kapso_sandbox.requests == []


def test_a_malformed_id_of_a_member_is_refused(browser: Client, team: dict[str, Any]) -> None:
    team["bruno"] = "everybody"
    response = press(browser)
    assert (response.status_code, outcome(response)) == (503, "failed")
    assert "Enter a UUID" in says(response)
    assert not InboxEmbed.objects.exists()


# Access


def test_a_signed_out_visitor_is_told_so(client: Client, kapso_sandbox: Sandbox) -> None:
    for response in (look(client), press(client)):
        assert (response.status_code, outcome(response)) == (403, "signed_out")
    assert kapso_sandbox.requests == []


def test_without_the_permission_to_open_inboxes_there_is_none(
    client: Client, make_agent: Callable[..., User], kapso_sandbox: Sandbox
) -> None:
    client.force_login(make_agent("bruno", may_open=False, email="bruno@example.com"))
    for response in (look(client), press(client)):
        assert (response.status_code, outcome(response)) == (404, "not_available")
    assert client.get("/kapso-inbox/mine/").status_code == 404
    assert kapso_sandbox.requests == []
    assert set(LaunchAttempt.objects.values_list("outcome", flat=True)) == {"not_available"}


def test_a_policy_may_refuse_it_to_everybody(browser: Client, kapso_sandbox: Sandbox) -> None:
    with with_settings(ACCESS_POLICY="tests.inbox.test_own.Nobody"):
        assert outcome(press(browser)) == "not_available"
    assert kapso_sandbox.requests == []


def test_a_user_who_loses_the_permission_loses_the_inbox(browser: Client, bruno: User) -> None:
    address = press(browser)["Location"]
    bruno.user_permissions.clear()
    assert look(browser)["Location"] == address
    launched = browser.get(address, **FRAME)  # type: ignore[arg-type]
    assert outcome(launched) == "not_available"  # type: ignore[arg-type]


@pytest.mark.parametrize("is_superuser", [False, True])
def test_nobody_else_opens_it_and_they_get_one_of_their_own(
    browser: Client, make_agent: Callable[..., User], is_superuser: bool
) -> None:
    address = press(browser)["Location"]
    other = make_agent("carla", email="carla@example.com", is_superuser=is_superuser)
    browser.force_login(other)
    launched = browser.get(address, **FRAME)  # type: ignore[arg-type]
    assert outcome(launched) == "not_available"  # type: ignore[arg-type]
    assert browser.get(address.removesuffix("launch/")).status_code == 404
    assert press(browser)["Location"] == f"/kapso-inbox/mine-{other.pk}/launch/"


def test_superusers_who_open_everything_open_it_too(
    browser: Client, make_agent: Callable[..., User]
) -> None:
    address = press(browser)["Location"]
    browser.force_login(make_agent("root", is_superuser=True))
    with with_settings(ACCESS_POLICY="tests.inbox.test_own.Lenient"):
        assert browser.get(address, **FRAME).status_code == 302  # type: ignore[arg-type]


def test_after_the_user_is_deleted_nobody_opens_it_and_it_can_still_be_revoked(
    browser: Client, bruno: User, make_agent: Callable[..., User], kapso_sandbox: Sandbox
) -> None:
    address = press(browser)["Location"]
    bruno.delete()
    browser.force_login(make_agent("carla", is_superuser=True))
    launched = browser.get(address, **FRAME)  # type: ignore[arg-type]
    assert outcome(launched) == "not_available"  # type: ignore[arg-type]
    lifecycle.revoke_embed(the_embed())
    assert kapso_sandbox.project().active_embeds() == []


def test_another_embed_that_a_host_gave_that_slug_is_not_taken_for_the_users_own(
    browser: Client, bruno: User, kapso_sandbox: Sandbox
) -> None:
    lifecycle.create_embed(slug="all", name="Everything")
    InboxEmbed.objects.update(slug=f"mine-{bruno.pk}")
    assert outcome(look(browser)) == "not_set_up"
    response = press(browser)
    assert outcome(response) == "failed"
    assert "cannot be changed at Kapso" in says(response)
    assert the_embed().personal_to == ""
    assert writes(kapso_sandbox) == ["POST"]


def test_the_slug_mine_is_reserved(kapso_sandbox: Sandbox) -> None:
    with pytest.raises(ValidationError, match="reserved for the addresses of this app"):
        lifecycle.create_embed(slug="mine", name="Mine")


@pytest.mark.parametrize("slug", ["mine-{}", "MINE-{}", "mine-", "mine-x", "mine-{}0"])
@pytest.mark.parametrize("personal_to", ["", "{}"])
def test_the_slugs_of_users_own_inboxes_are_reserved_for_them(
    bruno: User, kapso_sandbox: Sandbox, slug: str, personal_to: str
) -> None:
    slug, personal_to = slug.format(bruno.pk), personal_to.format(bruno.pk)
    own_one: Any = {
        "name": "Mine",
        "personal_to": personal_to,
        "assigned_user_id": member(kapso_sandbox),
    }
    if slug == own.slug_for(bruno) and personal_to:
        assert lifecycle.create_embed(slug=slug, **own_one).slug == slug
        return
    embed = lifecycle.create_embed(slug="all", **{**own_one, "personal_to": ""})
    for refused in (
        lambda: lifecycle.create_embed(slug=slug, **own_one),
        lambda: lifecycle.ensure_embed(slug, **own_one),
        lambda: lifecycle.update_embed(embed, slug=slug, personal_to=personal_to),
    ):
        with pytest.raises(ValidationError) as raised:
            refused()
        (told,) = raised.value.message_dict["slug"]
        assert told.startswith("Slugs that begin with “mine-” are for users' own inboxes.")
    assert InboxEmbed.objects.get().slug == "all"
    assert writes(kapso_sandbox) == ["POST"]


def test_an_own_inbox_becomes_another_users_only_with_that_users_slug(
    browser: Client, bruno: User, ana: User
) -> None:
    press(browser)
    for personal_to in (str(ana.pk), ""):
        with pytest.raises(ValidationError, match="Choose another slug"):
            lifecycle.update_embed(the_embed(), personal_to=personal_to)
    lifecycle.update_embed(the_embed(), name="Bruno's")
    lifecycle.update_embed(the_embed(), personal_to=str(ana.pk), slug=own.slug_for(ana))
    assert the_embed().personal_to == str(ana.pk)


def test_an_own_inbox_keeps_the_slug_that_its_user_finds_it_by(
    browser: Client, bruno: User
) -> None:
    press(browser)
    with pytest.raises(ValidationError) as raised:
        lifecycle.update_embed(the_embed(), slug="brunos")
    assert raised.value.message_dict == {
        "slug": ["This user's own inbox is found by its slug, which cannot be changed."]
    }
    assert the_embed().slug == own.slug_for(bruno)
    # Another embed for one user alone is found by its own slug.
    embed = lifecycle.update_embed(the_embed(), personal_to="", slug="all")
    embed = lifecycle.update_embed(embed, personal_to=str(bruno.pk))
    assert not embed.is_own_inbox
    assert lifecycle.update_embed(embed, slug="brunos").slug == "brunos"


def test_an_embed_that_already_has_such_a_slug_can_be_renamed(
    browser: Client, bruno: User, kapso_sandbox: Sandbox
) -> None:
    embed = lifecycle.create_embed(slug="all", name="Everything")
    InboxEmbed.objects.update(slug=own.slug_for(bruno))
    lifecycle.update_embed(embed, name="All")
    lifecycle.update_embed(embed, slug="all")
    assert press(browser)["Location"] == f"/kapso-inbox/mine-{bruno.pk}/launch/"


def test_the_slugs_of_inboxes_found_at_kapso_are_reserved_for_them(kapso_sandbox: Sandbox) -> None:
    slug = "kapso-01234567-89ab-4cde-8f01-23456789abcd"
    for refused in (
        lambda: lifecycle.create_embed(slug=slug, name="Mine"),
        lambda: lifecycle.ensure_embed(slug.upper().replace("KAPSO", "Kapso")),
    ):
        with pytest.raises(ValidationError, match="found at Kapso"):
            refused()
    assert kapso_sandbox.requests == []
    lifecycle.create_embed(slug="kapso-support", name="Support")


# The rules for a personal embed


def test_a_personal_embed_must_be_narrowed_to_a_member(kapso_sandbox: Sandbox) -> None:
    with pytest.raises(ValidationError, match="limited to a team member"):
        lifecycle.create_embed(slug="all", name="All", personal_to="7")
    assert kapso_sandbox.requests == []


def test_it_does_not_open_once_kapso_would_show_everybodys_conversations(
    browser: Client, kapso_sandbox: Sandbox
) -> None:
    """Somebody may leave the team, and Kapso then removes them from its embeds."""
    address = press(browser)["Location"]
    (at_kapso,) = kapso_sandbox.project().active_embeds()
    at_kapso.update(assigned_user_id=None, assigned_user_name=None)
    AccessLink.objects.update(checked_at=timezone.now() - timedelta(hours=1))
    launched = browser.get(address, **FRAME)  # type: ignore[arg-type]
    assert (launched.status_code, outcome(launched)) == (503, "different")  # type: ignore[arg-type]
    assert press(browser)["Location"] == address
    assert writes(kapso_sandbox) == ["POST"]
    # Once they are in the team again, a new link shows their conversations alone.
    lifecycle.rotate_embed(the_embed())
    assert browser.get(address, **FRAME).status_code == 302  # type: ignore[arg-type]


def test_its_user_can_be_changed_only_in_python(
    browser: Client, make_agent: Callable[..., User], admin_client: Client, kapso_sandbox: Sandbox
) -> None:
    press(browser)
    embed, carla = the_embed(), make_agent("carla", is_superuser=True)
    page = admin_client.get(reverse("admin:kapso_inbox_inboxembed_change", args=[embed.pk]))
    assert 'name="personal_to"' not in page.content.decode()
    lifecycle.update_embed(embed, personal_to=str(carla.pk), slug=own.slug_for(carla))
    assert the_embed().personal_to == str(carla.pk)
    assert writes(kapso_sandbox) == ["POST"], "it is ours alone"


def test_its_user_cannot_be_changed_through_the_api(
    browser: Client, admin_client: Client, ana: User
) -> None:
    pytest.importorskip("rest_framework", reason="It takes the extra api.")
    press(browser)
    embed = the_embed()
    body = {"personal_to": str(ana.pk)}
    answer = admin_client.patch(
        f"/api/kapso-inbox/embeds/{embed.slug}/", body, content_type="application/json"
    )
    assert "personal_to" not in answer.json()
    assert the_embed().personal_to == embed.personal_to


def in_admin(client: Client, name: str, *args: Any) -> str:
    """Return what a page of embeds in the admin says."""
    response: Any = client.get(reverse(f"admin:kapso_inbox_inboxembed_{name}", args=args))
    return says(response)


def test_the_admin_says_whose_it_is_by_name(
    browser: Client, bruno: User, admin_client: Client
) -> None:
    press(browser)
    key = the_embed().pk
    assert "Only Bruno Salgado" in in_admin(admin_client, "changelist")
    assert "Who may open it: Only Bruno Salgado" in in_admin(admin_client, "change", key)
    bruno.delete()
    for name, args in (("changelist", ()), ("change", (key,))):
        assert "nobody: its user was deleted" in in_admin(admin_client, name, *args)
    # What a program may have written. No database takes the first for an integer.
    for odd in ("9" * 30, "x", "-1"):
        InboxEmbed.objects.update(personal_to=odd)
        assert "nobody: its user was deleted" in in_admin(admin_client, "changelist")


def test_the_admin_offers_no_groups_for_it_and_the_tag_that_shows_it(
    browser: Client, admin_client: Client
) -> None:
    press(browser)
    embed = the_embed()
    page = in_admin(admin_client, "change", embed.pk)
    assert "Groups" not in page.partition("What it shows")[2]
    assert "{% load kapso_inbox %}{% kapso_my_inbox %}" in page
    assert f'{{% kapso_inbox "{embed.slug}" %}}' not in page
    assert "The name that templates use" not in page
    assert 'name="slug"' not in page
    assert "the inbox of a user is found by its slug" in page


def test_saving_it_in_the_admin_leaves_it_to_its_user(
    browser: Client, bruno: User, admin_client: Client
) -> None:
    press(browser)
    address = reverse("admin:kapso_inbox_inboxembed_change", args=[the_embed().pk])
    form = admin_client.get(address).context["adminform"].form
    data = {one.html_name: one.value() for one in form if one.value() not in (None, False)}
    sent = {**data, "name": "Bruno's", "allowed_origins": "", "any_site": "on"}
    assert admin_client.post(address, sent).status_code == 302
    embed = the_embed()
    assert (embed.name, embed.personal_to) == ("Bruno's", str(bruno.pk))
    assert (list(embed.groups.all()), embed.restricted) == ([], False)


def test_the_preview_says_that_only_its_user_can_open_it(
    browser: Client, bruno: User, admin_client: Client
) -> None:
    press(browser)
    key = the_embed().pk
    page = in_admin(admin_client, "preview", key)
    assert "Only Bruno Salgado can open it: it is their own inbox." in page
    assert "permission to open inboxes" not in page
    with with_settings(ACCESS_POLICY="tests.inbox.test_own.Lenient"):
        assert "Only Bruno Salgado can open it" not in in_admin(admin_client, "preview", key)
    User.objects.filter(pk=bruno.pk).update(is_staff=True, is_superuser=True)
    assert "can open it" not in in_admin(browser, "preview", key)
    bruno.delete()
    page = in_admin(admin_client, "preview", key)
    assert "Nobody can open it, because its user was deleted." in page


def test_the_admins_list_reads_the_names_of_all_owners_at_once(
    admin_client: Client, make_agent: Callable[..., User]
) -> None:
    address = reverse("admin:kapso_inbox_inboxembed_changelist")
    counts = []
    for number in (1, 2, 3):
        user = make_agent(f"agent-{number}", email=f"{number}@example.com")
        slug = own.slug_for(user)
        InboxEmbed.objects.create(slug=slug, name=slug, personal_to=str(user.pk))
        with CaptureQueriesContext(connection) as asked:
            text = admin_client.get(address).text
        assert f"Only agent-{number}" in text
        counts.append(len(asked))
    assert counts[1] == counts[2]


def test_a_later_change_of_address_does_not_open_another_members_conversations(
    browser: Client, bruno: User, kapso_sandbox: Sandbox
) -> None:
    """The team member is looked up at creation. To repeat that, an administrator deletes it."""
    address = press(browser)["Location"]
    move(bruno, "carla@example.com")
    assert press(browser)["Location"] == address
    assert the_embed().assigned_user_id == member(kapso_sandbox)
    lifecycle.revoke_embed(the_embed())
    lifecycle.delete_embed(the_embed())
    assert press(browser)["Location"] == address
    assert the_embed().assigned_user_id == member(kapso_sandbox, "carla@example.com")


def test_a_revoked_one_stays_revoked_whatever_is_pressed(
    browser: Client, kapso_sandbox: Sandbox
) -> None:
    address = press(browser)["Location"]
    lifecycle.revoke_embed(the_embed())
    kapso_sandbox.requests.clear()
    assert look(browser)["Location"] == press(browser)["Location"] == address
    launched = browser.get(address, **FRAME)  # type: ignore[arg-type]
    assert (launched.status_code, outcome(launched)) == (410, "revoked")  # type: ignore[arg-type]
    assert writes(kapso_sandbox) == []


# Kapso's faults


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"answer": Answer(401, {"error": "Invalid"})}, "refused the API key"),
        ({"answer": Answer(429, {}, {"Retry-After": "60"})}, "no more requests in this minute"),
        ({"answer": Answer(503, "away"), "times": 9}, "answer did not arrive"),
        ({"error": ConnectTimeout(), "times": 9}, "could not be reached"),
    ],
    ids=["key", "rate", "away", "unreachable"],
)
def test_an_unreadable_list_of_kapsos_is_reported_and_a_press_ten_seconds_later_succeeds(
    browser: Client, kapso_sandbox: Sandbox, fault: dict[str, Any], words: str
) -> None:
    kapso_sandbox.fail_next(path="/users", **fault)
    response = press(browser)
    assert (response.status_code, outcome(response)) == (503, "failed")
    assert words in says(response)
    assert writes(kapso_sandbox) == []
    assert outcome(look(browser)) == "not_set_up"
    kapso_sandbox._faults.clear()
    age_cache(10)
    assert press(browser).status_code == 303


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"answer": Answer(422, {"errors": {"assigned_user_id": ["is gone"]}})}, "is gone"),
        ({"answer": Answer(403, {"error": "plan"})}, "refused the API key"),
        ({"error": ConnectTimeout()}, "could not be reached"),
    ],
    ids=["refused", "key", "unreachable"],
)
def test_a_certain_failure_is_reported_and_a_press_ten_seconds_later_creates_it(
    browser: Client, kapso_sandbox: Sandbox, fault: dict[str, Any], words: str
) -> None:
    kapso_sandbox.fail_next(method="POST", **fault)
    response = press(browser)
    assert (response.status_code, outcome(response)) == (503, "failed")
    assert words in says(response)
    assert outcome(look(browser)) == "not_set_up"
    age_cache(10)
    assert press(browser).status_code == 303
    assert len(kapso_sandbox.project().active_embeds()) == 1


def test_after_an_uncertain_answer_it_is_not_created_again_until_that_is_settled(
    browser: Client, kapso_sandbox: Sandbox
) -> None:
    kapso_sandbox.fail_next(method="POST", drop="after")
    first = press(browser)
    assert (first.status_code, outcome(first)) == (503, "unsettled")
    assert outcome(look(browser)) == outcome(press(browser)) == "unsettled"
    assert writes(kapso_sandbox) == ["POST"]
    lifecycle.resolve_embed(AccessLink.objects.get().embed)
    assert kapso_sandbox.project().active_embeds() == []
    assert outcome(look(browser)) == "not_set_up"
    age_cache(10)
    assert press(browser).status_code == 303
    assert len(kapso_sandbox.project().active_embeds()) == 1


def test_an_administrator_gets_a_link_to_the_health_page(
    browser: Client, bruno: User, kapso_sandbox: Sandbox
) -> None:
    kapso_sandbox.fail_next(method="POST", answer=Answer(500, "no"), times=9)
    press(browser)
    health = reverse("admin:kapso_inbox_inboxembed_health")
    assert health not in look(browser).content.decode()
    bruno.user_permissions.add(Permission.objects.get(codename="change_inboxembed"))
    User.objects.filter(pk=bruno.pk).update(is_staff=True)
    assert health in look(browser).content.decode()


def test_without_a_default_project_the_settings_are_reported(
    browser: Client, kapso_sandbox: Sandbox
) -> None:
    with with_settings(API_KEY=""):
        response = press(browser)
    assert outcome(response) == "failed"
    assert "settings are not valid" in says(response)
    assert kapso_sandbox.requests == []


# The tag, the whole page, and what they cost


def render(tag: str, **context: Any) -> str:
    return Template("{% load kapso_inbox %}" + tag).render(Context(context))


def test_the_tag_renders_a_frame_that_starts_from_the_launch_without_a_query(
    django_assert_num_queries: Callable[..., Any], kapso_sandbox: Sandbox
) -> None:
    with django_assert_num_queries(0):
        html = render('{% kapso_my_inbox mode="dark" unread=1 title="Yours truly" %}')
    assert 'src="/kapso-inbox/mine/launch/?mode=dark&amp;unread=1"' in html
    assert 'title="Yours truly"' in html
    assert 'title="Your own WhatsApp inbox"' in render("{% kapso_my_inbox %}")
    assert kapso_sandbox.requests == []


def test_the_tag_takes_the_options_and_the_contact_of_kapso_inbox(db: None) -> None:
    html = render(
        '{% kapso_my_inbox variant="drawer" settings=1 contact=phone %}', phone="+55 11 91234-5678"
    )
    assert "kapso-inbox--drawer" in html
    assert "/kapso-inbox/mine/launch/?search=5511912345678&amp;unread=0&amp;handoff=0" in html
    assert (
        'href="/kapso-inbox/mine/settings/?search=5511912345678&amp;unread=0&amp;handoff=0"' in html
    )


def test_the_tag_takes_no_slug_and_its_errors_name_it() -> None:
    for wrong in ('{% kapso_my_inbox "sales" %}', "{% kapso_my_inbox colour=1 %}"):
        with pytest.raises(TemplateSyntaxError, match="kapso_my_inbox"):
            render(wrong)


def test_it_starts_from_its_launch_even_with_direct_delivery(
    browser: Client, kapso_sandbox: Sandbox
) -> None:
    press(browser)
    (at_kapso,) = kapso_sandbox.project().active_embeds()
    with with_settings(DELIVERY="direct"):
        page = browser.get("/kapso-inbox/mine/").content.decode()
        assert look(browser).status_code == 302
    assert 'src="/kapso-inbox/mine/launch/"' in page
    assert at_kapso["token"] not in page


def test_the_whole_page_shows_it_with_the_filters_of_its_own_address(browser: Client) -> None:
    page = browser.get("/kapso-inbox/mine/?status=all&utm_source=mail")
    assert page.status_code == 200
    assert 'src="/kapso-inbox/mine/launch/?status=all"' in page.content.decode()
    assert "no-store" in page["Cache-Control"]


def test_the_whole_page_requires_a_login(client: Client) -> None:
    response = client.get("/kapso-inbox/mine/")
    assert (response.status_code, urlsplit(response["Location"]).path) == (302, "/accounts/login/")


def test_the_frame_links_to_the_login_and_back(client: Client) -> None:
    with override_settings(LOGIN_URL="/login/"):
        page = look(client).content.decode()
    assert "/login/?next=/kapso-inbox/mine/signed-in/" in page


def test_the_preferences_for_it_have_an_address_without_its_slug(
    browser: Client, bruno: User
) -> None:
    def go() -> str:
        response = browser.get("/kapso-inbox/mine/settings/?mode=dark", **FRAME)  # type: ignore[arg-type]
        assert response.status_code == 302
        return str(response["Location"])

    assert go() == "/kapso-inbox/mine/launch/?mode=dark"
    press(browser)
    assert go() == f"/kapso-inbox/mine-{bruno.pk}/settings/?mode=dark"


def test_its_launch_makes_one_query_beside_session_and_user(
    browser: Client, django_assert_num_queries: Callable[..., Any]
) -> None:
    press(browser)
    with django_assert_num_queries(3):  # session, user, embed
        look(browser)


def test_the_offer_to_set_it_up_makes_few_queries(
    browser: Client, django_assert_max_num_queries: Callable[..., Any]
) -> None:
    with django_assert_max_num_queries(6):  # session, user, their permissions twice, embed, links
        look(browser)


def test_users_with_any_kind_of_primary_key_get_a_slug() -> None:
    class Person:
        def __init__(self, pk: Any) -> None:
            self.pk = pk

    slugs = [own.slug_for(Person(pk)) for pk in (7, "bruno@example.com", "x" * 60, "a b", "é")]
    assert slugs[0] == "mine-7"
    assert len(set(slugs)) == len(slugs)
    assert all(re.fullmatch(r"[-a-zA-Z0-9_]{1,50}", slug) for slug in slugs)


def test_no_secret_is_in_any_answer(
    browser: Client, kapso_sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    pages = [look(browser), press(browser), look(browser), browser.get("/kapso-inbox/mine/")]
    (at_kapso,) = kapso_sandbox.project().active_embeds()
    for page in pages:
        for secret in (at_kapso["token"], settings.KAPSO_INBOX["API_KEY"]):
            assert secret not in page.content.decode()
            assert secret not in str(page.headers)
            assert secret not in repr(page)
            assert secret not in caplog.text


def test_inside_a_transaction_of_the_host_nothing_is_created(
    browser: Client, kapso_sandbox: Sandbox
) -> None:
    with transaction.atomic(using=connection.alias):
        response = press(browser)
    assert outcome(response) == "failed"
    assert "inside a database transaction" in says(response)
    assert writes(kapso_sandbox) == []


@pytest.mark.django_db(transaction=True)
def test_an_inbox_that_cannot_be_stored_is_reported_on_our_page(
    browser: Client, kapso_sandbox: Sandbox
) -> None:
    def refuse(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("INSERT") and "inboxembed" in sql:
            raise DatabaseError("disk full")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(refuse):
        response = press(browser)
    assert (response.status_code, outcome(response)) == (503, "failed")
    assert writes(kapso_sandbox) == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("address", ["/kapso-inbox/sales/", "/kapso-inbox/mine/"])
def test_the_refusal_of_a_whole_page_is_recorded_even_with_atomic_requests(
    client: Client,
    make_agent: Callable[..., User],
    monkeypatch: pytest.MonkeyPatch,
    address: str,
) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    client.force_login(make_agent("zoe", may_open=False))
    assert client.get(address).status_code == 404
    assert LaunchAttempt.objects.get().outcome == Outcome.NOT_AVAILABLE
