"""The names in bodies and queries. One that is not known is refused, never ignored."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from io import BytesIO
from itertools import islice
from typing import Any, cast

from django.conf import settings
from django.http import QueryDict
from django.utils.translation import gettext as _
from rest_framework import serializers
from rest_framework.parsers import JSONParser

# What an answer to a hostile body may cost: finding a close match takes time.
_MOST_NAMES = 10
_LONGEST_NAME = 50

#: An item of a list in a form.
_ITEM = re.compile(r"(?P<list>\w{1,50})\[[0-9]{1,9}\]")
#: The field of Django's forms against cross-site requests.
_CSRF = "csrfmiddlewaretoken"


class BodySerializer(serializers.Serializer[Any]):
    """A body, of which every name must be known.

    The context may hold `shown`, a function that returns the answer to a GET. A client may send
    back what only an answer holds, if it has not changed.
    """

    def to_internal_value(self, data: Any) -> Any:
        """Return the values.

        Raises:
            ValidationError: with a text at each name that is not known or not valid.
        """
        wrong = self._wrong_names(data) if isinstance(data, Mapping) else {}
        values = None
        try:
            values = super().to_internal_value(data)
        except serializers.ValidationError as error:
            wrong = {**cast("dict[str, Any]", error.detail), **wrong}
        if wrong:
            raise serializers.ValidationError(wrong)
        return values

    def read_only_names(self) -> Collection[str]:
        """Return the names that an answer may hold besides those of the body."""
        return ()

    def _wrong_names(self, data: Mapping[str, Any]) -> dict[str, Any]:
        names: Iterable[str] = data
        wrong: dict[str, Any] = {}
        if isinstance(data, QueryDict):  # a form
            lists = [name for name, field in self.fields.items() if _is_list(field)]
            wrong = repeated(data, lists)
            names = {_name_in_form(name, data, lists) for name in data} - {_CSRF}
        others = [name for name in names if name not in self.fields]
        answered = self.read_only_names() if others else ()
        wrong |= unknown((name for name in others if name not in answered), self.fields)
        sent_back = [name for name in others if name in answered]
        show = self.context.get("shown")
        shown = show() if show and sent_back else {}
        for name in sent_back:
            if name not in shown or shown[name] != data.get(name):
                wrong[name] = [
                    _("This is read-only: leave it out, or send back its current value.")
                ]
        return wrong


class UniqueNamesParser(JSONParser):
    """A parser of JSON that refuses a name that stands twice in an object."""

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        """Return what the body holds.

        Raises:
            ParseError: it is not JSON.
            ValidationError: with a text at each name that stands twice.
        """
        body = stream.read()
        parsed = super().parse(BytesIO(body), media_type, parser_context)
        encoding = (parser_context or {}).get("encoding", settings.DEFAULT_CHARSET)
        twice: list[str] = []

        def note_repeated(pairs: list[tuple[str, Any]]) -> None:
            counts = Counter(name for name, _value in pairs)
            twice.extend(name for name, count in counts.items() if count > 1)

        json.loads(body.decode(encoding), object_pairs_hook=note_repeated)
        if twice:
            raise serializers.ValidationError(_repeated(twice))
        return parsed


def unknown(given: Iterable[str], known: Collection[str]) -> dict[str, list[str]]:
    """Return a text for each given name that is not known, and for at most ten of them.

    Args:
        given: the names in a body or a query.
        known: the names that it may have.
    """
    names = (name[:_LONGEST_NAME] for name in given if name not in known)
    return {name: [_unknown(name, known)] for name in islice(names, _MOST_NAMES)}


def repeated(given: QueryDict, lists: Collection[str]) -> dict[str, list[str]]:
    """Return a text for each name that is given more than once.

    Args:
        given: the query, or a form.
        lists: the names that may be repeated.
    """
    return _repeated(
        name for name, values in given.lists() if len(values) > 1 and name not in lists
    )


def query_errors(
    given: QueryDict, serializer: type[serializers.Serializer[Any]] | None, others: Collection[str]
) -> dict[str, list[str]]:
    """Return a text for each name in a query that is not known, or stands there more than once.

    Args:
        given: the query.
        serializer: the serializer that reads it, if the address takes parameters of its own.
        others: the names that are read elsewhere, such as those of the pagination.
    """
    fields = serializer().fields if serializer else {}
    lists = [name for name, field in fields.items() if _is_list(field)]
    return {**unknown(given, [*fields, *others]), **repeated(given, lists)}


def _name_in_form(name: str, form: QueryDict, lists: Collection[str]) -> str:
    """Return the name of the field that REST framework reads from a field of a form.

    It reads a list from `groups`, or else from `groups[0]`, `groups[1]` and so on. It would ignore
    `groups[]`.
    """
    item = _ITEM.fullmatch(name)
    is_read = item and item["list"] in lists and item["list"] not in form
    return item["list"] if item and is_read else name


def _is_list(field: serializers.Field[Any, Any, Any, Any]) -> bool:
    return isinstance(field, serializers.ListField | serializers.MultipleChoiceField)


def _unknown(name: str, known: Collection[str]) -> str:
    close = get_close_matches(name.lower(), known, n=1)
    if close:
        return _("This name is not known. Did you mean “%(name)s”?") % {"name": close[0]}
    return _("This name is not known.")


def _repeated(names: Iterable[str]) -> dict[str, list[str]]:
    found = islice(names, _MOST_NAMES)
    return {name[:_LONGEST_NAME]: [_("This is given more than once.")] for name in found}
