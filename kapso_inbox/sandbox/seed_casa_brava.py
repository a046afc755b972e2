"""The people and conversations of the second project."""

from __future__ import annotations

from .seed_types import Contact, Dialogue

_HOUR, _DAY = 60, 24 * 60

CASA_BRAVA_CONTACTS: tuple[Contact, ...] = (
    Contact(
        "Inés Cabanillas",
        "+34600555201",
        "Hotel Brisa",
        "ines@hotelbrisa.example",
        "Cádiz",
        "vip",
    ),
    Contact(
        "Peter Lindqvist",
        "+12025550191",
        "Northlight Cafés",
        "peter@northlight.example",
        "Alexandria",
        "customer",
    ),
    Contact(
        "Renata Siqueira",
        "+5521955550206",
        "Ateliê Areia",
        "renata@atelieareia.example",
        "Rio de Janeiro",
        "lead",
    ),
    Contact(
        "Tomás Echeverría",
        "+34600555209",
        "Bodega Alta",
        "tomas@bodegaalta.example",
        "Logroño",
        "customer",
    ),
    Contact(
        "Charlotte Ashdown",
        "+447700900191",
        "Ashdown Interiors",
        "charlotte@ashdown.example",
        "Brighton",
        "customer",
    ),
    Contact(
        "Fernanda Olvera",
        "+528155550211",
        "Café Cumbres",
        "fernanda@cumbres.example",
        "Monterrey",
        "lead",
    ),
    Contact(
        "Jonah Castell",
        "+12025550196",
        "Northlight Cafés",
        "jonah@northlight.example",
        "Alexandria",
        "customer",
    ),
    Contact(
        "Alba Montferrer",
        "+34600555217",
        "Hotel Brisa",
        "alba@hotelbrisa.example",
        "Cádiz",
        "customer",
    ),
)

CASA_BRAVA_DIALOGUES: tuple[Dialogue, ...] = (
    Dialogue(
        "Inés Cabanillas",
        "Orders",
        4,
        """
        < Necesitamos 30 juegos de sábanas más para junio
        > ¡Hola Inés! Los tenemos. ¿En blanco como los últimos?
        < Sí, y diez en arena
        """,
        unread=1,
        assigned="diego",
    ),
    Dialogue(
        "Peter Lindqvist",
        "Orders",
        19,
        """
        < The mugs arrived, they look great
        I< On the shelf already
        > They do! Thank you for the picture, Peter.
        """,
        assigned="diego",
    ),
    Dialogue(
        "Renata Siqueira",
        "Workshop",
        47,
        """
        < Vocês aceitam encomendas com nome bordado?
        """,
        unread=1,
        handoff=True,
    ),
    Dialogue(
        "Tomás Echeverría",
        "Returns",
        90,
        """
        < Una de las cajas llegó abierta
        > Lo siento, Tomás. Recogemos la caja mañana y te mandamos otra.
        < De acuerdo
        """,
        handoff=True,
        assigned="noor",
    ),
    Dialogue(
        "Charlotte Ashdown",
        "Orders",
        3 * _HOUR,
        """
        T> Hi Charlotte, your order CB-733 is on its way 🚚
        < Exciting! Will it need a signature?
        > It will, any adult in the house can sign.
        """,
        ticks="delivered",
        assigned="diego",
    ),
    Dialogue(
        "Fernanda Olvera",
        "Workshop",
        8 * _HOUR,
        """
        < ¿Hacen tazas con logotipo?
        > Sí, desde 24 piezas, en dos semanas.
        < ¿Me manda los precios?
        D> Precios-taller.pdf
        """,
        assigned="lena",
    ),
    Dialogue(
        "Jonah Castell",
        "Returns",
        27 * _HOUR,
        """
        < Wrong colour, can I swap it?
        > Of course, Jonah. The label is in your mail.
        < Thanks!
        """,
        assigned="noor",
    ),
    Dialogue(
        "Alba Montferrer",
        "Orders",
        2 * _DAY,
        """
        < ¿Cuándo llegan las toallas?
        > El jueves antes de las doce, Alba.
        """,
        ticks="delivered",
        assigned="diego",
    ),
    Dialogue(
        "Peter Lindqvist",
        "Returns",
        9 * _DAY,
        """
        < Two saucers were missing
        > They went out this morning, sorry Peter!
        < No harm done
        """,
        ended=True,
        assigned="noor",
    ),
    Dialogue(
        "Inés Cabanillas",
        "Workshop",
        16 * _DAY,
        """
        < ¿Podéis bordar el escudo del hotel?
        > Claro, mándanos el dibujo.
        D< Escudo-Brisa.pdf
        """,
        ended=True,
        assigned="lena",
    ),
)
