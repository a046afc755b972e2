from __future__ import annotations

import json
import threading
import uuid

import pytest

from kapso_inbox.sandbox.engine import (
    Answer,
    DroppedConnection,
    Fault,
    RecordedRequest,
    Request,
    Sandbox,
)

from .conftest import API_KEY

# --- API keys ---


@pytest.mark.parametrize("headers", [{}, {"X-API-Key": ""}, {"X-API-Key": f"{API_KEY}\n"}])
def test_a_missing_or_unknown_key_is_unauthorised(sandbox, headers):
    answer = sandbox.handle(Request("GET", "/users", headers=headers))
    assert answer.status == 401
    assert json.loads(answer.content) == {"error": "Invalid or missing API key"}


def test_header_names_are_looked_up_without_regard_to_case(sandbox):
    assert sandbox.handle(Request("GET", "/users", headers={"x-API-KEY": API_KEY})).status == 200


def test_each_key_sees_only_its_own_project(sandbox, call, created):
    embed = created()
    sandbox.add_project("other")
    assert call("GET", "/inbox_embeds", key="other")[1]["data"] == []
    assert call("GET", f"/inbox_embeds/{embed['id']}", key="other")[0] == 404


def test_two_projects_cannot_share_a_key(sandbox):
    with pytest.raises(ValueError, match="API key of its own"):
        sandbox.add_project(API_KEY)
    with pytest.raises(ValueError, match="API key of its own"):
        sandbox.add_project("")


def test_projects_are_found_by_key_and_the_first_without_one(sandbox):
    other = sandbox.add_project("other", seed=False)
    assert sandbox.project("other") is other
    assert sandbox.project() is sandbox.projects[API_KEY]
    assert other.users == other.conversations == []
    with pytest.raises(KeyError):
        Sandbox().project()


# --- addresses and methods ---


@pytest.mark.parametrize("path", ["/", "/nothing", "/inbox_embeds/1/2", "/whatsapp"])
def test_an_unknown_path_is_not_found(call, path):
    assert call("GET", path) == (404, {"message": "Not found"})


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/users", "GET"),
        ("DELETE", "/inbox_embeds", "GET, POST"),
        ("PUT", "/inbox_embeds/1", "GET, PATCH, DELETE"),
    ],
)
def test_a_wrong_method_is_refused_and_the_right_ones_are_named(call, method, path, allowed):
    answer = call.answer(method, path)
    assert (answer.status, answer.headers["Allow"]) == (405, allowed)


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_an_unknown_embed_is_not_found(call, method):
    assert call(method, f"/inbox_embeds/{uuid.uuid4()}")[0] == 404


@pytest.mark.parametrize("body", [b"{", b"", b"[]", b'"text"', b'{"name": "x"}', b"\xff"])
def test_a_body_that_is_not_the_envelope_is_a_bad_request(call, created, body):
    status, answer = call("POST", "/inbox_embeds", body)
    assert status == 400
    assert answer["error"]["code"] == "bad_request"
    assert call("PATCH", f"/inbox_embeds/{created()['id']}", body)[0] == 400


def test_every_answer_has_a_request_id(sandbox, call):
    sandbox.fail_next(answer=Answer(502, "<h1>Bad gateway</h1>"))
    answers = [call.answer("GET", path) for path in ("/users", "/users", "/nothing")]
    answers.append(call.answer("GET", "/users", key="unknown"))
    assert len({answer.headers["X-Request-Id"] for answer in answers}) == 4


# --- lists ---


def test_lists_hold_twenty_unless_asked_for_more(call, created):
    for number in range(23):
        created(name=f"Desk {number}")
    _, first = call("GET", "/inbox_embeds")
    assert first["meta"] == {"page": 1, "per_page": 20, "total_pages": 2, "total_count": 23}
    assert [one["name"] for one in first["data"]][:2] == ["Desk 22", "Desk 21"]
    _, second = call("GET", "/inbox_embeds", page="2")
    assert [one["name"] for one in second["data"]] == ["Desk 2", "Desk 1", "Desk 0"]
    assert call("GET", "/inbox_embeds", page="9")[1]["data"] == []


