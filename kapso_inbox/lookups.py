"""What can be picked at Kapso: its numbers, customers and team members, by name.

Kapso's lists have no search that is documented, and can have thousands of rows. So they are read
page by page, each page is kept for a short time in Django's cache, and a search goes on where the
last one ended.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

from django.core.cache import cache
from django.db.models import TextChoices
from django.views.decorators.debug import sensitive_variables

from . import conf

if TYPE_CHECKING:
    # At run time not at import: requests is only loaded in a process that really talks to Kapso.
    from .kapso import Customer, PhoneNumber, User

#: Seconds for which a page of Kapso's list is kept.
KEPT_FOR = 300
#: How many pages one search asks Kapso for, each of up to a hundred; the next goes on after them.
PAGES_AT_ONCE = 5
#: No page beyond it: what an address asks for has a bound.
LAST_PAGE = 1000


class Kind(TextChoices):
    """What there is to pick."""

    PHONE_NUMBER = "phone_number"
    CUSTOMER = "customer"
    USER = "user"


@dataclass(frozen=True)
class Choice:
    """One thing to pick.

    Attributes:
        id: what a scope or an assignment takes.
        name: what people call it.
        detail: what tells it from another of that name: a number, an e-mail, the CRM's own id.
        internal_id: a number's UUID, which the filter `whatsapp_config_id` takes; "" otherwise.
    """

    id: str
    name: str
    detail: str = ""
    internal_id: str = ""

    def __str__(self) -> str:
        return f"{self.name} · {self.detail}" if self.detail else self.name


@dataclass(frozen=True)
class Found:
    """What a search found so far.

    Attributes:
        choices: in Kapso's order.
        next_page: where to go on; None = that was all.
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
    """Look for what bears a text in its name, detail or id.

    Reads at most `PAGES_AT_ONCE` pages, and ends after the one with which `limit` is reached.

    Args:
        kind: what to pick.
        text: words that all have to occur, in any case; digits also where a number is written with
            other characters between them. Blank = everything.
        project: the alias of the Kapso project.
        page: which page of Kapso's list to begin with, from 1.
        limit: how many are enough.
        refresh: ask Kapso also for what is still kept.
        deadline: seconds after which a request to Kapso is given up; None = the client's own.

    Raises:
        KapsoError: Kapso could not be asked.
        ConfigurationError: there is no such project.
    """
    words = text.casefold().split()
    found: list[Choice] = []
    for number in range(page, min(page + PAGES_AT_ONCE, LAST_PAGE + 1)):
        choices, is_last = _page(kind, project, number, refresh=refresh, deadline=deadline)
        found += [choice for choice in choices if _bears(choice, words)]
        if is_last:
            return Found(found, None)
        if len(found) >= limit:
            break
    return Found(found, number + 1 if number < LAST_PAGE else None)


def named(kind: Kind, *, project: str = conf.DEFAULT_PROJECT, most: int = 10) -> str:
    """Return in words what the project's API key can see, the first few; "" if Kapso is silent."""
    from .kapso import KapsoError

    try:
        choices, is_last = _page(kind, project, 1)
    except KapsoError:
        return ""
    told = ", ".join(str(choice) for choice in choices[:most])
    return told if is_last and len(choices) <= most else f"{told}, …"


def kept_name(kind: Kind, id: str, *, project: str = conf.DEFAULT_PROJECT) -> str:  # noqa: A002
    """Return what an id was shown as when it was picked; "" where that is not kept any more.

    Asks nothing of Kapso.
    """
    for number in range(1, LAST_PAGE + 1):
        kept = cache.get(_key(kind, project, number))
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
    """Keep no more what Kapso answered for a project."""
    for kind in Kind:
        number = 1
        while cache.delete(_key(kind, project, number)):
            number += 1


def _bears(choice: Choice, words: list[str]) -> bool:
    text = " ".join((choice.name, choice.detail, choice.id)).casefold()
    digits = "".join(filter(str.isdigit, choice.detail))

    def occurs(word: str) -> bool:
        number = word.strip("+")
        return word in text or (number.isdigit() and number in digits)

    return all(map(occurs, words))


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
    kept = None if refresh else cache.get(key)
    if kept is None:
        attribute, read = _READERS[kind]
        options = {} if deadline is None else {"deadline": deadline}
        client = conf.project(project).client(**options)
        rows, is_last = getattr(client, attribute).page(number)
        kept = [astuple(read(row)) for row in rows], is_last
        cache.set(key, kept, KEPT_FOR)
    rows, is_last = kept
    return [Choice(*row) for row in rows], is_last


def _key(kind: Kind, project: str, number: int) -> str:
    # By the key's fingerprint: what one API key sees is none of another's business.
    return f"kapso_inbox:lookup:{conf.project(project).key_fingerprint}:{kind.value}:{number}"


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
