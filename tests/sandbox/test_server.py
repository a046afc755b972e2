from __future__ import annotations

import http.client
import socket
import time
from urllib.parse import urlsplit

import pytest
import requests

from kapso_inbox.sandbox.engine import Answer, Sandbox
from kapso_inbox.sandbox.server import SandboxServer

KEY = {"X-API-Key": "key"}
PROJECT_EMBED = {"inbox_embed": {"name": "Desk", "scope_type": "project"}}


@pytest.fixture
def sandbox():
    sandbox = Sandbox()
    sandbox.add_project("key")
    return sandbox


@pytest.fixture
def lines():
    return []


@pytest.fixture
def server(sandbox, lines):
    with SandboxServer(sandbox, log=lines.append) as server:
        yield server


@pytest.fixture
def http_(server):
    with requests.Session() as session:
        session.trust_env = False
        yield session


@pytest.fixture
def control(server):
    return server.base_url.replace("/platform/v1", "/_sandbox")


def raw(address, *, method="GET", path="/", headers=None, body=None):
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=5)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def test_the_api_answers_over_http(server, http_):
    answer = http_.get(f"{server.base_url}/users?per_page=2", headers=KEY)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert answer.headers["X-RateLimit-Limit"] == "1000"
    assert answer.headers["X-Request-Id"]
    assert [one["email"] for one in answer.json()["data"]] == [
        "ana@example.com",
        "bruno@example.com",
    ]
    assert http_.get(f"{server.base_url}/users").status_code == 401


def test_a_connection_is_kept_for_the_next_request(server, http_):
    for _ in range(3):
        http_.post(f"{server.base_url}/inbox_embeds", json=PROJECT_EMBED, headers=KEY)
    pools = http_.get_adapter(server.base_url).poolmanager.pools
    assert [pools[key].num_connections for key in pools.keys()] == [1]  # noqa: SIM118


def test_the_inbox_has_an_origin_of_its_own(server, http_, sandbox):
    answer = http_.post(f"{server.base_url}/inbox_embeds", json=PROJECT_EMBED, headers=KEY)
    url = answer.json()["data"]["embed_url"]
    assert url.startswith(f"{server.inbox_origin}/embed/")
    assert urlsplit(url).netloc != urlsplit(server.base_url).netloc
    page = http_.get(f"{url}?mode=dark")
    assert page.status_code == 200
    assert 'data-theme="dark"' in page.text
    assert page.headers["Content-Security-Policy"].endswith("frame-ancestors *")
    assert page.headers["Cache-Control"] == "no-store"
    sandbox.project().revoke(answer.json()["data"]["id"])
    assert http_.get(url).status_code == 401


def test_projects_take_the_servers_origin_and_a_test_may_set_another(server, http_, sandbox):
    assert sandbox.project().inbox_origin == server.inbox_origin
    late = sandbox.add_project("late")
    urls = []
    for _ in range(2):
        answer = http_.post(
            f"{server.base_url}/inbox_embeds", json=PROJECT_EMBED, headers={"X-API-Key": "late"}
        )
        urls.append(answer.json()["data"]["embed_url"])
        late.inbox_origin = "https://elsewhere.example"
    assert urls[0].startswith(f"{server.inbox_origin}/embed/")
    assert urls[1].startswith("https://elsewhere.example/embed/")


def test_the_inbox_serves_its_own_files_only(server, http_):
    origin = server.inbox_origin
    assert http_.get(f"{origin}/assets/inbox.css").headers["Content-Type"].startswith("text/css")
    assert (
        http_.get(f"{origin}/assets/inbox.js").headers["Content-Type"].startswith("text/javascript")
    )
    for path in ("/assets/none.css", "/assets/inbox.html", "/assets/../engine.py", "/", "/embed/"):
        assert raw(origin, path=path)[0] == 404
    assert http_.get(f"{origin}/favicon.ico").status_code == 204
    assert http_.post(f"{origin}/assets/inbox.css").status_code == 405


def test_a_head_request_has_no_body(server, http_):
    answer = http_.head(f"{server.inbox_origin}/assets/inbox.css")
    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["Content-Length"]) > 1000


