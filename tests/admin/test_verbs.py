"""What an administrator does to embeds: rotate, adopt, extend, and the other verbs."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from html import unescape
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.admin.models import LogEntry
from django.db import OperationalError
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import override

from kapso_inbox import conf
from kapso_inbox.access import AccessPolicy
from kapso_inbox.admin import verb_views
from kapso_inbox.admin.verbs import VERBS
from kapso_inbox.lifecycle import delete_embed, newest_link, revoke_embed, rotate_embed
from kapso_inbox.models import AccessLink, InboxChange, InboxEmbed, Outcome
from kapso_inbox.reasons import describe_reason
from kapso_inbox.sandbox.engine import Answer, Sandbox
from kapso_inbox.signals import link_rotated
from tests.hosts.database import connection
from tests.hosts.people import User

from .cases import (
    CONDITIONS,
    FAULTS,
    assert_all_is_accounted_for,
    confirmed,
    counted,
    live,
    make,
    results,
    rows,
    targets,
)
from .conftest import url

pytestmark = [pytest.mark.django_db, pytest.mark.table]

#: verb -> condition -> the result's text, and how many links are live at Kapso afterwards; if the
#: verb cannot be applied, the reason and None.
EXPECTED: dict[str, dict[str, tuple[str, int | None]]] = {
    "rotate": {
        "works": ("new link, and the old one is revoked", 1),
        "expires soon": ("new link, and the old one is revoked", 1),
        "expired": ("Change its expiry", None),
        "revoked": ("new link", 1),
        "waits to be made": ("new link", 2),
        "waits to be revoked": ("new link", 1),
        "works, an older one waits": ("new link", 1),
        "secret lost": ("new link", 1),
        "unmanaged": ("Adopt it", None),
        "no link": ("new link", 1),
    },
    "adopt": {
        **dict.fromkeys(CONDITIONS, ("managed here already", None)),
        "unmanaged": ("new link, and the old one is revoked", 1),
    },
    "extend": {
        **dict.fromkeys(CONDITIONS, ("New expiry:", 1)),
        "revoked": ("New expiry:", 0),
        "works, an older one waits": ("New expiry:", 2),
        "no link": ("New expiry:", 0),
    },
    "refresh": {
        **dict.fromkeys(CONDITIONS, ("up to date", 1)),
        "revoked": ("no link at Kapso", None),
        "waits to be made": ("no link at Kapso", None),
        "works, an older one waits": ("up to date", 2),
        "no link": ("no link at Kapso", None),
    },
    "resolve": {
        **dict.fromkeys(CONDITIONS, ("Nothing about it is uncertain", None)),
        "waits to be made": ("is revoked", 0),
        "waits to be revoked": ("is revoked", 0),
        "works, an older one waits": ("is revoked", 1),
    },
    "revoke": {
        **dict.fromkeys(CONDITIONS, ("It is revoked.", 0)),
        "revoked": ("revoked already", None),
        "waits to be made": ("one more link", 1),
        "no link": ("It has no link.", None),
    },
    "delete": {
        **dict.fromkeys(CONDITIONS, ("was deleted successfully", 0)),
        "waits to be made": ("Find out what became of it first", None),
    },
}


@contextmanager
def atomic_requests() -> Iterator[None]:
    connection.settings_dict["ATOMIC_REQUESTS"] = True
    try:
        yield
    finally:
        connection.settings_dict["ATOMIC_REQUESTS"] = False


def test_the_table_has_every_verb() -> None:
    assert EXPECTED.keys() == VERBS.keys()


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_works_or_says_why_not_in_each_condition(
    admin: Client, kapso_sandbox: Sandbox, verb: str, condition: str
) -> None:
    told, lives = EXPECTED[verb][condition]
    embed = make(condition, kapso_sandbox)
    before = kapso_sandbox.project().active_embeds()
    asked = admin.get(url("verb", verb), {"id": embed.pk})
    assert str(VERBS[verb].consequence) in asked.text.replace("&#x27;", "'")
    kapso_sandbox.requests.clear()
    with atomic_requests():
        sent, done = confirmed(admin, verb, embed)
    if lives is None:
        assert told in asked.context["rows"][0]["obstacle"]
        assert sent["target"] == []
        # A crafted request does no more.
        by_hand = admin.post(url("verb", verb), {**sent, "target": f"{embed.pk}:"})
        [(outcome, text)] = results(by_hand)
        assert (outcome, told in text) == ("nothing", True)
        assert kapso_sandbox.requests == []
        assert kapso_sandbox.project().active_embeds() == before
    else:
        [(outcome, text)] = results(done)
        assert told in text
        assert outcome == "done"
        assert len(live(kapso_sandbox)) == lives
    assert_all_is_accounted_for(kapso_sandbox)


@pytest.mark.parametrize("fault", ["no connection", "500", "429"])
def test_a_rotation_that_leaves_the_old_link_says_how_to_continue_and_not_to_rotate_again(
    admin: Client, kapso_sandbox: Sandbox, fault: str
) -> None:
    embed = make("works", kapso_sandbox)
    kapso_sandbox.fail_next(method="DELETE", **FAULTS[fault], times=9)
    [(outcome, text)] = results(confirmed(admin, "rotate", embed)[1])
    assert outcome == "failed"
    assert "It has a new link. The old one is not revoked yet" in text
    assert "“Find out what became of it”" in text
    assert "nothing was done" not in text
    assert "Try again" not in text
    kapso_sandbox._faults.clear()
    assert results(confirmed(admin, "resolve", embed)[1])[0][0] == "done"
    assert len(live(kapso_sandbox)) == 1


@pytest.mark.no_cover  # Other tests cover the same lines.
@pytest.mark.parametrize("times", [1, 99])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(
    ("verb", "condition"),
    [
        ("rotate", "works"),
        ("rotate", "no link"),
        ("adopt", "unmanaged"),
        ("extend", "works"),
        ("refresh", "works"),
        ("resolve", "waits to be made"),
        ("resolve", "waits to be revoked"),
        ("revoke", "works, an older one waits"),
        ("delete", "revoked"),
    ],
)
def test_whatever_kapso_answers_the_result_says_so_and_nothing_live_is_lost(
    admin: Client, kapso_sandbox: Sandbox, verb: str, condition: str, fault: str, times: int
) -> None:
    embed = make(condition, kapso_sandbox)
    worked = embed.obstacle() is None
    kapso_sandbox.requests.clear()
    if fault == "404" and times > 1:
        kapso_sandbox.project().embeds.clear()  # Then the repeated 404 is true.
    kapso_sandbox.fail_next(**FAULTS[fault], times=times)
    sent, done = confirmed(admin, verb, embed)
    [(outcome, text)] = results(done)
    assert text
    assert outcome in ("done", "failed")
    assert_all_is_accounted_for(kapso_sandbox)
    posts = counted(kapso_sandbox, "POST")
    assert posts == (verb in ("rotate", "adopt"))
    if verb in ("rotate", "extend", "refresh") and worked:
        assert InboxEmbed.objects.get().obstacle() is None
    # Somebody goes back and presses the button again, and Kapso works again.
    kapso_sandbox._faults.clear()
    assert admin.post(url("verb", verb), sent).status_code == 302
    assert counted(kapso_sandbox, "POST") == posts
    assert_all_is_accounted_for(kapso_sandbox)


@pytest.mark.parametrize("method", ["POST", "DELETE"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_rotation_distinguishes_a_link_not_created_from_one_not_revoked(
    admin: Client, kapso_sandbox: Sandbox, fault: str, method: str
) -> None:
    embed = make("works", kapso_sandbox)
    kapso_sandbox.fail_next(**FAULTS[fault], method=method)
    _sent, done = confirmed(admin, "rotate", embed)
    [(outcome, text)] = results(done)
    now = InboxEmbed.objects.select_related("current_link").get()
    assert now.obstacle() is None
    is_new = now.current_link_id != embed.current_link_id
    assert is_new is (method == "DELETE")
    waits = AccessLink.objects.filter(state="revoking").exists()
    assert outcome == ("done" if is_new and not waits else "failed")
    assert ("It has a new link" in text) is is_new
    assert ("not revoked yet" in text) is (is_new and waits)
    assert_all_is_accounted_for(kapso_sandbox)


@pytest.mark.parametrize(
    ("verb", "condition"),
    [("rotate", "works"), ("adopt", "unmanaged"), ("rotate", "no link"), ("rotate", "revoked")],
)
def test_sending_the_form_again_creates_no_second_link(
    admin: Client, kapso_sandbox: Sandbox, verb: str, condition: str
) -> None:
    embed = make(condition, kapso_sandbox)
    kapso_sandbox.requests.clear()
    sent, first = confirmed(admin, verb, embed)
    [(outcome, _text)] = results(first)
    assert outcome == "done"
    [(outcome, text)] = results(admin.post(url("verb", verb), sent))
    assert outcome == "nothing"
    assert text
    assert counted(kapso_sandbox, "POST") == 1
    assert len(live(kapso_sandbox)) == 1


def test_an_embed_that_never_had_a_link_gets_one_however_often_the_button_is_pressed(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    embed = InboxEmbed.objects.create(slug="sales", name="Sales")
    sent, _first = confirmed(admin, "rotate", embed)
    [(outcome, _text)] = results(admin.post(url("verb", "rotate"), sent))
    assert outcome == "nothing"
    assert counted(kapso_sandbox, "POST") == 1


def test_a_rotation_names_the_origin_that_the_settings_lack(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    embed = make("works", kapso_sandbox)
    kapso_sandbox.project().inbox_origin = "https://inbox.kapso.example"
    [(outcome, text)] = results(confirmed(admin, "rotate", embed)[1])
    assert outcome == "failed"
    assert "is at https://inbox.kapso.example, but KAPSO_INBOX" in text
    assert "has only https://inbox.kapso.ai. So the new link was revoked at once" in text
    assert len(live(kapso_sandbox)) == 1


def test_a_link_that_somebody_else_began_stops_a_rotation(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    embed = make("works", kapso_sandbox)
    page = admin.get(url("verb", "rotate"), {"id": embed.pk})
    rotate_embed(embed)
    sent = {"confirmed": "yes", "target": targets(page)}
    [(outcome, text)] = results(admin.post(url("verb", "rotate"), sent))
    assert (outcome, "in the meantime" in text) == ("nothing", True)
    assert counted(kapso_sandbox, "POST") == 2


def test_of_several_that_are_uncertain_the_results_lead_to_what_became_of_them(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    embeds = [make("works", kapso_sandbox, slug) for slug in ("a", "b", "c")]
    kapso_sandbox.fail_next(method="POST", answer=Answer(503, {}), times=2)
    _sent, done = confirmed(admin, "rotate", *embeds)
    page = admin.get(done["Location"])
    assert page.text.count("Kapso may have done it. Press “Find out what became of it” below.") == 2
    asked = admin.get(page.context["resolve_url"])
    assert asked.context["title"] == "Find out what became of it"
    assert [row["embed"].slug for row in asked.context["rows"]] == ["a", "b"]
    assert asked.context["possible"] == 2
    # Once that is known, nothing is left to press.
    AccessLink.objects.filter(state="unknown").update(state="failed")
    page = admin.get(done["Location"])
    assert "Press “" not in page.text
    assert page.context["resolve_url"] == ""


def test_whoever_may_only_revoke_is_not_told_to_press_what_they_may_not(
    client: Client, kapso_sandbox: Sandbox, make_administrator: Callable[..., User]
) -> None:
    client.force_login(make_administrator("revoker", "view", "delete"))
    embeds = [make("works", kapso_sandbox, slug) for slug in ("a", "b")]
    kapso_sandbox.fail_next(method="DELETE", answer=Answer(503, {}), times=9)
    _sent, done = confirmed(client, "revoke", *embeds)
    page = client.get(done["Location"])
    assert page.context["resolve_url"] == ""
    assert "Press “" not in page.text


def test_a_refused_key_leads_to_the_health_page(admin: Client, kapso_sandbox: Sandbox) -> None:
    link = f'<a href="{url("health")}">The health page says more.</a>'
    embeds = [make("works", kapso_sandbox, slug) for slug in ("a", "b")]
    kapso_sandbox.fail_next(**FAULTS["401"], times=9)
    _sent, done = confirmed(admin, "rotate", embeds[0])
    assert (
        f"Kapso refused the API key, so nothing was done. {link}"
        in admin.get(done["Location"]).text
    )
    _sent, done = confirmed(admin, "rotate", *embeds)
    assert admin.get(done["Location"]).text.count(link) == 2


def test_an_action_of_the_list_asks_first_and_then_applies_to_each(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    embeds = [make("works", kapso_sandbox, slug) for slug in ("a", "b", "c")]
    gone = make("revoked", kapso_sandbox, "d")
    chosen = {"action": "revoke", "_selected_action": [e.pk for e in (*embeds[:2], gone)]}
    asked = admin.post(url("changelist"), chosen, follow=True)
    assert [status for _address, status in asked.redirect_chain] == [302]
    assert len(asked.context["rows"]) == 3
    assert len(live(kapso_sandbox)) == 3
    sent = {"confirmed": "yes", "target": targets(asked)}
    kapso_sandbox.fail_next(method="DELETE", answer=Answer(429, {}, {"Retry-After": "9"}))
    done = admin.post(url("verb", "revoke"), sent)
    assert [row["slug"] for row in rows(done)] == ["a", "b"]
    (_a, slow), (b, text) = results(done)
    assert "no more requests in this minute" in slow
    assert (b, text) == ("done", "It is revoked.")
    assert len(live(kapso_sandbox)) == 2


def test_a_verb_is_applied_to_at_most_a_hundred_embeds(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    embeds = [InboxEmbed(slug=f"s{number}", name=f"S {number}") for number in range(101)]
    InboxEmbed.objects.bulk_create(embeds)
    first = InboxEmbed.objects.first()
    assert first is not None
    chosen = {"action": "refresh", "_selected_action": [first.pk], "select_across": "1"}
    response = admin.post(url("changelist"), chosen, follow=True)
    assert response.redirect_chain[-1] == (url("changelist"), 302)
    assert "at most 100 at a time" in response.text
    first.delete()
    chosen["_selected_action"] = [InboxEmbed.objects.all()[0].pk]
    asked = admin.post(url("changelist"), chosen, follow=True)
    assert len(asked.context["rows"]) == 100


@pytest.mark.parametrize(
    "target",
    [
        "",
        ":",
        "x",
        "1:2",
        "-1:",
        "1:" + "0" * 31,
        "9" * 30 + ":",
        "9" * 5000,
        "1\x00:",
        "٣:",
        "1_0:",
    ],
)
def test_crafted_targets_do_nothing(admin: Client, kapso_sandbox: Sandbox, target: str) -> None:
    make("works", kapso_sandbox)
    kapso_sandbox.requests.clear()
    for verb in VERBS:
        sent = {"confirmed": "yes", "target": target, "expiry": "30"}
        response = admin.post(url("verb", verb), sent)
        assert response.status_code in (302, 404)
        if response.status_code == 302:
            assert response["Location"] in (url("changelist"), reverse("admin:index"))
    assert kapso_sandbox.requests == []


@pytest.mark.parametrize("chosen", ["", "x", "-1", "9" * 18, "9" * 30, "9" * 5000, "1\x00", "²"])
def test_crafted_ids_are_not_found(admin: Client, chosen: str) -> None:
    for verb in VERBS:
        told = admin.get(url("verb", verb), {"id": chosen}, follow=True)
        assert told.redirect_chain == [(reverse("admin:index"), 302)]
        assert "Perhaps it was deleted?" in told.text


def test_no_target_and_no_such_verb(admin: Client, kapso_sandbox: Sandbox) -> None:
    for response in (
        admin.post(url("verb", "rotate"), {"confirmed": "yes"}, follow=True),
        admin.get(url("verb", "rotate"), follow=True),
    ):
        assert response.redirect_chain == [(url("changelist"), 302)]
        assert "Choose inboxes from the list first." in response.text
    sent = {"confirmed": "yes", "target": ["97:", "98:"]}
    for response in (
        admin.post(url("verb", "rotate"), sent, follow=True),
        admin.get(url("verb", "rotate"), {"id": ["97", "98"]}, follow=True),
    ):
        assert response.redirect_chain == [(url("changelist"), 302)]
        assert "None of them exists any more." in response.text
    assert admin.get(url("verb", "show-the-url")).status_code == 404
    assert kapso_sandbox.requests == []


def test_a_target_that_is_sent_twice_counts_once(admin: Client, kapso_sandbox: Sandbox) -> None:
    embed = make("works", kapso_sandbox)
    target = str(targets(admin.get(url("verb", "rotate"), {"id": embed.pk}))[0])
    sent = {"confirmed": "yes", "target": [target, target]}
    outcomes = [outcome for outcome, _text in results(admin.post(url("verb", "rotate"), sent))]
    assert outcomes == ["done"]
    assert len(live(kapso_sandbox)) == 1


def _slow(*_args: Any, **_kwargs: Any) -> None:
    time.sleep(0.3)


def test_when_time_runs_out_a_button_continues_with_the_rest(
    admin: Client, kapso_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verb_views, "TIME_LIMIT", 0.2)
    embeds = [make("works", kapso_sandbox, slug) for slug in ("a", "b", "c")]
    link_rotated.connect(_slow)
    try:
        _sent, done = confirmed(admin, "rotate", *embeds)
        page = admin.get(done["Location"])
        done_by = [[row["slug"] for row in page.context["results"]]]
        while left := page.context["rest"]:
            button = f"Continue with the remaining {'one' if left == 1 else left}"
            assert f'value="{button}"' in page.text
            page = admin.post(page.context["action_url"], follow=True)
            assert page.redirect_chain == [(done["Location"], 302)]
            done_by.append([row["slug"] for row in page.context["results"]])
        # Where nothing is left, the button of a page that somebody went back to does nothing.
        again = admin.post(page.context["action_url"], follow=True)
        assert again.context["results"] == page.context["results"]
    finally:
        link_rotated.disconnect(_slow)
    assert done_by == [["a"], ["a", "b"], ["a", "b", "c"]]
    assert [row["outcome"] for row in page.context["results"]] == ["done"] * 3
    assert len(live(kapso_sandbox)) == 3
    assert counted(kapso_sandbox, "POST") == 6


def test_the_rest_gets_the_same_date(
    admin: Client, kapso_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verb_views, "TIME_LIMIT", -1)
    embeds = [make("works", kapso_sandbox, slug) for slug in ("a", "b")]
    date = {"expiry": "date", "expires_at_0": "2999-12-30", "expires_at_1": "10:20:30"}
    _sent, done = confirmed(admin, "extend", *embeds, **date)
    assert rows(done) == []
    monkeypatch.setattr(verb_views, "TIME_LIMIT", 20)
    admin.post(done["Location"])
    expected = timezone.make_aware(datetime(2999, 12, 30, 10, 20, 30))
    assert {embed.expires_at for embed in InboxEmbed.objects.all()} == {expected}


def test_a_date_that_has_passed_meanwhile_is_asked_for_again(
    admin: Client, kapso_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verb_views, "TIME_LIMIT", -1)
    embeds = [make("works", kapso_sandbox, slug) for slug in ("a", "b")]
    date = {"expiry": "date", "expires_at_0": "2999-12-30", "expires_at_1": "10:20:30"}
    _sent, done = confirmed(admin, "extend", *embeds, **date)
    session = admin.session
    session["kapso_inbox_results"][0]["typed"]["expires_at_0"] = "2020-01-01"
    session.save()
    asked = admin.post(done["Location"], follow=True)
    assert [row["embed"] for row in asked.context["rows"]] == embeds


def test_an_expiry_that_is_missing_is_asked_for_again(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    embed = make("works", kapso_sandbox)
    kapso_sandbox.requests.clear()
    sent, asked = confirmed(admin, "extend", embed, expiry="date")
    assert "Enter the date." in asked.text
    assert targets(asked) == sent["target"]
    past = {"expires_at_0": "2020-01-01", "expires_at_1": "10:00"}
    again = admin.post(url("verb", "extend"), {**sent, **past})
    assert again.context["form"].errors["expires_at"] == ["This time is in the past."]
    assert targets(again) == sent["target"]
    assert kapso_sandbox.requests == []


def test_an_expired_embed_opens_again_once_it_is_extended(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    embed = make("expired", kapso_sandbox)
    confirmed(admin, "extend", embed, expiry="never")
    assert InboxEmbed.objects.get().obstacle() is None
    patched = kapso_sandbox.requests[-1]
    assert (patched.method, patched.json) == ("PATCH", {"inbox_embed": {"expires_at": None}})


def test_only_after_some_minutes_is_a_missing_link_known_to_have_failed(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    embed = make("waits to be made", kapso_sandbox)
    kapso_sandbox.project().embeds.clear()
    sent, first = confirmed(admin, "resolve", embed)
    assert "five minutes" in results(first)[0][1]
    long_ago = timezone.now() - timedelta(minutes=6)
    AccessLink.objects.update(absent_at=long_ago)
    assert "never created" in results(admin.post(url("verb", "resolve"), sent))[0][1]
    assert AccessLink.objects.get().state == "failed"


def test_resolving_an_embed_that_works_does_not_ask_for_a_new_link(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    embed = make("works, an older one waits", kapso_sandbox)
    _sent, done = confirmed(admin, "resolve", embed)
    [(outcome, text)] = results(done)
    assert outcome == "done"
    assert "Rotate" not in text


def test_a_refused_deletion_is_not_in_the_history(admin: Client, kapso_sandbox: Sandbox) -> None:
    embed = make("revoked", kapso_sandbox)
    page = admin.get(url("verb", "delete"), {"id": embed.pk})
    rotate_embed(embed)
    [(outcome, text)] = results(
        admin.post(url("verb", "delete"), {"confirmed": "yes", "target": targets(page)})
    )
    assert outcome == "nothing"
    assert "Another link was created for it in the meantime" in text
    assert InboxEmbed.objects.get() == embed
    assert InboxEmbed.objects.get().obstacle() is None
    assert not LogEntry.objects.exists()


def test_a_deletion_is_recorded(admin: Client, administrator: User, kapso_sandbox: Sandbox) -> None:
    embed = make("revoked", kapso_sandbox)
    _sent, done = confirmed(admin, "delete", embed)
    assert results(done) == [
        ("done", "The inbox embed “The sales inbox” was deleted successfully.")
    ]
    assert not InboxEmbed.objects.exists()
    assert LogEntry.objects.get().object_repr == "The sales inbox"
    assert LogEntry.objects.get().user == administrator
    assert InboxChange.objects.filter(action="deleted", username="admin").count() == 1


def test_what_was_done_is_in_the_history_and_in_the_audit_trail(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    embed = make("works", kapso_sandbox)
    confirmed(admin, "rotate", embed)
    assert LogEntry.objects.get().get_change_message() == "Changed current link."
    assert InboxChange.objects.filter(action="rotated").get().username == "admin"


@pytest.mark.parametrize(
    ("verb", "told"),
    [
        ("rotate", "Modificado enlace actual."),
        ("extend", "Modificado expira."),
        ("revoke", "Modificado enlace actual."),
    ],
)
def test_the_history_is_told_in_the_language_of_its_reader(
    admin: Client, kapso_sandbox: Sandbox, verb: str, told: str
) -> None:
    embed = make("works", kapso_sandbox)
    with override("pt-br"):
        confirmed(admin, verb, embed)
    [entry] = LogEntry.objects.all()
    assert entry.get_change_message().startswith("Changed ")
    with override("es"):
        assert entry.get_change_message() == told


def test_a_refresh_says_what_it_took_over_and_leaves_it_on_record(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    embed = make("works", kapso_sandbox, allowed_origins=["https://old.example"])
    confirmed(admin, "refresh", embed)
    assert not LogEntry.objects.exists()
    assert embed.current_link is not None
    change = {"allowed_origins": ["https://new.example"]}
    kapso_sandbox.project().update(embed.current_link.kapso_id, change)
    _sent, done = confirmed(admin, "refresh", embed)
    changed = "Allowed origins: https://old.example → https://new.example"
    [(outcome, text)] = results(done)
    assert outcome == "done"
    assert text == f"It was changed at Kapso and is now the same here. {changed}"
    assert LogEntry.objects.get().get_change_message() == "Changed allowed origins."
    row = InboxChange.objects.get(action="found")
    assert (row.username, describe_reason(row.details)) == ("admin", changed)


@pytest.mark.parametrize(
    "settings_of_kapso",
    [
        {},
        {"API_KEY": "k"},
        {"API_KEY": "", "ENCRYPTION_KEYS": {"test": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"}},
        {"API_KEY": "k\n k", "ENCRYPTION_KEYS": {"a": "short"}},
        {"API_KEY": "k" * 20, "BASE_URL": "http://elsewhere.example"},
    ],
)
@pytest.mark.parametrize("verb", VERBS)
def test_settings_that_are_not_valid_are_reported(
    admin: Client,
    kapso_sandbox: Sandbox,
    settings: Any,
    verb: str,
    settings_of_kapso: dict[str, Any],
) -> None:
    embeds = [
        make(condition, kapso_sandbox, f"s{number}") for number, condition in enumerate(CONDITIONS)
    ]
    settings.KAPSO_INBOX = settings_of_kapso
    _sent, done = confirmed(admin, verb, *embeds)
    assert results(done)
    for outcome, text in results(done):
        assert outcome in ("done", "nothing", "failed")
        assert text
    assert_all_is_accounted_for(kapso_sandbox)


def test_an_embed_of_a_project_that_is_no_longer_configured(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    embed = make("works", kapso_sandbox)
    InboxEmbed.objects.update(project="gone")
    assert "gone" not in conf.project_aliases()
    for verb in ("rotate", "extend", "refresh", "revoke"):
        _sent, done = confirmed(admin, verb, embed)
        assert "gone" in results(done)[0][1]
    assert_all_is_accounted_for(kapso_sandbox)


@pytest.mark.parametrize("condition", ["works", "secret lost", "works, an older one waits"])
def test_a_rotation_does_not_bring_back_an_embed_revoked_since_the_page_was_shown(
    admin: Client, kapso_sandbox: Sandbox, condition: str
) -> None:
    embed = make(condition, kapso_sandbox)
    page = admin.get(url("verb", "rotate"), {"id": [embed.pk]})
    revoke_embed(embed)
    sent = {"confirmed": "yes", "target": targets(page)}
    [(outcome, text)] = results(admin.post(url("verb", "rotate"), sent))
    assert (outcome, text) == ("nothing", "It was revoked. Rotating its link brings it back.")
    assert live(kapso_sandbox) == []
    _sent, again = confirmed(admin, "rotate", embed)  # Now the page shows that it is revoked.
    assert results(again)[0][0] == "done"


@pytest.mark.parametrize("ended", ["revoked", "waits to be revoked"])
def test_rotating_several_leaves_out_what_somebody_revoked_and_says_so_twice(
    admin: Client, kapso_sandbox: Sandbox, ended: str
) -> None:
    gone = make(ended, kapso_sandbox, "gone")
    works = make("works", kapso_sandbox, "works")
    asked = admin.get(url("verb", "rotate"), {"id": [gone.pk, works.pk]})
    said = {row["embed"].slug: row["obstacle"] for row in asked.context["rows"]}
    assert said["works"] == ""
    assert "Somebody revoked it, so it is left out" in said["gone"]
    assert said["gone"] in asked.text
    _sent, done = confirmed(admin, "rotate", gone, works)
    told = {row["slug"]: (row["outcome"], row["text"]) for row in rows(done)}
    assert told["works"][0] == "done"
    assert told["gone"] == ("nothing", said["gone"])
    assert said["gone"] in admin.get(done["Location"]).text
    gone.refresh_from_db()
    assert gone.obstacle() == Outcome.REVOKED


def test_rotating_several_revoked_ones_does_nothing(admin: Client, kapso_sandbox: Sandbox) -> None:
    gone = [make("revoked", kapso_sandbox, slug) for slug in ("a", "b")]
    asked = admin.post(
        url("changelist"),
        {"action": "rotate", "_selected_action": [one.pk for one in gone]},
        follow=True,
    )
    assert "There is nothing to do." in asked.text
    # Nor does a crafted request.
    by_hand = [f"{one.pk}:{newest_link(one)}:revoked" for one in gone]
    done = admin.post(url("verb", "rotate"), {"confirmed": "yes", "target": by_hand})
    assert [outcome for outcome, _text in results(done)] == ["nothing", "nothing"]
    assert live(kapso_sandbox) == []


def test_rotating_one_that_was_revoked_says_before_and_after_that_it_opens_again(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    embed = make("revoked", kapso_sandbox)
    asked = admin.get(url("verb", "rotate"), {"id": embed.pk})
    assert "It was revoked, and opens again." in asked.text
    _sent, done = confirmed(admin, "rotate", embed)
    assert results(done) == [("done", "It has a new link, and opens again.")]
    assert "opens again" in admin.get(done["Location"]).text
    works = make("works", kapso_sandbox, "works")
    assert "opens again" not in admin.get(url("verb", "rotate"), {"id": works.pk}).text


@pytest.mark.parametrize(
    ("verb", "condition", "note"),
    [
        ("extend", "expired", "It has expired, and opens again."),
        ("revoke", "unmanaged", "anyone who uses that address loses the inbox"),
        ("delete", "revoked", "a program of this site can create it again"),
    ],
)
def test_what_undoes_or_ends_what_somebody_else_did_is_said_beside_each(
    admin: Client, kapso_sandbox: Sandbox, verb: str, condition: str, note: str
) -> None:
    other = "no link" if verb == "delete" else "works"
    embeds = [make(condition, kapso_sandbox, "this"), make(other, kapso_sandbox, "other")]
    asked = admin.get(url("verb", verb), {"id": [embed.pk for embed in embeds]})
    said = {row["embed"].pk: row["note"] for row in asked.context["rows"]}
    assert note in said[embeds[0].pk]
    assert said[embeds[1].pk] == ""
    assert said[embeds[0].pk] in asked.text


def test_if_the_database_fails_for_one_embed_the_others_are_still_done(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    embeds = [make("works", kapso_sandbox, slug) for slug in ("a", "b", "c")]
    page = admin.get(url("verb", "revoke"), {"id": [embed.pk for embed in embeds]})
    written: list[str] = []

    def fail_once(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("INSERT") and "kapso_inbox_inboxchange" in sql:
            written.append(sql)
            if len(written) == 2:
                raise OperationalError("Deadlock found when trying to get lock")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(fail_once):
        done = admin.post(url("verb", "revoke"), {"confirmed": "yes", "target": targets(page)})
    told = results(done)
    assert [outcome for outcome, _text in told] == ["done", "failed", "done"]
    assert "Deadlock" not in admin.get(done["Location"]).text
    assert len(live(kapso_sandbox)) == 1
    assert_all_is_accounted_for(kapso_sandbox)


def test_the_confirmation_of_an_expiry_has_a_calendar_and_accessible_names(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    embed = make("works", kapso_sandbox)
    page = admin.get(url("verb", "extend"), {"id": embed.pk})
    assert "admin/js/calendar.js" in page.text
    assert "admin/js/admin/DateTimeShortcuts.js" in page.text
    assert reverse("admin:jsi18n") in page.text
    for name, label in (("expires_at_0", "Date"), ("expires_at_1", "Time")):
        [tag] = re.findall(rf'<input[^>]* name="{name}"[^>]*>', page.text)
        assert f'aria-label="{label}"' in tag
    assert 'role="group" aria-label="Expires on"' in page.text
    _sent, refused = confirmed(admin, "extend", embed, expiry="date")
    [described] = re.findall(r'role="group"[^>]* aria-describedby="([^"]*)"', refused.text)
    assert f'id="{described}"' in refused.text


def test_an_embed_revoked_after_it_expired_gets_another_expiry_and_then_a_link(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    embed = make("expired", kapso_sandbox)
    revoke_embed(embed)
    _sent, refused = confirmed(admin, "rotate", embed)
    assert results(refused)[0][0] == "failed"
    confirmed(admin, "extend", embed)
    _sent, done = confirmed(admin, "rotate", embed)
    assert results(done)[0][0] == "done"
    assert len(live(kapso_sandbox)) == 1


# What a verb is answered with


FILTERS = "state=works&q=inbox"


def links(page: Any) -> dict[str, str]:
    """Return the address of each link of a page, by its text."""
    found = re.findall(r'<a [^>]*href="([^"]*)"[^>]*>([^<]+)</a>', page.text)
    return {unescape(text): unescape(address) for address, text in found}


@pytest.mark.parametrize(
    ("verb", "condition", "tag"),
    [
        ("rotate", "works", "success"),
        ("rotate", "expired", "warning"),
        ("refresh", "works", "error"),
    ],
)
def test_what_became_of_one_embed_is_a_message_on_its_page_that_a_reload_does_not_repeat(
    admin: Client, kapso_sandbox: Sandbox, verb: str, condition: str, tag: str
) -> None:
    embed = make(condition, kapso_sandbox)
    if tag == "error":
        kapso_sandbox.fail_next(answer=Answer(403, {}), times=9)
    sent = {"confirmed": "yes", "target": f"{embed.pk}:{newest_link(embed)}"}
    page = admin.post(url("verb", verb), sent, follow=True)
    assert page.redirect_chain == [(url("change", embed.pk), 302)]
    assert f'<li class="{tag}">“The sales inbox”: ' in page.text
    kapso_sandbox.requests.clear()
    assert "messagelist" not in admin.get(page.request["PATH_INFO"]).text
    assert kapso_sandbox.requests == []


def test_a_verb_of_the_preview_leads_back_to_the_preview(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    embed = make("works", kapso_sandbox)
    asked = admin.get(links(admin.get(url("preview", embed.pk)))["Refresh from Kapso"])
    assert links(asked)["No, take me back"] == url("preview", embed.pk)
    sent = {"confirmed": "yes", "target": targets(asked)}
    assert admin.post(asked.context["action_url"], sent)["Location"] == url("preview", embed.pk)


class HidesTheRevoked(AccessPolicy):
    """Lets nobody see an embed whose link is over."""

    def visible(self, user: Any, embeds: Any) -> Any:
        over = AccessLink.OVER
        return super().visible(user, embeds).exclude(current_link__state__in=over)


def test_an_embed_that_may_not_be_seen_afterwards_leads_to_the_list(
    admin: Client, kapso_sandbox: Sandbox, settings: Any
) -> None:
    policy = f"{__name__}.HidesTheRevoked"
    settings.KAPSO_INBOX = {**settings.KAPSO_INBOX, "ACCESS_POLICY": policy}
    embed = make("works", kapso_sandbox)
    _sent, done = confirmed(admin, "revoke", embed)
    assert done["Location"] == url("changelist")
    assert "“The sales inbox”: It is revoked." in admin.get(done["Location"]).text


def test_what_became_of_several_has_an_address_that_can_be_reloaded_and_gone_back_to(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    embeds = [make("works", kapso_sandbox, slug) for slug in ("a", "b")]
    addresses = []
    for _time in range(4):
        _sent, done = confirmed(admin, "refresh", *embeds)
        addresses.append(done["Location"])
        kapso_sandbox.requests.clear()
        pages = [admin.get(done["Location"]).text for _reload in range(2)]
        assert all(page.count("It is up to date.") == 2 for page in pages)
        assert all(url("change", embed.pk) in pages[0] for embed in embeds)
        assert kapso_sandbox.requests == []
    # The last three are kept.
    for address in addresses[1:]:
        assert "It is up to date." in admin.get(address).text
    for address in (addresses[0], url("results", "unknown")):
        for page in (admin.get(address, follow=True), admin.post(address, follow=True)):
            assert page.redirect_chain == [(url("changelist"), 302)]
            assert "These results are no longer kept." in page.text
    # An embed that is gone since is only named.
    revoke_embed(embeds[0])
    delete_embed(embeds[0])
    page = admin.get(addresses[-1]).text
    assert "The a inbox" in page
    assert url("change", embeds[0].pk) not in page


def test_the_filters_of_the_list_are_kept_all_the_way(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    embeds = [make("works", kapso_sandbox, slug) for slug in ("a", "b")]
    filtered = f"{url('changelist')}?{FILTERS}"
    for chosen in (embeds, embeds[:1]):
        data = {"action": "refresh", "_selected_action": [embed.pk for embed in chosen]}
        asked = admin.post(filtered, data, follow=True)
        assert links(asked)["No, take me back"] == filtered
        sent = {"confirmed": "yes", "target": targets(asked)}
        done = admin.post(asked.context["action_url"], sent)
        if len(chosen) > 1:
            assert links(admin.get(done["Location"]))["Back to the list"] == filtered
        else:
            kept = urlencode({"_changelist_filters": FILTERS})
            assert done["Location"] == f"{url('change', chosen[0].pk)}?{kept}"
    # From an embed's page, to which the list leads.
    [change] = [a for t, a in links(admin.get(filtered)).items() if t == embeds[0].name]
    assert "_changelist_filters" in change
    page = admin.get(change)
    assert change.partition("?")[2] in links(page)["Preview"]
    asked = admin.get(links(page)["Refresh from Kapso"])
    assert links(asked)["No, take me back"] == change
    sent = {"confirmed": "yes", "target": targets(asked)}
    assert admin.post(asked.context["action_url"], sent)["Location"] == change


def test_a_form_that_is_shown_again_keeps_its_way_back(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    embed = make("works", kapso_sandbox)
    data = {"action": "extend", "_selected_action": embed.pk}
    asked = admin.post(f"{url('changelist')}?{FILTERS}", data, follow=True)
    sent = {"confirmed": "yes", "target": targets(asked), "expiry": "date"}
    again = admin.post(asked.context["action_url"], sent)
    assert "Enter the date." in again.text
    assert links(again)["No, take me back"] == f"{url('changelist')}?{FILTERS}"
    # Its address is that of the confirmation by GET, too, such as after signing in again.
    assert targets(admin.get(again.context["action_url"])) == sent["target"]


def test_the_health_page_is_where_its_buttons_lead_back_to(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    make("revoked", kapso_sandbox)
    asked = admin.get(links(admin.get(url("health")))["Rotate the link"])
    assert links(asked)["No, take me back"] == url("health")


def test_the_forms_of_a_verb_say_that_kapso_is_asked(
    admin: Client, kapso_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verb_views, "TIME_LIMIT", -1)
    embeds = [make("works", kapso_sandbox, slug) for slug in ("a", "b")]
    asked = admin.get(url("verb", "rotate"), {"id": [embed.pk for embed in embeds]})
    _sent, done = confirmed(admin, "rotate", *embeds)
    for page in (asked, admin.get(done["Location"])):
        assert 'data-kapso-busy="Working… Waiting for Kapso."' in page.text
        assert "data-kapso-slow=" in page.text
