from __future__ import annotations

import json
import re

import pytest

from kapso_inbox.sandbox import page
from kapso_inbox.sandbox.texts import TEXTS


@pytest.fixture
def opened(sandbox, created):
    def opened(query=None, **settings):
        return sandbox.open_inbox(created(**settings)["token"], query or {}).context

    return opened


def test_an_unknown_token_is_unauthorised(sandbox, created):
    created()
    assert sandbox.open_inbox("unknown", {}).status == 401
    assert sandbox.open_inbox("", {}).status == 401


def test_a_revoked_token_is_unauthorised(sandbox, project, created):
    embed = created()
    project.revoke(embed["id"])
    assert sandbox.open_inbox(embed["token"], {}).status == 401


def test_an_expired_token_is_unauthorised(sandbox, project, created, clock):
    embed = created(expires_at="2026-11-05T10:00:00Z")
    assert sandbox.open_inbox(embed["token"], {}).status == 200
    clock.advance(minutes=30)
    assert sandbox.open_inbox(embed["token"], {}).status == 401
    other = created()
    project.expire(other["id"])
    assert sandbox.open_inbox(other["token"], {}).status == 401


def test_opening_is_recorded_and_a_refusal_is_not(sandbox, project, created, clock):
    embed = created()
    sandbox.open_inbox(embed["token"], {})
    assert project.find(embed["id"])["last_used_at"] == "2026-11-05T09:30:00.000Z"
    project.revoke(embed["id"])
    clock.advance(minutes=5)
    sandbox.open_inbox(embed["token"], {})
    assert project.find(embed["id"])["last_used_at"] == "2026-11-05T09:30:00.000Z"


def test_a_token_opens_the_inbox_of_its_own_project(sandbox, created):
    other = sandbox.add_project("other")
    embed = other.create({"name": "x", "scope_type": "project"})
    context = sandbox.open_inbox(embed["token"], {}).context
    assert context["name"] == other.name
    assert len(context["conversations"]) == len(other.conversations)


def test_a_project_shows_all_conversations_the_latest_first(project, opened):
    rows = opened()["conversations"]
    assert len(rows) == len(project.conversations)
    times = [one["last_active_at"] for one in rows]
    assert times == sorted(times, reverse=True)


def test_a_scope_shows_only_its_own_conversations(project, opened):
    customer, number = project.customers[0], project.phone_numbers[1]
    rows = opened(scope_type="customer", scope_id=customer["id"])["conversations"]
    assert {one["customer_id"] for one in rows} == {customer["id"]}
    context = opened(scope_type="phone_number", scope_id=number["phone_number_id"])
    assert {one["whatsapp_config_id"] for one in context["conversations"]} == {
        number["internal_id"]
    }
    assert [one["id"] for one in context["numbers"]] == [number["internal_id"]]


def test_an_assigned_user_narrows_the_scope(project, opened):
    user = project.users[0]["user_id"]
    rows = opened(assigned_user_id=user)["conversations"]
    assert {one["assigned_user_id"] for one in rows} == {user}
    assert 0 < len(rows) < len(project.conversations)


def test_without_parameters_the_page_has_kapsos_defaults(opened):
    context = opened(default_mode="dark", language="es")
    assert context["filters"] == {
        "status": "active",
        "search": "",
        "number": "all",
        "unread": False,
        "handoff": False,
    }
    assert (context["mode"], context["mode_forced"], context["language"]) == ("dark", False, "es")


def test_every_parameter_is_applied(project, opened):
    number = project.phone_numbers[2]["internal_id"]
    query = {
        "status": "ended",
        "search": "+34600",
        "whatsapp_config_id": number,
        "unread": "1",
        "handoff": "true",
        "mode": "light",
        "language": "es",
    }
    context = opened(query, default_mode="dark")
    assert context["filters"] == {
        "status": "ended",
        "search": "+34600",
        "number": number,
        "unread": True,
        "handoff": True,
    }
    assert (context["mode"], context["mode_forced"], context["language"]) == ("light", True, "es")


def test_invalid_parameters_are_ignored(opened):
    query = {
        "status": "open",
        "whatsapp_config_id": "other",
        "unread": "yes",
        "handoff": "0",
        "mode": "sepia",
        "language": "pt",
    }
    assert opened(query) == {**opened(), "filters": opened()["filters"]}


def rendered(sandbox, token, query=None):
    answer = page.render(sandbox.open_inbox(token, query or {}))
    return answer, answer.content.decode()


def test_the_page_contains_its_filters(sandbox, created):
    _, html = rendered(
        sandbox, created()["token"], {"status": "all", "unread": "1", "mode": "dark"}
    )
    root = re.search(r"<html[^>]*>", html)[0]
    for attribute in (
        'lang="en"',
        'data-theme="dark"',
        'data-mode-forced="true"',
        'data-status="all"',
        'data-unread="true"',
        'data-handoff="false"',
        'data-number="all"',
    ):
        assert attribute in root


def test_allowed_origins_become_the_pages_frame_ancestors(sandbox, created):
    origins = ["https://crm.example.com", "*.example.org"]
    answer, _ = rendered(sandbox, created(allowed_origins=origins)["token"])
    policy = answer.headers["Content-Security-Policy"]
    assert policy.endswith("frame-ancestors https://crm.example.com *.example.org")
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "X-Frame-Options" not in answer.headers
    answer, _ = rendered(sandbox, created()["token"])
    assert answer.headers["Content-Security-Policy"].endswith("frame-ancestors *")


