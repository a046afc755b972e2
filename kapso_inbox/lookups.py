"""Look-ups at Kapso: phone numbers, customers and team members, by name.

Kapso documents no search for its lists, which can have thousands of rows. They are therefore read
page by page. Each page is kept in Django's cache for a short time, and a search continues where the
previous one ended. No page is asked for twice within some seconds, whether Kapso answered or not:
people ask by every key that they press, and by every launch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from django.core.cache import cache
from django.db.models import TextChoices
from django.views.decorators.debug import sensitive_variables

from . import conf
from .clock import is_stamped_within, stamp
from .failures import remembered_failures
from .kapso import Customer, KapsoError, PhoneNumber, User

#: The seconds for which a page of Kapso's list is kept.
KEPT_FOR = 300
#: The seconds for which a page is not read again, even if somebody asks for that.
REFRESHED_AFTER = 10
#: The number of pages, of up to a hundred rows each, that one search reads at most.
PAGES_AT_ONCE = 5
#: The last page that can be read. It bounds what a request for a page can cause.
LAST_PAGE = 1000


class Kind(TextChoices):
    """The kinds of objects that can be looked up."""

    PHONE_NUMBER = "phone_number"
    CUSTOMER = "customer"
    USER = "user"


class Choice(NamedTuple):
    """An object at Kapso that a user can choose.

    Attributes:
        id: the ID that a scope or an assignment requires.
        name: the name that people know.
        detail: tells it from others of the same name: a phone number, an e-mail address, or the
            CRM's own ID.
        internal_id: the UUID of a phone number, for the filter `whatsapp_config_id`; otherwise "".
    """

    id: str
    name: str
    detail: str = ""
    internal_id: str = ""

    def __str__(self) -> str:
        return f"{self.name} · {self.detail}" if self.detail else self.name


class Found(NamedTuple):
    """The result of a search.

    Attributes:
        choices: what was found, in Kapso's order.
        next_page: the page with which the next search continues; None = nothing is left.
    """

    choices: list[Choice]
    next_page: int | None


def search(
    kind: Kind,
    text: str = "",
    *,
    project: str = conf.DEFAULT_PROJECT,
    page: int = 1,
    limit: int = 50,
    refresh: bool = False,
    deadline: float | None = None,
) -> Found:
    """Search for a text in the names, details and IDs of objects at Kapso.

    Reads at most `PAGES_AT_ONCE` pages, and stops after the page that reaches `limit`.

    Args:
        kind: the kind of objects.
        text: words that must all occur, in any case. Digits match a phone number that is written
            with other characters between them. Blank = everything.
        project: the alias of the Kapso project.
        page: the page of Kapso's list to begin with, from 1.
        limit: the number of results that is enough.
        refresh: whether to ask Kapso even for pages that are still kept, unless they were read
            within `REFRESHED_AFTER` seconds.
        deadline: the seconds after which a request to Kapso is given up; None = the client's
            default.

    Raises:
        KapsoError: Kapso could not be asked, now or a few seconds ago.
        ConfigurationError: there is no such project.
    """
    words = text.casefold().split()
    found: list[Choice] = []
    for number in range(page, min(page + PAGES_AT_ONCE, LAST_PAGE + 1)):
        choices, is_last = _page(kind, project, number, refresh=refresh, deadline=deadline)
        found += [choice for choice in choices if _matches(choice, words)]
        if is_last:
            return Found(found, None)
        if len(found) >= limit:
            break
    return Found(found, number + 1 if number < LAST_PAGE else None)


def visible_names(kind: Kind, *, project: str = conf.DEFAULT_PROJECT, most: int = 10) -> str:
    """Return the names of the first objects that the project's API key can see.

    Args:
        kind: the kind of objects.
        project: the alias of the Kapso project.
        most: the number of names, at most.

    Returns:
        The names in one text, with an ellipsis if there are more; "" if Kapso could not be asked.
    """
    try:
        choices, is_last = _page(kind, project, 1)
    except KapsoError:
        return ""
    names = ", ".join(str(choice) for choice in choices[:most])
    return names if is_last and len(choices) <= most else f"{names}, …"


def kept_name(kind: Kind, id: str, *, project: str = conf.DEFAULT_PROJECT) -> str:  # noqa: A002
    """Return the text that an object was shown as, or "" if its page is no longer kept.

    Makes no request to Kapso.
    """
    for number in range(1, LAST_PAGE + 1):
        kept = _kept(_key(kind, project, number), KEPT_FOR)
        if kept is None:
            return ""
        rows, is_last = kept
        for row in rows:
            if row[0] == id:
                return str(Choice(*row))
        if is_last:
            return ""
    return ""


def forget(project: str = conf.DEFAULT_PROJECT) -> None:
    """Delete the kept pages of a project."""
    for kind in Kind:
        for number in range(1, LAST_PAGE + 1):
            key = _key(kind, project, number)
            cache.delete(_failure(key))
            if not cache.delete(key):
                break


def number_in(text: str) -> str:
    """Return the digits of a phone number, or of a part of one, as people write it.

    Args:
        text: such as `+55 11 91234-5678`.

    Returns:
        Its digits; "" if the text has letters, and so is not a number.
    """
    return "" if any(map(str.isalpha, text)) else "".join(filter(str.isdigit, text))


def _matches(choice: Choice, words: list[str]) -> bool:
    text = " ".join((choice.name, choice.detail, choice.id)).casefold()
    digits = "".join(filter(str.isdigit, choice.detail))

    def occurs(word: str) -> bool:
        number = number_in(word)
        return word in text or (number != "" and number in digits)

    whole = number_in("".join(words))
    # Spaces may be anywhere in a number, but need not be where Kapso has them.
    return (whole != "" and whole in digits) or all(map(occurs, words))


@sensitive_variables()
def _page(
    kind: Kind,
    project: str,
    number: int,
    *,
    refresh: bool = False,
    deadline: float | None = None,
) -> tuple[list[Choice], bool]:
    key = _key(kind, project, number)
    kept = _kept(key, REFRESHED_AFTER if refresh else KEPT_FOR)
    if kept is None:
        attribute, read = _READERS[kind]
        options = {} if deadline is None else {"deadline": deadline}
        client = conf.project(project).client(**options)
        with remembered_failures(_failure(key)):
            rows, is_last = getattr(client, attribute).page(number)
        kept = [tuple(read(row)) for row in rows], is_last
        cache.set(key, (stamp(), kept), KEPT_FOR)
    rows, is_last = kept
    return [Choice(*row) for row in rows], is_last


def _kept(key: str, seconds: int) -> tuple[list[tuple[str, ...]], bool] | None:
    """Return the rows of a page that was kept, and whether it is the last one; None if it is old.

    Args:
        key: the page's key in the cache.
        seconds: how old it may be.
    """
    kept_at, page = cache.get(key, (None, None))
    return page if is_stamped_within(kept_at, seconds) else None


def _key(kind: Kind, project: str, number: int) -> str:
    # With the API key's fingerprint: one key must not show what only another can see.
    return f"kapso_inbox:lookup:{conf.project(project).key_fingerprint}:{kind.value}:{number}"


def _failure(key: str) -> str:
    return f"{key}:failure"


def _number(number: PhoneNumber) -> Choice:
    return Choice(
        number.phone_number_id,
        number.name or number.verified_name or number.display_phone_number,
        number.display_phone_number,
        number.internal_id,
    )


def _customer(customer: Customer) -> Choice:
    return Choice(customer.id, customer.name or customer.id, customer.external_customer_id)


def _user(user: User) -> Choice:
    return Choice(user.user_id, user.name or user.email, user.email)


_READERS: dict[Kind, tuple[str, Callable[[Any], Choice]]] = {
    Kind.PHONE_NUMBER: ("phone_numbers", _number),
    Kind.CUSTOMER: ("customers", _customer),
    Kind.USER: ("users", _user),
}