def test_the_size_of_a_page_is_capped(sandbox, call):
    assert call("GET", "/users", per_page="500")[1]["meta"]["per_page"] == 100
    sandbox.max_per_page = 2
    body = call("GET", "/users", per_page="500")[1]
    assert (len(body["data"]), body["meta"]["total_pages"]) == (2, 3)


@pytest.mark.parametrize("value", ["0", "-1", "x", "", "1.5"])
def test_a_page_that_is_not_a_number_is_the_default(call, value):
    meta = call("GET", "/users", page=value, per_page=value)[1]["meta"]
    assert (meta["page"], meta["per_page"]) == (1, 20)


def test_an_empty_list_has_no_pages(call):
    meta = call("GET", "/inbox_embeds")[1]["meta"]
    assert meta == {"page": 1, "per_page": 20, "total_pages": 0, "total_count": 0}


def test_the_lists_have_the_fields_that_kapso_documents(call):
    number = call("GET", "/whatsapp/phone_numbers")[1]["data"][0]
    assert number["phone_number_id"].isdigit()
    assert uuid.UUID(number["internal_id"])
    assert {"name", "display_phone_number", "verified_name", "status", "customer_id"} <= set(number)
    assert number["display_phone_number_normalized"] == "12025550100"
    customer = call("GET", "/customers")[1]["data"][0]
    assert uuid.UUID(customer["id"])
    assert {"name", "external_customer_id"} <= set(customer)
    user = call("GET", "/users")[1]["data"][0]
    assert isinstance(user["id"], int)
    assert uuid.UUID(user["user_id"])
    assert {"name", "email", "role"} <= set(user)


def test_embeds_are_filtered(project, call, created):
    number, user = project.phone_numbers[0]["phone_number_id"], project.users[1]["user_id"]
    plain = created()["id"]
    scoped = created(scope_type="phone_number", scope_id=number)["id"]
    assigned = created(assigned_user_id=user)["id"]
    project.revoke(plain)

    def ids(**query):
        return [one["id"] for one in call("GET", "/inbox_embeds", **query)[1]["data"]]

    assert ids() == [assigned, scoped, plain]
    assert ids(status="active") == [assigned, scoped]
    assert ids(status="revoked") == [plain]
    assert ids(scope_type="phone_number") == [scoped]
    assert ids(scope_id=number) == [scoped]
    assert ids(assigned_user_id=user) == [assigned]
    assert ids(scope_type="project", status="active") == [assigned]
    assert ids(status="") == [assigned, scoped, plain]


# --- create ---


def test_only_the_answer_to_a_create_has_the_secret(project, call, created):
    embed = created()
    assert embed["embed_url"] == f"https://inbox.kapso.ai/embed/{embed['token']}"
    assert len(embed["token"]) >= 40
    path = f"/inbox_embeds/{embed['id']}"
    rename = {"inbox_embed": {"name": "Renamed"}}
    for _, body in (
        call("GET", path),
        call("PATCH", path, rename),
        call("DELETE", path),
        call("GET", "/inbox_embeds"),
    ):
        assert embed["token"] not in json.dumps(body)
        assert "embed_url" not in json.dumps(body)
    assert project.find(embed["id"])["token"] == embed["token"]


def test_a_create_fills_in_missing_fields(project, created):
    embed = created(unheard_of="ignored")
    assert uuid.UUID(embed["id"])
    left = {key: embed[key] for key in embed if key not in ("id", "token", "embed_url")}
    assert left == {
        "name": "Front desk",
        "scope_type": "project",
        "scope_id": None,
        "scope_name": project.name,
        "assigned_user_id": None,
        "assigned_user_name": None,
        "status": "active",
        "allowed_origins": [],
        "default_mode": "system",
        "language": "en",
        "expires_at": None,
        "last_used_at": None,
        "created_at": "2026-11-05T09:30:00.000Z",
        "updated_at": "2026-11-05T09:30:00.000Z",
    }


