"""A state machine of a few embeds: random actions of people, cron and Kapso, and random faults."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any
from zlib import crc32

from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import DatabaseError
from django.test import RequestFactory
from django.utils import timezone
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kapso_inbox import conf
from kapso_inbox.inbox.launch import LaunchRefusedError, open_inbox
from kapso_inbox.kapso import KapsoError
from kapso_inbox.lifecycle import (
    LifecycleError,
    create_embed,
    ensure_embed,
    resolve_embed,
    revoke_embed,
    rotate_embed,
    update_embed,
)
from kapso_inbox.models import (
    AccessLink,
    InboxEmbed,
    Outcome,
    name_without_reference,
    reference_in,
)
from kapso_inbox.sync import sync_project
from tests.hosts.people import User

from .troubles import REQUEST_TROUBLES, request_trouble
from .world import (
    FORGOTTEN,
    NOT_TAKEN_BACK,
    OTHER_ENCRYPTION,
    OTHER_KEY,
    STOPPED,
    TWO_LIVE,
    ProcessDied,
    Trouble,
    World,
)

State = AccessLink.State

#: The documented exceptions of the functions under test. Any other exception is a bug.
DOCUMENTED = (KapsoError, LifecycleError, ValidationError, ImproperlyConfigured, LaunchRefusedError)

#: The states that a current link may have while it lives at Kapso and nothing is left to do.
SAY_IT_LIVES = (State.ACTIVE, State.SECRET_LOST, State.UNMANAGED)

SLUGS = st.sampled_from(["sales", "support", "billing"])


def _troubles() -> dict[str, Callable[[], Trouble]]:
    """Return everything that may go wrong in one action: a name for failure messages -> trouble."""
    found: dict[str, Callable[[], Trouble]] = {}
    for name in REQUEST_TROUBLES:
        for at in ("POST", "PATCH", "DELETE", 0, 1) if name == "404" else ("POST", "DELETE", 0, 1):
            found[f"{at}: {name}"] = partial(request_trouble, name, at)
    for how in ("fails", "lost", "down", "lost, then down"):
        for number in range(7):
            found[f"database {how} at {number}"] = partial(
                Trouble, database=how, due=lambda before, number=number: len(before) >= number
            )
    for number in range(7):
        found[f"dies at {number}"] = partial(Trouble, dies=number)
    return found


TROUBLES = {"nothing": Trouble, **_troubles()}

# Each action draws from this list once, because drawing takes as long as acting. Nothing goes wrong
# in a quarter of the actions; the rest is shared by network, database and process.
_NETWORK = [name for name in TROUBLES if name[0].isupper() or name[0].isdigit()]
_DATABASE = [name for name in TROUBLES if name.startswith("database")]
_DEATHS = [name for name in TROUBLES if name.startswith("dies")]
_CHOICE = [
    *["nothing"] * len(_NETWORK),
    *_NETWORK,
    *_DATABASE * (len(_NETWORK) // len(_DATABASE)),
    *_DEATHS * (len(_NETWORK) // len(_DEATHS)),
]
# A number that `_do` combines with the sequence's seed to choose from the list. When Hypothesis
# chose from the list directly, it drew the same few entries again and again.
TROUBLE = st.integers(0, 2**16)


class Inboxes(RuleBasedStateMachine):
    """A CRM with up to three embeds. A subclass must set `world`."""

    world: World
    user: User
    #: The number of actions since the last quiet point.
    actions = 0
    seed = 0
    #: How far our clock is ahead.
    clock = timedelta(0)
    #: The number of sequences that were run to their end.
    sequences = 0

    @initialize(slugs=st.lists(SLUGS, unique=True, max_size=2), seed=st.integers(0, 2**32))
    def begin(self, slugs: list[str], seed: int) -> None:
        """Start with up to two embeds that work."""
        self.world.clean()
        self.actions, self.seed, self.clock = 0, seed, timedelta(0)
        for slug in slugs:
            create_embed(slug=slug, name=slug.title())

    def teardown(self) -> None:
        """End each sequence at a quiet point."""
        self.quiet()
        type(self).sequences += 1

    # What people do

    @rule(slug=SLUGS, trouble=TROUBLE)
    def create(self, slug: str, trouble: int) -> None:
        """Create an embed, as a person does."""
        self._do(trouble, lambda: create_embed(slug=slug, name=slug.title()))

    @rule(slug=SLUGS, hours=st.sampled_from([0, 2]), trouble=TROUBLE)
    def ensure(self, slug: str, hours: int, trouble: int) -> None:
        """Ensure that an embed exists, perhaps with an expiry, as a program does."""
        wanted: dict[str, Any] = {}
        if hours:
            wanted["expires_at"] = timezone.now() + timedelta(hours=hours)
        self._do(trouble, lambda: ensure_embed(slug, **wanted))

    @rule(
        slug=SLUGS,
        changes=st.sampled_from(
            [{"name": "New"}, {"default_mode": "dark"}, {"language": "es", "name": "Newer"}]
        ),
        trouble=TROUBLE,
    )
    def update(self, slug: str, changes: dict[str, Any], trouble: int) -> None:
        """Change the settings of an embed, as a person does."""
        if embed := self._embed(slug):
            self._do(trouble, lambda: update_embed(embed, **changes))

    @rule(slug=SLUGS, trouble=TROUBLE)
    def rotate(self, slug: str, trouble: int) -> None:
        """Rotate the link, as a person does: an embed that worked must still work."""
        if embed := self._embed(slug):
            worked = self._works(slug)
            self._do(trouble, lambda: rotate_embed(embed))
            assert not worked or self._works(slug), STOPPED

    @rule(slug=SLUGS, trouble=TROUBLE)
    def revoke(self, slug: str, trouble: int) -> None:
        """Revoke the embed, as a person does: if that succeeds, none of its links may live."""
        if embed := self._embed(slug):
            done = self._do(trouble, lambda: revoke_embed(embed))
            assert not done or not self._lives_of(slug), "revoked, and it lives on"

    @rule(number=st.integers(0, 3), trouble=TROUBLE)
    def resolve(self, number: int, trouble: int) -> None:
        """Resolve a link, as a person does."""
        if link := AccessLink.objects.order_by("created_at")[number : number + 1].first():
            self._do(trouble, lambda: resolve_embed(link.embed))

    @rule(slug=SLUGS, trouble=TROUBLE)
    def launch(self, slug: str, trouble: int) -> None:
        """Open the embed, as an agent does: the address must be the one that Kapso returned."""
        request = RequestFactory().get("/")
        request.user = self.user
        opened: list[str] = []
        self._do(trouble, lambda: opened.append(open_inbox(request, slug, {})))
        for url in opened:
            link = InboxEmbed.objects.get(slug=slug).current_link
            assert link is not None
            # The link may be gone: not every launch asks Kapso whether it still works.
            record = self.world.sandbox.project().embeds.get(link.kapso_id, {"embed_url": url})
            assert url == record["embed_url"], "a launch led to another address"

    # What cron does

    @rule(trouble=TROUBLE)
    def sync(self, trouble: int) -> None:
        """Sync the project, as cron does."""
        self._do(trouble, sync_project)

    # What happens elsewhere

    @rule(
        what=st.sampled_from(["revoked", "deleted", "created", "reassigned"]),
        number=st.integers(0, 1),
    )
    def at_kapso(self, what: str, number: int) -> None:
        """Revoke, delete, create or reassign an embed at Kapso, as Kapso's own pages may do."""
        project = self.world.sandbox.project()
        if what == "created":
            project.create({"name": "Created by hand", "scope_type": "project"})
            return
        for embed in self.world.lives()[number : number + 1]:
            if what == "revoked":
                embed["status"] = "revoked"
            elif what == "reassigned":
                embed["assigned_user_id"] = project.users[0]["user_id"]
            else:
                project.embeds.pop(embed["id"], None)

    @rule()
    def kapso_forgets(self) -> None:
        """Let Kapso answer for some minutes as if the project were empty: no link ends by that."""
        before = {link.reference: link.state for link in self.world.links()}
        with self.world.forgotten():
            for _ in range(2):
                self._do_well(sync_project)
                self.world.pass_time(timedelta(minutes=6))
        for link in self.world.links():
            was = before.get(link.reference)
            assert was != State.ACTIVE or link.state == State.ACTIVE, FORGOTTEN

    @rule(
        key=st.sampled_from([None, None, OTHER_KEY]),
        encryption=st.sampled_from([None, None, OTHER_ENCRYPTION]),
    )
    def settings(self, key: str | None, encryption: dict[str, str] | None) -> None:
        """Configure the wrong or the right API key and encryption keys, as an operator does."""
        self.world.use_key(key)
        self.world.use_encryption(encryption)

    @rule(
        minutes=st.sampled_from([1, 3, 6, 90]),
        days_off=st.sampled_from([0, 0, 0, 1, 365, -1, -365]),
    )
    def time_passes(self, minutes: int, days_off: int) -> None:
        """Let time pass without an action, and our clock jump. Kapso's clock is always right."""
        self.world.pass_time(timedelta(minutes=minutes))
        self.clock = timedelta(days=days_off)

    # Invariants

    @invariant()
    def holds_at_every_instant(self) -> None:
        """Check what must hold after every step, whatever went wrong."""
        self.world.check_rows()

    @precondition(lambda self: self.actions >= 5)
    @rule()
    def quiet(self) -> None:
        """Check that with the right keys everything is consistent once cron has run for a while."""
        self.actions = 0
        self.clock = timedelta(0)
        self.world.use_key()
        self.world.use_encryption()
        self.world.heal()
        self.world.check_truth()
        fingerprint = conf.project().key_fingerprint
        for embed in InboxEmbed.objects.select_related("current_link"):
            link, lives = embed.current_link, self._lives_of(embed.slug)
            assert len(lives) <= 1, TWO_LIVE
            if embed.obstacle() is None and link.key_fingerprint == fingerprint:
                assert [one["id"] for one in lives] == [link.kapso_id], (
                    "an embed can be opened, and its link does not live"
                )
            if lives:
                assert link is not None, "an embed lives at Kapso without a current link here"
                assert link.state in SAY_IT_LIVES, "an embed lives at Kapso, and its link is over"
            if lives and link is not None and link.kapso_id == lives[0]["id"]:
                there = (name_without_reference(lives[0]["name"]), lives[0]["default_mode"])
                assert (embed.name, embed.default_mode) == there, "the mirror differs"
                if lives[0]["assigned_user_id"] and link.state == State.ACTIVE:
                    assert embed.obstacle() == Outcome.DIFFERENT, (
                        "an embed shows other conversations than it was created for"
                    )

    # Helpers

    def _do_well(self, action: Callable[[], Any]) -> None:
        """Run the action while nothing goes wrong."""
        with suppress(*DOCUMENTED):
            action()

    def _do(self, trouble: int, action: Callable[[], Any]) -> bool:
        """Run the action while something goes wrong; return whether it succeeded."""
        self.seed = crc32(f"{self.seed} {trouble}".encode())
        name = _CHOICE[self.seed % len(_CHOICE)]
        note(f"what goes wrong: {name}")
        before = len(self.world.sandbox.requests)
        allowed = (*DOCUMENTED, ProcessDied)
        if name.startswith("database"):
            allowed = (*allowed, DatabaseError)
        self.actions += 1
        died, done = False, False
        try:
            with self.world.trouble_with(replace(TROUBLES[name](), clock=self.clock)):
                action()
            done = True
        except allowed as error:
            died = isinstance(error, ProcessDied)
        if not died:
            self._check_that_links_are_settled(before)
        return done

    def _check_that_links_are_settled(self, before: int) -> None:
        """Check that no link that lives at Kapso is still `creating` after its action returned."""
        sent = [one for one in self.world.sandbox.requests[before:] if one.method == "POST"]
        made = {reference_in(one.json["inbox_embed"]["name"]) for one in sent}
        lives = {reference_in(embed["name"]) for embed in self.world.lives()}
        for link in self.world.links() if made & lives else []:
            if link.reference in made & lives:
                told = any(link.reference in line for line in self.world.log.critical)
                assert told or link.state != State.CREATING, (
                    f"#ki-{link.reference} {NOT_TAKEN_BACK}"
                )

    def _embed(self, slug: str) -> InboxEmbed | None:
        return InboxEmbed.objects.filter(slug=slug).first()

    def _works(self, slug: str) -> bool:
        """Return whether the current link is active, both here and at Kapso."""
        ids = {one["id"] for one in self.world.lives()}
        return any(
            link.current and link.state == State.ACTIVE and link.kapso_id in ids
            for link in self.world.links()
            if link.slug == slug
        )

    def _lives_of(self, slug: str) -> list[dict[str, Any]]:
        """Return the live links of an embed in our project whose IDs are stored here."""
        ids = {link.kapso_id for link in self.world.links() if link.slug == slug}
        return [one for one in self.world.sandbox.project().active_embeds() if one["id"] in ids]
