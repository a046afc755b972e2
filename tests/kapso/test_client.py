"""What the client asks Kapso for, and how it reads the answers."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import responses
from requests import PreparedRequest

from kapso_inbox.kapso import CreatedEmbed, Embed, KapsoClient, UncertainError

from .conftest import API, KEY

LIST = f"{API}/inbox_embeds"
ONE = f"{LIST}/e1"
EMBED_URL = "https://inbox.kapso.ai/embed/secret-token"

Pages = Callable[[int], tuple[list[Any], Any]]


def serve_pages(kapso: responses.RequestsMock, pages: Pages, path: str = "/inbox_embeds") -> None:
    """Answer a list with what `pages` gives for a page's number: its objects and its meta."""

    def answer(request: PreparedRequest) -> tuple[int, dict[str, str], str]:
        number = int(parse_qs(urlsplit(str(request.url)).query)["page"][0])
        assert number <= 30, "an endless loop"
        objects, meta = pages(number)
        return 200, {}, json.dumps({"data": objects, **({"meta": meta} if meta else {})})

    kapso.add_callback("GET", f"{API}{path}", answer)


def objects(page: int, count: int = 2) -> list[dict[str, str]]:
    return [{"id": f"{page}-{number}"} for number in range(count)]


def ids(client: KapsoClient) -> list[str]:
    return [embed.id for embed in client.inbox_embeds.list()]


def three_pages(number: int) -> list[dict[str, str]]:
    return objects(number) if number <= 3 else []


ALL = ["1-0", "1-1", "2-0", "2-1", "3-0", "3-1"]


@pytest.mark.parametrize(
    "meta",
    [
        lambda page: {"page": page, "per_page": 2, "total_pages": 3, "total_count": 6},
        lambda page: {"current_page": page, "per_page": 2, "total_pages": 3, "total_count": 6},
        lambda page: {"page": page, "per_page": 100, "total_pages": 3},
        lambda page: {"total_pages": 3},
        lambda page: {"page": page},
        lambda page: {"page": str(page), "total_pages": "3"},
        lambda page: {"page": None, "current_page": page, "total_pages": 3},
        lambda page: {"page": page, "total_pages": None},
        lambda page: {"page": True, "total_pages": True},
        lambda page: {"page": page, "total_pages": 2 if page == 1 else 3},
        lambda page: {"page": page, "total_pages": 9 if page == 1 else 3},
        lambda page: {"page": page, "total_pages": page + 1 if page < 3 else 3},
        lambda page: ["nonsense"],
        lambda page: None,
    ],
)
def test_a_list_yields_every_object_of_every_page(
    kapso: responses.RequestsMock, client: KapsoClient, meta: Callable[[int], Any]
) -> None:
    serve_pages(kapso, lambda page: (three_pages(page), meta(page)))
    assert ids(client) == ALL


def test_a_list_requests_no_page_after_the_last(
    kapso: responses.RequestsMock, client: KapsoClient
) -> None:
    serve_pages(kapso, lambda page: (objects(page), {"page": page, "total_pages": 3}))
    assert ids(client) == ALL
    assert len(kapso.calls) == 3


@pytest.mark.parametrize(
    "meta", [{"page": 1, "total_pages": 0}, {"page": 1, "total_pages": 1}, {"page": 1}, None]
)
def test_an_empty_list_takes_one_request(
    kapso: responses.RequestsMock, client: KapsoClient, meta: Any
) -> None:
    serve_pages(kapso, lambda page: ([], meta))
    assert ids(client) == []
    assert len(kapso.calls) == 1


def test_a_list_without_meta_and_without_pages_is_read_once(
    kapso: responses.RequestsMock, client: KapsoClient
) -> None:
    serve_pages(kapso, lambda page: (objects(1), None))
    assert ids(client) == ["1-0", "1-1"]