def test_a_create_keeps_the_fields_that_were_sent(project, created):
    customer, user = project.customers[3], project.users[2]
    embed = created(
        scope_type="customer",
        scope_id=customer["id"],
        allowed_origins=["https://crm.example.com", "*.example.org", "http://localhost:8000"],
        default_mode="dark",
        language="es",
        expires_at="2026-12-01T10:00:00+02:00",
        assigned_user_id=user["user_id"],
    )
    assert embed["scope_name"] == customer["name"]
    assert embed["assigned_user_name"] == user["name"]
    assert embed["allowed_origins"][1] == "*.example.org"
    assert (embed["default_mode"], embed["language"]) == ("dark", "es")
    assert embed["expires_at"] == "2026-12-01T08:00:00.000Z"


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "  "}, "name"),
        ({"name": None}, "name"),
        ({"name": 7}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"scope_type": None}, "scope_type"),
        ({"scope_type": "team"}, "scope_type"),
        ({"scope_id": "1065"}, "scope_id"),
        ({"scope_type": "customer"}, "scope_id"),
        ({"scope_type": "phone_number", "scope_id": " "}, "scope_id"),
        ({"scope_type": "phone_number", "scope_id": 106540352242910}, "scope_id"),
        ({"allowed_origins": "https://crm.example.com"}, "allowed_origins"),
        ({"allowed_origins": None}, "allowed_origins"),
        ({"allowed_origins": ["https://crm.example.com/path"]}, "allowed_origins"),
        ({"allowed_origins": ["https://*"]}, "allowed_origins"),
        ({"allowed_origins": ["https://a.example\n"]}, "allowed_origins"),
        ({"allowed_origins": ["ftp://a.example"]}, "allowed_origins"),
        ({"allowed_origins": [""]}, "allowed_origins"),
        ({"allowed_origins": [3]}, "allowed_origins"),
        ({"default_mode": "sepia"}, "default_mode"),
        ({"default_mode": None}, "default_mode"),
        ({"language": "pt"}, "language"),
        ({"language": ""}, "language"),
        ({"expires_at": "soon"}, "expires_at"),
        ({"expires_at": 1893456000}, "expires_at"),
        ({"expires_at": "2026-11-05T09:30:00Z"}, "expires_at"),
        ({"expires_at": "2020-01-01"}, "expires_at"),
    ],
)
def test_settings_that_kapso_would_refuse_are_reported_by_field(project, call, settings, field):
    status, body = call.create(**settings)
    assert status == 422
    assert list(body["errors"]) == [field]
    assert all(isinstance(text, str) for text in body["errors"][field])
    assert project.embeds == {}


def test_a_time_without_an_offset_is_utc(created):
    assert created(expires_at="2027-01-01T00:00:00")["expires_at"] == "2027-01-01T00:00:00.000Z"


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"scope_type": "phone_number", "scope_id": "1"}, "Phone number not found"),
        ({"scope_type": "customer", "scope_id": "nobody"}, "Customer not found"),
        ({"assigned_user_id": "nobody"}, "User not found"),
    ],
)
def test_everything_that_a_create_names_must_exist(call, settings, error):
    assert call.create(**settings) == (404, {"error": error})


def test_a_number_of_another_project_is_not_found(sandbox, call):
    other = sandbox.add_project("other")
    number = other.phone_numbers[0]["phone_number_id"]
    answer = call.create(scope_type="phone_number", scope_id=number)
    assert answer == (404, {"error": "Phone number not found"})


# --- change and revoke ---