def test_a_path_outside_the_base_path_is_not_found(server, http_):
    root = server.base_url.replace("/platform/v1", "")
    for path in ("/", "/users", "/platform/v2/users", "/_sandbox/nothing"):
        assert http_.get(root + path, headers=KEY).status_code == 404


def test_paths_and_queries_arrive_decoded(server, http_, sandbox):
    http_.get(f"{server.base_url}/inbox_embeds/a%20b?scope_id=%2B1&page=", headers=KEY)
    assert sandbox.requests[-1].path == "/inbox_embeds/a b"
    assert sandbox.requests[-1].query == {"scope_id": "+1", "page": ""}


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[", "10.0.0.1"])
def test_a_name_that_is_not_loopback_is_refused(server, host):
    for address in (server.base_url, server.inbox_origin):
        assert raw(address, headers={"Host": host})[0] == 403


@pytest.mark.parametrize("host", ["localhost:1", "crm.localhost", "127.0.0.1:9", "[::1]:5"])
def test_names_of_loopback_are_accepted(server, host):
    assert raw(server.base_url, headers={"Host": host})[0] == 404


@pytest.mark.parametrize("length", ["99999999", "-1", "many"])
def test_a_body_that_is_too_large_or_has_no_length_is_refused(server, length):
    status, headers, _ = raw(server.base_url, method="POST", headers={"Content-Length": length})
    assert (status, headers["Connection"]) == (413, "close")


def test_a_dropped_connection_closes_the_socket_without_an_answer(server, http_, sandbox):
    sandbox.fail_next(drop="after")
    with pytest.raises(requests.exceptions.ConnectionError, match="without response"):
        http_.post(f"{server.base_url}/inbox_embeds", json=PROJECT_EMBED, headers=KEY)
    assert len(sandbox.project().embeds) == 1
    sandbox.fail_next(error=RuntimeError("anything"))
    with pytest.raises(requests.exceptions.ConnectionError):
        http_.get(f"{server.base_url}/users", headers=KEY)
    assert http_.get(f"{server.base_url}/users", headers=KEY).status_code == 200


def test_a_delay_is_waited_for_and_a_client_may_give_up(server, http_, sandbox, capfd):
    sandbox.fail_next(delay=0.2)
    with pytest.raises(requests.exceptions.ReadTimeout):
        http_.get(f"{server.base_url}/users", headers=KEY, timeout=0.05)
    assert http_.get(f"{server.base_url}/users", headers=KEY).status_code == 200
    time.sleep(0.25)
    assert capfd.readouterr().err == ""


def test_an_answer_without_content_has_no_body(server, http_, sandbox):
    sandbox.fail_next(answer=Answer(204), process=True)
    answer = http_.delete(f"{server.base_url}/inbox_embeds/1", headers=KEY)
    assert (answer.status_code, answer.content) == (204, b"")
    assert "Content-Length" not in answer.headers


def test_a_proxys_answer_is_html(server, http_, sandbox):
    sandbox.fail_next(answer=Answer(502, "<h1>Bad gateway</h1>"))
    answer = http_.get(f"{server.base_url}/users", headers=KEY)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    sandbox.fail_next(answer=Answer(403, "error 1010", {"Content-Type": "text/plain"}))
    assert http_.get(f"{server.base_url}/users").headers["Content-Type"] == "text/plain"


# --- control from outside ---


def test_faults_are_ordered_over_http(server, http_, control):
    fault = {"answer": {"status": 503, "body": {"message": "Down"}}, "path": "users", "times": 2}
    assert http_.post(f"{control}/faults", json=fault).status_code == 204
    statuses = [http_.get(f"{server.base_url}/users", headers=KEY).status_code for _ in range(3)]
    assert statuses == [503, 503, 200]
    assert http_.post(f"{control}/faults", json={"drop": "before"}).status_code == 204
    with pytest.raises(requests.exceptions.ConnectionError):
        http_.get(f"{server.base_url}/users", headers=KEY)


@pytest.mark.parametrize(
    "body",
    ["{", "[]", '{"unheard_of": 1}', '{"drop": "soon"}', '{"path": "("}', '{"error": "x"}', "3"],
)
def test_an_invalid_fault_is_refused(http_, control, body):
    assert http_.post(f"{control}/faults", data=body).status_code == 400


def test_requests_and_embeds_can_be_seen_from_outside(server, http_, control):
    created = http_.post(f"{server.base_url}/inbox_embeds", json=PROJECT_EMBED, headers=KEY)
    embeds = http_.get(f"{control}/embeds").json()["data"]
    assert embeds == [created.json()["data"]]
    assert http_.get(f"{control}/requests").json()["data"] == [
        {"method": "POST", "path": "/inbox_embeds", "query": {}, "json": PROJECT_EMBED}
    ]
    assert http_.post(f"{control}/reset").status_code == 204
    assert http_.get(f"{control}/embeds").json() == {"data": []}
    assert http_.get(f"{control}/requests").json() == {"data": []}


def test_events_are_ordered_and_deliveries_seen_from_outside(http_, control, sandbox):
    project = sandbox.project()
    settings = {"url": "http://127.0.0.1:1/", "secret_key": "s3cret"}
    number = project.phone_numbers[0]["phone_number_id"]
    project.webhooks.create({**settings, "events": ["whatsapp.message.received"]}, number)
    event = {"event": "customer_writes", "person": "Marcus Oyelaran", "text": "Hello"}
    answer = http_.post(f"{control}/events", json=event)
    assert answer.json()["data"]["messages"][-1]["text"] == "Hello"
    [delivery] = http_.get(f"{control}/deliveries").json()["data"]
    assert delivery["event"] == "whatsapp.message.received"
    assert delivery["body"]["message"]["text"] == {"body": "Hello"}
    assert "s3cret" not in str(delivery)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("{", 400),
        ("[]", 400),
        ("{}", 400),
        ('{"event": "reset"}', 400),
        ('{"event": "end"}', 400),
        ('{"event": "customer_writes", "person": "Nobody", "text": "x"}', 400),
        ('{"event": "end", "conversation_id": "x"}', 404),
    ],
)
def test_an_invalid_event_is_refused(http_, control, body, status):
    assert http_.post(f"{control}/events", data=body).status_code == status


