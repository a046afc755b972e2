"""Theme and filters of an inbox: validated, merged, and put on an address.

The names and values are the query parameters of Kapso's embedded inbox. They are only its initial
state: a user can clear a filter, so no filter separates tenants. The embed's scope does.
"""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote_plus, urlencode, urlsplit, urlunsplit

from django.http import QueryDict
from django.utils.translation import gettext as _

from kapso_inbox.exceptions import KapsoInboxError
from kapso_inbox.models import Language, Mode

from .coercion import as_text

logger = logging.getLogger(__name__)

MAX_SEARCH = 100
STATUSES = ("active", "ended", "all")
#: Filters that Kapso knows as on or left out, and how our own addresses turn one off.
FLAGS = ("unread", "handoff")
OFF = "0"
_SWITCH = {"1": True, "true": True, "": False, "0": False, "false": False}


class ParameterError(KapsoInboxError, ValueError):
    """A parameter has a wrong value, or does not exist.

    Attributes:
        name: the parameter.
        expected: what would have been right, in words.
    """

    def __init__(self, name: str, expected: str) -> None:
        super().__init__(name, expected)
        self.name = name
        self.expected = expected

    def __str__(self) -> str:
        return f"{self.name}: {self.expected}"


def clean_params(params: Mapping[str, Any]) -> dict[str, str]:
    """Return theme and filters as Kapso expects them.

    Args:
        params: name -> value, from a template, an address, a preference or a host's function.
            None and "" count as left out, and so does a false `unread` or `handoff`.

    Raises:
        ParameterError: a parameter has a wrong value, or does not exist; it names the first such.
    """
    cleaned = {}
    for name, value in params.items():
        read = PARAMETERS.get(name)
        if read is None:
            raise ParameterError(
                name, _("is not a known name. The known names are: %s") % ", ".join(PARAMETERS)
            )
        value = read(name, as_text(value))
        if value:
            cleaned[name] = value
    return cleaned


def valid_params(source: str, params: Any) -> dict[str, str]:
    """Return the valid ones of stored or computed parameters; leave out and log the others.

    Args:
        source: where they come from, for the log.
        params: name -> value. Anything but a mapping counts as empty.
    """
    cleaned: dict[str, str] = {}
    if not isinstance(params, Mapping):
        if params is not None:
            logger.warning("Left out: %s is not a dictionary.", source)
        return cleaned
    for name, value in params.items():
        try:
            cleaned |= clean_params({name: value})
        except ParameterError as error:
            logger.warning("Left out of %s: %s", source, error)
    return cleaned


def clean_requested(params: Mapping[str, Any]) -> dict[str, str]:
    """Return what a page asks for. A page can turn a filter `OFF`, against a user's own choice.

    Args:
        params: as for `clean_params`, except that a false `unread` or `handoff` becomes `OFF`.

    Raises:
        ParameterError: a parameter has a wrong value, or does not exist; it names the first such.
    """
    cleaned = clean_params(params)
    off = [name for name in FLAGS if name not in cleaned and as_text(params.get(name))]
    return cleaned | dict.fromkeys(off, OFF)


def unfiltered_search(params: Mapping[str, str]) -> dict[str, str]:
    """Return params under which no filter of a user's own hides what is searched for.

    Args:
        params: what a page asks for, cleaned. If that is a search or one conversation, each filter
            it does not mention becomes `OFF`.
    """
    looks_for_one = not {"search", "conversation_id"}.isdisjoint(params)
    off = [name for name in FLAGS if name not in params] if looks_for_one else []
    return {**params, **dict.fromkeys(off, OFF)}


def in_a_view(params: Mapping[str, str]) -> dict[str, str]:
    """Return params that turn each filter of the quick views on or off.

    So a view shows the same to everybody, whatever filters they have saved.
    """
    others = {name: value for name, value in params.items() if name not in FLAGS}
    return others | {name: params.get(name, OFF) for name in FLAGS}