def test_a_change_only_changes_the_fields_that_it_names(project, call, created, clock):
    embed = created(language="es", expires_at="2027-01-01T00:00:00Z")
    clock.advance(minutes=3)
    user = project.users[0]
    changes = {"name": "Back desk", "assigned_user_id": user["user_id"], "expires_at": None}
    status, body = call("PATCH", f"/inbox_embeds/{embed['id']}", {"inbox_embed": changes})
    assert status == 200
    assert body["data"]["assigned_user_name"] == user["name"]
    assert (body["data"]["name"], body["data"]["language"]) == ("Back desk", "es")
    assert body["data"]["expires_at"] is None
    assert body["data"]["updated_at"] == "2026-11-05T09:33:00.000Z"
    changes = {"inbox_embed": {"assigned_user_id": None}}
    body = call("PATCH", f"/inbox_embeds/{embed['id']}", changes)[1]
    assert body["data"]["assigned_user_name"] is None


@pytest.mark.parametrize("field", ["scope_type", "scope_id"])
def test_a_scope_cannot_be_changed(call, created, field):
    embed = created()
    changes = {"inbox_embed": {field: embed[field]}}
    status, body = call("PATCH", f"/inbox_embeds/{embed['id']}", changes)
    assert (status, list(body["errors"])) == (422, [field])


def test_a_wrong_change_changes_nothing(project, call, created):
    embed = created()
    changes = {"inbox_embed": {"name": "", "default_mode": "dark"}}
    assert call("PATCH", f"/inbox_embeds/{embed['id']}", changes)[0] == 422
    changes = {"inbox_embed": {"name": "New", "assigned_user_id": "nobody"}}
    assert call("PATCH", f"/inbox_embeds/{embed['id']}", changes)[0] == 404
    assert project.find(embed["id"]) == embed


def test_a_revoked_embed_stays_listed_and_can_be_revoked_again(project, call, created):
    embed = created()
    for _ in range(2):
        status, body = call("DELETE", f"/inbox_embeds/{embed['id']}")
        assert (status, body["data"]["status"]) == (200, "revoked")
    assert call("GET", f"/inbox_embeds/{embed['id']}")[1]["data"]["status"] == "revoked"
    assert project.active_embeds() == []
    assert [one["id"] for one in project.links()] == [embed["id"]]


def test_an_expired_embed_is_still_active_for_the_api(project, call, created):
    embed = created()
    project.expire(embed["id"])
    assert call("GET", f"/inbox_embeds/{embed['id']}")[1]["data"]["status"] == "active"
    assert [one["id"] for one in project.active_embeds()] == [embed["id"]]


# --- limits ---


def test_over_the_limit_a_key_waits_for_the_next_minute(clock):
    sandbox = Sandbox(clock=clock, rate_limit=2)
    for key in ("a", "b"):
        sandbox.add_project(key)

    def ask(key="a"):
        return sandbox.handle(Request("GET", "/users", headers={"X-API-Key": key}))

    assert [ask().headers["X-RateLimit-Remaining"] for _ in range(2)] == ["1", "0"]
    over = ask()
    assert over.status == 429
    assert over.headers["Retry-After"] == "60"
    assert over.headers["X-RateLimit-Limit"] == "2"
    assert over.headers["X-RateLimit-Remaining"] == "0"
    assert ask("b").status == 200
    clock.advance(seconds=60)
    assert ask().status == 200


def test_a_project_without_credits_creates_nothing(sandbox, call, created, project):
    project.has_credits = False
    status, body = call.create(name="Support")
    assert (status, body["error"]["code"]) == (402, "service_credits_exhausted")
    assert project.active_embeds() == []
    sandbox.reset()
    assert created()["status"] == "active"


# --- faults ---


def test_a_fault_affects_as_many_requests_as_ordered(sandbox, call):
    sandbox.fail_next(answer=Answer(503, {"message": "Down"}), times=2)
    assert [call("GET", "/users")[0] for _ in range(3)] == [503, 503, 200]


