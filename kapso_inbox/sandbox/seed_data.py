"""The made-up people and conversations of the sandbox.

Every name is fictional. Telephone numbers come from ranges set aside for fiction where a country
has one (+1 202 555 01xx, +44 7700 900xxx) and look as made up as they are elsewhere.
"""

from __future__ import annotations

from .seed_aurora_contacts import CONTACTS
from .seed_aurora_dialogues import AURORA_DIALOGUES
from .seed_casa_brava import CASA_BRAVA_CONTACTS, CASA_BRAVA_DIALOGUES
from .seed_types import Business, Number

#: The first and the second project.
BUSINESSES: tuple[Business, ...] = (
    Business(
        name="Aurora",
        prefix="AUR",
        numbers=(
            Number("Sales", 106540352242910, "+1 202 555 0100"),
            Number("Support", 106540352242922, "+34 600 555 000"),
            Number("Appointments", 106540352242935, "+55 11 95555 0100"),
        ),
        users=(
            ("Ana Beltrán", "ana@example.com", "admin"),
            ("Bruno Salgado", "bruno@example.com", "member"),
            ("Carla Nogueira", "carla@example.com", "member"),
            ("Elena Duarte", "elena@example.com", "member"),
            ("Felix Harrow", "felix@example.com", "member"),
            ("Alex Morgan", "admin@example.com", "admin"),
        ),
        contacts=CONTACTS,
        dialogues=AURORA_DIALOGUES,
    ),
    Business(
        name="Casa Brava",
        prefix="CBR",
        numbers=(
            Number("Orders", 209981746513007, "+34 600 555 020"),
            Number("Returns", 209981746513019, "+44 7700 900020"),
            Number("Workshop", 209981746513026, "+52 55 5555 0020"),
        ),
        users=(
            ("Diego Lamas", "diego@example.com", "admin"),
            ("Noor Haddad", "noor@example.com", "member"),
            ("Lena Vogt", "lena@example.com", "member"),
            ("Ismael Tovar", "ismael@example.com", "member"),
        ),
        contacts=CASA_BRAVA_CONTACTS,
        dialogues=CASA_BRAVA_DIALOGUES,
    ),
)