def opening_view(params: Mapping[str, str], saved: Mapping[str, str]) -> dict[str, str]:
    """Return params under which a page with quick views begins with the view that a user saved.

    Args:
        params: what the page's address asks for, cleaned. Where that is a view, a search or one
            conversation, it stays as it is.
        saved: the user's saved parameters. Of several filters the first one counts, since a page
            shows one view at a time.
    """
    if not {*FLAGS, "search", "conversation_id"}.isdisjoint(params):
        return dict(params)
    view = [name for name in FLAGS if name in saved][:1]
    return {**params, **{name: saved[name] for name in view}}


def clean_query(query: QueryDict) -> dict[str, str]:
    """Return what an address asks for, as `clean_requested` does.

    Raises:
        ParameterError: a parameter has a wrong value, does not exist, or occurs more than once.
    """
    for name, values in query.lists():
        if len(values) > 1:
            raise ParameterError(name, _("may be given only once"))
    return clean_requested(query.dict())


def clean_known(query: QueryDict) -> dict[str, str]:
    """Return what the address of a whole page asks for, as `clean_query` does.

    Other names are ignored, since people arrive from mails and campaigns.

    Raises:
        ParameterError: a parameter has a wrong value, or occurs more than once.
    """
    known = query.copy()
    for name in known.keys() - PARAMETERS.keys():
        del known[name]
    return clean_query(known)


def merge_params(*sources: Mapping[str, str]) -> dict[str, str]:
    """Return the parameters of all sources; the first source that has a parameter decides it.

    A filter that is `OFF` by that is left out, since Kapso has no such value.
    """
    merged: dict[str, str] = {}
    for source in reversed(sources):
        merged.update(source)
    return {name: value for name, value in merged.items() if name not in FLAGS or value != OFF}


def with_params(url: str, params: Mapping[str, str]) -> str:
    """Return an address with these parameters added to its query.

    Args:
        url: an embed's secret address, or an address of this app.
        params: cleaned parameters. Each replaces a parameter of the same name.
    """
    parts = urlsplit(url)
    own = [
        piece
        for piece in parts.query.split("&")
        if piece and unquote_plus(piece.partition("=")[0]) not in params
    ]
    return urlunsplit(parts._replace(query="&".join([*own, *filter(None, [urlencode(params)])])))


def read_switch(name: str, value: str) -> bool:
    """Return whether a text means on or off.

    Args:
        name: the name of the parameter, for the error.
        value: the text; a blank one means off.

    Raises:
        ParameterError: the text means neither.
    """
    if value.lower() not in _SWITCH:
        raise ParameterError(name, _("must be 1, true, 0 or false, or be left out"))
    return _SWITCH[value.lower()]


def _choice(*choices: str) -> Callable[[str, str], str]:
    def read(name: str, value: str) -> str:
        if value and value not in choices:
            raise ParameterError(name, _("must be one of %s") % ", ".join(choices))
        return value

    return read


def _flag(name: str, value: str) -> str:
    return "1" if read_switch(name, value) else ""


def _search(name: str, value: str) -> str:
    value = value.strip()
    if len(value) > MAX_SEARCH or re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", value):
        raise ParameterError(name, _("must be one line of at most %d characters") % MAX_SEARCH)
    return value


def _uuid_or(*words: str) -> Callable[[str, str], str]:
    def read(name: str, value: str) -> str:
        if value in ("", *words):
            return value
        try:
            return str(uuid.UUID(value))
        except ValueError:
            if not words:
                raise ParameterError(name, _("must be a UUID")) from None
            expected = ", ".join([_("a UUID"), *words])
            raise ParameterError(name, _("must be one of: %s") % expected) from None

    return read


#: The only allow-list: parameter -> what turns its value into Kapso's text, "" for left out.
PARAMETERS: dict[str, Callable[[str, str], str]] = {
    "mode": _choice(*Mode.values),
    "language": _choice(*Language.values),
    "status": _choice(*STATUSES),
    "search": _search,
    "whatsapp_config_id": _uuid_or("all"),
    "unread": _flag,
    "handoff": _flag,
    # Kapso documents these two for its own inbox. Whether an embedded one knows them is unverified,
    # so nothing depends on them.
    "conversation_id": _uuid_or(),
    "assignee": _uuid_or("me", "unassigned"),
}