def test_a_fault_waits_for_a_request_that_matches(sandbox, call):
    fault = Fault(answer=Answer(500), method="delete", path=r"^/inbox_embeds/")
    sandbox.order(fault)
    assert call("GET", "/inbox_embeds")[0] == 200
    assert call("DELETE", "/users")[0] == 405
    assert call("DELETE", "/inbox_embeds/1")[0] == 500
    assert call("DELETE", "/inbox_embeds/1")[0] == 404
    assert fault.times == 1, "the caller's object must not change"


def test_an_answer_in_place_of_kapsos_can_come_before_or_after_the_work(sandbox, project, call):
    sandbox.fail_next(answer=Answer(502))
    assert call.create()[0] == 502
    assert project.embeds == {}
    sandbox.fail_next(answer=Answer(502), process=True)
    assert call.create()[0] == 502
    assert len(project.embeds) == 1


def test_a_connection_can_break_before_or_after_the_work(sandbox, project, call):
    sandbox.fail_next(drop="before")
    with pytest.raises(DroppedConnection):
        call.create()
    assert project.embeds == {}
    sandbox.fail_next(drop="after")
    with pytest.raises(DroppedConnection):
        call.create()
    assert len(project.embeds) == 1


def test_an_error_is_raised_in_place_of_the_work(sandbox, project, call):
    error = TimeoutError("no route")
    sandbox.fail_next(error=error)
    with pytest.raises(TimeoutError) as caught:
        call.create()
    assert caught.value is error
    assert project.embeds == {}


def test_a_delay_passes_after_the_work_and_without_the_lock(sandbox, project):
    seen = []

    def sleep(seconds):
        other = threading.Thread(target=lambda: seen.append((seconds, len(project.links()))))
        other.start()
        other.join(2)

    sandbox.fail_next(delay=30)
    body = json.dumps({"inbox_embed": {"name": "x", "scope_type": "project"}}).encode()
    request = Request("POST", "/inbox_embeds", headers={"X-API-Key": API_KEY}, body=body)
    assert sandbox.handle(request, sleep=sleep).status == 201
    assert seen == [(30, 1)]


# --- recorded requests and secrets ---


def test_requests_are_recorded_without_headers(sandbox, call, created):
    created(name="Desk")
    call("GET", "/users", page="2")
    call("POST", "/inbox_embeds", b"{")
    sent = {"inbox_embed": {"name": "Desk", "scope_type": "project"}}
    assert sandbox.requests == [
        RecordedRequest("POST", "/inbox_embeds", {}, sent),
        RecordedRequest("GET", "/users", {"page": "2"}, None),
        RecordedRequest("POST", "/inbox_embeds", {}, None),
    ]
    assert API_KEY not in repr(sandbox.requests)


def test_neither_requests_nor_answers_show_secrets_in_their_repr(sandbox, call):
    request = Request("GET", "/users", headers={"X-API-Key": "secret"}, body=b"secret")
    assert "secret" not in repr(request)
    body = {"inbox_embed": {"name": "x", "scope_type": "project"}}
    answer = call.answer("POST", "/inbox_embeds", body)
    assert json.loads(answer.content)["data"]["token"] not in repr(answer)


def test_a_reset_restores_the_seeds(sandbox, project, call, created):
    created()
    project.users.clear()
    sandbox.fail_next(answer=Answer(500), times=9)
    sandbox.reset()
    assert sandbox.requests == []
    assert project.embeds == {}
    assert len(project.users) == 6
    assert call("GET", "/users")[0] == 200


def test_many_threads_create_many_embeds(sandbox, project, call):
    threads = [threading.Thread(target=call.create) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(project.embeds) == len(sandbox.requests) == 20
    assert len({one["token"] for one in project.links()}) == 20


@pytest.mark.parametrize(
    ("body", "content"),
    [(None, b""), (b"raw", b"raw"), ("á", b"\xc3\xa1"), ({"a": 1}, b'{"a": 1}'), ([], b"[]")],
)
def test_an_answers_body_becomes_bytes(body, content):
    assert Answer(200, body).content == content