@pytest.mark.parametrize(
    ("path", "key", "attribute"),
    [
        ("/inbox_embeds", "id", "inbox_embeds"),
        ("/customers", "id", "customers"),
        ("/users", "user_id", "users"),
        ("/whatsapp/phone_numbers", "phone_number_id", "phone_numbers"),
    ],
)
def test_a_repeated_page_is_recognised_by_its_ids(
    kapso: responses.RequestsMock, client: KapsoClient, path: str, key: str, attribute: str
) -> None:
    """Other values, such as `last_used_at`, can change from one answer to the next."""
    ticks = itertools.count()
    serve_pages(kapso, lambda page: ([{key: "a", "last_used_at": next(ticks)}], None), path)
    assert len(list(getattr(client, attribute).list())) == 1
    assert len(kapso.calls) == 2


def test_pages_of_objects_without_ids_are_all_read(
    kapso: responses.RequestsMock, client: KapsoClient
) -> None:
    answer = lambda page: ([{"name": f"n{page}"}] if page < 4 else [], None)  # noqa: E731
    serve_pages(kapso, answer, "/customers")
    assert [customer.name for customer in client.customers.list()] == ["n1", "n2", "n3"]


def test_a_list_of_embeds_that_lacks_an_id_is_an_error(
    kapso: responses.RequestsMock, client: KapsoClient
) -> None:
    """The callers conclude that a link which is not in the list is gone."""
    serve_pages(kapso, lambda page: ([{"id": "a"}, {"name": "Sales"}], {"total_pages": 1}))
    with pytest.raises(UncertainError, match="without its id"):
        ids(client)


@pytest.mark.parametrize("meta", [{"page": 1, "total_pages": 5}, {"current_page": 1}])
def test_a_server_that_always_answers_page_1_is_an_error(
    kapso: responses.RequestsMock, client: KapsoClient, meta: dict[str, int]
) -> None:
    serve_pages(kapso, lambda page: (objects(1), meta))
    with pytest.raises(UncertainError, match="another page"):
        ids(client)
    assert len(kapso.calls) == 2


@pytest.mark.parametrize("total", [2, 5, 1_000_000])
@pytest.mark.parametrize("content", [objects(1), []])
def test_a_server_that_announces_more_pages_and_repeats_one_is_an_error(
    kapso: responses.RequestsMock, client: KapsoClient, content: list[Any], total: int
) -> None:
    serve_pages(kapso, lambda page: (content, {"total_pages": total}))
    with pytest.raises(UncertainError, match="twice"):
        ids(client)
    assert len(kapso.calls) == 2


def test_an_empty_page_before_the_last_does_not_end_a_list(
    kapso: responses.RequestsMock, client: KapsoClient
) -> None:
    """If the list ended too early, an embed that is active at Kapso would count as gone."""
    serve_pages(
        kapso, lambda page: ([] if page == 2 else objects(page), {"page": page, "total_pages": 3})
    )
    assert ids(client) == ["1-0", "1-1", "3-0", "3-1"]


def test_a_page_that_fails_is_an_error_and_not_the_end(
    kapso: responses.RequestsMock, client: KapsoClient
) -> None:
    serve_pages(
        kapso,
        lambda page: (objects(page) if page == 1 else ["text"], {"page": page, "total_pages": 2}),
    )
    with pytest.raises(UncertainError, match="no list"):
        ids(client)


def test_the_pages_of_a_list_are_requested_one_by_one(
    kapso: responses.RequestsMock, client: KapsoClient
) -> None:
    serve_pages(kapso, lambda page: (three_pages(page), {"page": page, "total_pages": 3}))
    embeds = client.inbox_embeds.list()
    assert len(kapso.calls) == 0
    next(embeds)
    assert len(kapso.calls) == 1
    assert [len(page) for page in client.inbox_embeds.pages()] == [2, 2, 2]


def test_filters_are_sent_in_the_query_unless_they_are_blank(
    kapso: responses.RequestsMock, client: KapsoClient
) -> None:
    serve_pages(kapso, lambda page: ([], None))
    list(client.inbox_embeds.list(status="active", scope_type="", scope_id="5511 &99"))
    assert parse_qs(urlsplit(str(kapso.calls[0].request.url)).query) == {
        "status": ["active"],
        "scope_id": ["5511 &99"],
        "page": ["1"],
        "per_page": ["100"],
    }