# --- start, stop and log ---


def test_the_log_shows_no_token_and_no_query(server, http_, sandbox, lines, capfd):
    embed = sandbox.project().create(PROJECT_EMBED["inbox_embed"])
    http_.get(f"{server.inbox_origin}/embed/{embed['token']}?search=%2B34600")
    http_.get(f"{server.base_url}/users?page=1", headers=KEY)
    assert lines == ["GET /embed/… 200", "GET /platform/v1/users 200"]
    assert capfd.readouterr() == ("", "")


def test_without_a_log_it_prints_nothing(sandbox, capfd):
    with SandboxServer(sandbox) as server:
        port = urlsplit(server.base_url).port
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"nonsense /embed/secret\r\n\r\n")
            connection.settimeout(2)
            connection.recv(100)
    assert capfd.readouterr() == ("", "")


def test_it_listens_on_loopback_only(sandbox):
    with pytest.raises(ValueError, match="only serves on loopback"):
        SandboxServer(sandbox, host="0.0.0.0")  # noqa: S104
    with pytest.raises(ValueError, match="only serves on loopback"):
        SandboxServer(sandbox, host="example.com")


def test_a_port_in_use_is_an_error_and_leaves_nothing_behind(server, sandbox):
    taken = urlsplit(server.inbox_origin).port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    with pytest.raises(OSError, match="in use"):
        SandboxServer(sandbox, api_port=free, inbox_port=taken)
    SandboxServer(sandbox, api_port=free).stop()


def test_a_stopped_server_does_not_answer(sandbox, capfd):
    server = SandboxServer(sandbox).start()
    server.stop()
    with pytest.raises(requests.exceptions.ConnectionError):
        requests.get(f"{server.base_url}/users", timeout=1)


def test_an_error_of_the_server_is_printed(server, http_, sandbox, capfd, monkeypatch):
    def broken(*args, **kwargs):
        raise ZeroDivisionError

    monkeypatch.setattr(sandbox, "open_inbox", broken)
    with pytest.raises(requests.exceptions.ConnectionError):
        http_.get(f"{server.inbox_origin}/embed/x")
    assert "ZeroDivisionError" in capfd.readouterr().err
