"""What a sync tells: codes with values, in the language of whoever reads them."""

from __future__ import annotations

import json

import pytest
from django.utils import translation

from kapso_inbox.kapso import UnreachableError
from kapso_inbox.sandbox.engine import Answer, Sandbox
from kapso_inbox.sync import Note, NoteCode, sync_project
from kapso_inbox.sync.notes import error_value

VALUES = {
    "alias": "clinic",
    "command": "kapso_sync --accept-missing",
    "count": 3,
    "differences": "scope_type=customer",
    "embed": "sales",
    "error": error_value(UnreachableError("The connection was refused")),
    "holds": 5,
    "hours": 2,
    "key": "k1",
    "lacks": 4,
    "link": "#ki-0123456789",
    "status": 404,
}


@pytest.mark.parametrize("language", ["en", "es", "pt-br"])
@pytest.mark.parametrize("code", NoteCode)
def test_every_note_can_be_told(code: NoteCode, language: str) -> None:
    with translation.override(language):
        told = str(Note(code, VALUES))
    assert told
    assert "%" not in told
    assert '{"' not in told


def test_an_error_is_told_with_what_went_wrong_on_the_way() -> None:
    with translation.override("es"):
        told = str(Note(NoteCode.LIST_UNREAD, VALUES))
        note = Note(NoteCode.LIST_UNREAD, VALUES)
        assert note.what == "La lista de Kapso no se pudo leer."
        # What went wrong on the way is for operators, in English. A person is told what to do.
        assert note.why.startswith("No se pudo conectar con Kapso. ")
        assert "The connection was refused" not in note.why
        assert note.why.endswith("Vuelva a intentarlo dentro de unos minutos.")
    assert "No se pudo conectar con Kapso. (The connection was refused)" in told


@pytest.mark.django_db
def test_one_report_is_told_in_every_language(kapso_sandbox: Sandbox) -> None:
    kapso_sandbox.fail_next(answer=Answer(401, {}))
    report = sync_project()
    [note] = report.problems
    assert note.code == NoteCode.LIST_UNREAD
    assert "Kapso refused the API key (HTTP 401" in str(note)
    assert note.why == "Kapso refused the API key. The health page says more."
    with translation.override("es"):
        assert "Kapso rechazó la clave de API (HTTP 401" in report.in_words()["problems"][0]
        assert json.loads(json.dumps(report.in_words()))["complete"] is False