def test_no_text_in_the_page_becomes_markup(sandbox, project, created):
    nasty = "</script><script>alert('1')</script>\"'&$data"
    project.conversations[0]["contact_name"] = nasty
    project.name = nasty
    _, html = rendered(sandbox, created()["token"], {"search": nasty})
    assert "<script>alert" not in html
    assert html.count("</script>") == 3
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)[1]
    context = json.loads(data)
    assert context["name"] == context["filters"]["search"] == nasty


def test_the_page_contains_neither_its_token_nor_anything_from_other_sites(sandbox, created):
    embed = created()
    _, html = rendered(sandbox, embed["token"])
    assert embed["token"] not in html
    for name in ("inbox.css", "inbox.js", "theme.js"):
        assert f'"/assets/{name}"' in html
        html += page.asset(name).decode().replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://", html)
    assert page.asset("inbox.html") is None


def test_a_refusal_is_a_plain_page(sandbox):
    answer, html = rendered(sandbox, "unknown")
    assert answer.status == 401
    assert "Unauthorized" in html
    assert len(html) < 200


def test_both_languages_have_every_text(sandbox, created):
    assert TEXTS["en"].keys() == TEXTS["es"].keys()
    _, html = rendered(sandbox, created(language="es")["token"])
    assert '<html lang="es"' in html
    assert "Sandbox: conversaciones inventadas" in html
    script = page.asset("inbox.js").decode()
    for key in re.findall(r'say\(\s*"(\w+)"', script):
        assert key in TEXTS["en"]


# --- what happens in it ---


@pytest.fixture
def talk(sandbox, created):
    """Return a function that answers the page of an inbox, and the embed's token."""
    token = created()["token"]

    def talk(event=None, *, token=token, version="", **wanted):
        if event is None:
            answer = sandbox.talk(token, "GET", {"version": version}, b"")
        else:
            body = json.dumps({"event": event, **wanted}).encode()
            answer = sandbox.talk(token, "POST", {}, body)
        return answer.status, json.loads(answer.content or b"null")

    return talk


def test_the_page_asks_for_what_has_changed(project, talk, opened):
    status, told = talk()
    assert (status, told["version"]) == (200, project.version)
    assert told["conversations"] == opened()["conversations"]
    version = str(told["version"])
    assert talk(version=version) == (204, None)
    project.customer_writes("+12025550777", "Hello")
    assert talk(version=version)[1]["conversations"][0]["messages"][0]["text"] == "Hello"


def test_asking_does_not_count_as_opening(sandbox, project, talk):
    talk()
    talk("somebody_writes")
    assert [one["last_used_at"] for one in project.links()] == [None]


def test_an_answer_that_is_written_in_the_inbox_is_a_message_of_the_conversation(project, talk):
    row = project.conversations[0]
    status, told = talk("agent_writes", conversation=row["id"], text="On my way")
    assert status == 200
    assert told["conversations"][0]["id"] == row["id"]
    message = row["messages"][-1]
    assert (message["text"], message["direction"]) == ("On my way", "outbound")


def test_people_write_read_and_hand_off_in_the_inbox(project, talk):
    row = next(one for one in project.conversations if one["unread_count"] and not one["handoff"])
    talk("customer_writes", conversation=row["id"], text="Hello?")
    assert row["messages"][-1]["text"] == "Hello?"
    talk("agent_reads", conversation=row["id"])
    assert row["unread_count"] == 0
    talk("hand_off", conversation=row["id"])
    assert row["handoff"] is True
    talk("end_handoff", conversation=row["id"])
    assert row["handoff"] is False
    count = sum(len(one["messages"]) for one in project.conversations)
    talk("somebody_writes")
    assert sum(len(one["messages"]) for one in project.conversations) == count + 1


def test_an_inbox_reaches_its_own_scope_only(sandbox, project, talk, created):
    number = project.phone_numbers[0]
    token = created(scope_type="phone_number", scope_id=number["phone_number_id"])["token"]
    row = next(
        one for one in project.conversations if one["whatsapp_config_id"] != number["internal_id"]
    )
    assert talk("agent_writes", token=token, conversation=row["id"], text="Hi")[0] == 404
    rows = talk("somebody_writes", token=token)[1]["conversations"]
    assert {one["whatsapp_config_id"] for one in rows} == {number["internal_id"]}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b"\xff", 400),
        (b"{}", 400),
        (b'{"event": "agent_writes"}', 404),
        (b'{"event": "agent_writes", "conversation": []}', 404),
    ],
)
def test_what_is_no_event_is_refused(sandbox, created, body, status):
    assert sandbox.talk(created()["token"], "POST", {}, body).status == status


@pytest.mark.parametrize("event", ["dance", "agent_writes"])
def test_an_unknown_event_and_an_empty_answer_are_refused(project, talk, event):
    row = project.conversations[0]
    before = len(row["messages"])
    assert talk(event, conversation=row["id"], text=" ")[0] == 400
    assert len(row["messages"]) == before


def test_a_token_that_opens_nothing_does_nothing(project, sandbox, created, talk):
    embed = created()
    project.revoke(embed["id"])
    for token in ("unknown", embed["token"]):
        assert talk(token=token)[0] == 401
        assert talk("somebody_writes", token=token)[0] == 401


def test_the_page_may_connect_to_the_sandbox_only(sandbox, created):
    answer, _ = rendered(sandbox, created()["token"])
    assert "; connect-src 'self'; " in answer.headers["Content-Security-Policy"]