@pytest.mark.parametrize(
    "data",
    [None, [], "text", {}, {"data": None}, {"data": {}}, {"data": "x"}, {"data": [1]}, {"id": "e"}],
)
def test_an_answer_without_a_list_is_uncertain(
    kapso: responses.RequestsMock, client: KapsoClient, data: Any
) -> None:
    kapso.get(f"{API}/users", json=data)
    with pytest.raises(UncertainError):
        list(client.users.list())


# One embed


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        "text",
        {},
        {"id": "e1", "embed_url": EMBED_URL},
        {"data": None},
        {"data": []},
        {"data": "e1"},
        {"data": {}},
        {"data": {"id": None, "embed_url": EMBED_URL}},
        {"data": {"id": "", "embed_url": EMBED_URL}},
        {"data": {"id": {}, "embed_url": EMBED_URL}},
        {"data": {"id": False, "embed_url": EMBED_URL}},
    ],
)
@pytest.mark.parametrize(
    ("method", "url", "call"),
    [
        ("GET", ONE, lambda client: client.inbox_embeds.get("e1")),
        ("POST", LIST, lambda client: client.inbox_embeds.create(name="Support")),
        ("PATCH", ONE, lambda client: client.inbox_embeds.update("e1", {"name": "S"})),
    ],
)
def test_a_success_without_an_embed_is_uncertain(
    kapso: responses.RequestsMock,
    client: KapsoClient,
    data: Any,
    method: str,
    url: str,
    call: Callable[[KapsoClient], object],
) -> None:
    kapso.add(method, url, json=data, status=201)
    with pytest.raises(UncertainError):
        call(client)


@pytest.mark.parametrize("embed_url", [None, "", 5, [EMBED_URL], {"url": EMBED_URL}, ...])
def test_a_creation_without_an_address_is_uncertain(
    kapso: responses.RequestsMock, client: KapsoClient, embed_url: Any
) -> None:
    data = {"id": "e1", "embed_url": embed_url, "token": "secret-token"}
    if embed_url is ...:
        del data["embed_url"]
    kapso.post(LIST, json={"data": data}, status=201)
    with pytest.raises(UncertainError, match="embed_url") as caught:
        client.inbox_embeds.create(name="Support")
    assert caught.value.status == 201
    assert "secret-token" not in repr(caught.value) + repr(vars(caught.value))


def test_a_creation_returns_the_embed_and_its_address_and_shows_only_the_embed(
    kapso: responses.RequestsMock, client: KapsoClient
) -> None:
    data = {"id": "e1", "name": "Support", "token": "secret-token", "embed_url": EMBED_URL}
    kapso.post(LIST, json={"data": data}, status=201)
    created = client.inbox_embeds.create(name="Support")
    assert isinstance(created, CreatedEmbed)
    assert (created.embed.id, created.embed.name) == ("e1", "Support")
    assert created.embed_url == EMBED_URL
    assert "secret-token" not in repr(created) + str(created) + repr(created.embed)


def sent(kapso: responses.RequestsMock) -> Any:
    return json.loads(kapso.calls[-1].request.body or b"null")


def test_a_creation_always_sends_the_required_fields(
    kapso: responses.RequestsMock, client: KapsoClient
) -> None:
    kapso.post(LIST, json={"data": {"id": "e1", "embed_url": EMBED_URL}}, status=201)
    client.inbox_embeds.create(name="Support")
    assert sent(kapso) == {
        "inbox_embed": {
            "name": "Support",
            "scope_type": "project",
            "allowed_origins": [],
            "default_mode": "system",
        }
    }


def test_a_creation_sends_everything_it_is_given(
    kapso: responses.RequestsMock, client: KapsoClient
) -> None:
    kapso.post(LIST, json={"data": {"id": "e1", "embed_url": EMBED_URL}}, status=201)
    client.inbox_embeds.create(
        name="Support",
        scope_type="phone_number",
        scope_id="5511999",
        allowed_origins=("https://crm.example.com",),
        default_mode="dark",
        language="es",
        expires_at=datetime(2027, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=-3))),
        assigned_user_id="u1",
    )
    assert sent(kapso) == {
        "inbox_embed": {
            "name": "Support",
            "scope_type": "phone_number",
            "scope_id": "5511999",
            "allowed_origins": ["https://crm.example.com"],
            "default_mode": "dark",
            "language": "es",
            "expires_at": "2027-01-02T03:04:05-03:00",
            "assigned_user_id": "u1",
        }
    }


def test_an_update_sends_only_the_changes_and_keeps_null(
    kapso: responses.RequestsMock, client: KapsoClient
) -> None:
    kapso.patch(ONE, json={"data": {"id": "e1", "name": "Sales"}})
    embed = client.inbox_embeds.update(
        "e1",
        {
            "name": "Sales",
            "language": "",
            "expires_at": None,
            "allowed_origins": ("*.example.com",),
        },
    )
    assert sent(kapso) == {
        "inbox_embed": {
            "name": "Sales",
            "language": "",
            "expires_at": None,
            "allowed_origins": ["*.example.com"],
        }
    }
    assert isinstance(embed, Embed)
    assert embed.name == "Sales"
    client.inbox_embeds.update("e1", {"expires_at": datetime(2027, 1, 2, tzinfo=timezone.utc)})
    assert sent(kapso) == {"inbox_embed": {"expires_at": "2027-01-02T00:00:00+00:00"}}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b""),
        (204, b""),
        (202, b"{}"),
        (200, b"null"),
        (200, b'{"data": {"id": "e1", "status": "revoked"}}'),
        (200, b"[]"),
    ],
)
def test_any_success_is_a_revocation(
    kapso: responses.RequestsMock, client: KapsoClient, status: int, body: bytes
) -> None:
    deleted = kapso.delete(ONE, status=status, body=body)
    client.inbox_embeds.revoke("e1")
    assert deleted.call_count == 1
    assert kapso.calls[0].request.body is None


@pytest.mark.parametrize(
    ("embed_id", "path"),
    [
        ("6b3f-11", "6b3f-11"),
        ("a/b", "a%2Fb"),
        ("../customers", "..%2Fcustomers"),
        ("a?b=c", "a%3Fb%3Dc"),
        ("a#b", "a%23b"),
        ("a b", "a%20b"),
        ("a%2Fb", "a%252Fb"),
        ("é", "%C3%A9"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_an_id_is_quoted(
    kapso: responses.RequestsMock, client: KapsoClient, method: str, embed_id: str, path: str
) -> None:
    kapso.add(method, f"{LIST}/{path}", json={"data": {"id": embed_id}})
    embeds = client.inbox_embeds
    if method == "GET":
        embeds.get(embed_id)
    elif method == "PATCH":
        embeds.update(embed_id, {})
    else:
        embeds.revoke(embed_id)
    assert kapso.calls[0].request.url == f"{LIST}/{path}"


@pytest.mark.parametrize("embed_id", ["", ".", ".."])
def test_a_path_to_something_else_is_not_an_id(
    kapso: responses.RequestsMock, client: KapsoClient, embed_id: str
) -> None:
    for call in (
        lambda: client.inbox_embeds.get(embed_id),
        lambda: client.inbox_embeds.update(embed_id, {}),
        lambda: client.inbox_embeds.revoke(embed_id),
    ):
        with pytest.raises(ValueError, match="not the id of an embed"):
            call()
    assert len(kapso.calls) == 0


def test_the_lookups_use_their_own_endpoints(
    kapso: responses.RequestsMock, client: KapsoClient
) -> None:
    meta = {"page": 1, "total_pages": 1}
    kapso.get(f"{API}/customers", json={"data": [{"id": "c1", "name": "Acme"}], "meta": meta})
    kapso.get(f"{API}/users", json={"data": [{"id": 7, "user_id": "u1"}], "meta": meta})
    kapso.get(
        f"{API}/whatsapp/phone_numbers",
        json={"data": [{"phone_number_id": "5511", "new": 1}], "meta": meta},
    )
    assert [one.name for one in client.customers.list()] == ["Acme"]
    assert [one.user_id for one in client.users.list()] == ["u1"]
    assert [one.phone_number_id for one in client.phone_numbers.list()] == ["5511"]
    assert KEY not in repr(client.customers)
