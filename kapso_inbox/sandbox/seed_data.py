"""The made-up people and conversations of the sandbox.

Every name is fictional. Telephone numbers come from ranges set aside for fiction where a country
has one (+1 202 555 01xx, +44 7700 900xxx) and look as made up as they are elsewhere.
"""

from __future__ import annotations

from typing import NamedTuple


class Contact(NamedTuple):
    """A person who writes to the business, with the telephone number in E.164."""

    name: str
    phone: str
    company: str
    email: str
    city: str
    tag: str


class Number(NamedTuple):
    """A WhatsApp number of the business."""

    name: str
    phone_number_id: int
    display: str


class Dialogue(NamedTuple):
    """A conversation.

    Attributes:
        script: one message a line, `<` from the contact and `>` from the business. Before it, `I`
            stands for an image, `A` a voice note, `D` a document, `T` a template.
        assigned: the local part of an agent's e-mail address.
        ticks: the status of the business's messages that nobody has answered.
    """

    contact: str
    number: str
    minutes_ago: int
    script: str
    unread: int = 0
    handoff: bool = False
    assigned: str = ""
    ended: bool = False
    ticks: str = "read"


class Business(NamedTuple):
    """Everything that one project consists of."""

    name: str
    prefix: str
    numbers: tuple[Number, ...]
    users: tuple[tuple[str, str, str], ...]
    contacts: tuple[Contact, ...]
    dialogues: tuple[Dialogue, ...]


#: The people of the first project, who are also in the records of the example CRM.
CONTACTS: tuple[Contact, ...] = (
    Contact(
        "Lucía Ferrer",
        "+34600555101",
        "Clínica Mirasol",
        "lucia.ferrer@mirasol.example",
        "Madrid",
        "customer",
    ),
    Contact(
        "Marcus Oyelaran",
        "+12025550114",
        "Larkspur Garden Supply",
        "marcus@larkspur.example",
        "Washington",
        "lead",
    ),
    Contact(
        "Beatriz Tavares",
        "+5511955550102",
        "Studio Onda",
        "beatriz@studioonda.example",
        "São Paulo",
        "customer",
    ),
    Contact(
        "Hannah Whitlock",
        "+447700900118",
        "Fernhill Vets",
        "hannah@fernhill.example",
        "Bristol",
        "vip",
    ),
    Contact(
        "Joaquín Ríos",
        "+525555550107",
        "Taller Ríos",
        "joaquin@tallerrios.example",
        "Ciudad de México",
        "customer",
    ),
    Contact(
        "Priya Raman",
        "+12025550162",
        "Harbor & Pine",
        "priya@harborpine.example",
        "Baltimore",
        "vip",
    ),
    Contact(
        "Andrés Quintana",
        "+34600555112",
        "Óptica Valdelagua",
        "andres@valdelagua.example",
        "Sevilla",
        "lead",
    ),
    Contact(
        "Camila Prado",
        "+5531955550119",
        "Padaria Flor de Trigo",
        "camila@flordetrigo.example",
        "Belo Horizonte",
        "customer",
    ),
    Contact(
        "Oliver Pemberton",
        "+447700900143",
        "Bluebell Languages",
        "oliver@bluebell.example",
        "Leeds",
        "customer",
    ),
    Contact(
        "Ximena Castellanos",
        "+523355550121",
        "Casa Clara Inmuebles",
        "ximena@casaclara.example",
        "Guadalajara",
        "lead",
    ),
    Contact(
        "Nuria Belmonte",
        "+34600555127",
        "Panadería La Espiga",
        "nuria@laespiga.example",
        "Valencia",
        "customer",
    ),
    Contact(
        "Thiago Moura",
        "+5548955550133",
        "Pousada Mar Manso",
        "thiago@marmanso.example",
        "Florianópolis",
        "lead",
    ),
    Contact(
        "Elena Marchetti",
        "+34600555134",
        "Clínica Mirasol",
        "elena@mirasol.example",
        "Madrid",
        "customer",
    ),
    Contact(
        "Darnell Hughes",
        "+12025550137",
        "Larkspur Garden Supply",
        "darnell@larkspur.example",
        "Arlington",
        "customer",
    ),
    Contact(
        "Rafael Lacerda",
        "+5511955550141",
        "Studio Onda",
        "rafael@studioonda.example",
        "São Paulo",
        "lead",
    ),
    Contact(
        "Grace Adeyemi",
        "+447700900156",
        "Fernhill Vets",
        "grace@fernhill.example",
        "Bath",
        "customer",
    ),
    Contact(
        "Paola Ibarra",
        "+525555550148",
        "Taller Ríos",
        "paola@tallerrios.example",
        "Puebla",
        "supplier",
    ),
    Contact(
        "Samuel Okafor",
        "+12025550179",
        "Harbor & Pine",
        "samuel@harborpine.example",
        "Baltimore",
        "customer",
    ),
    Contact(
        "Irene Solís",
        "+34600555159",
        "Óptica Valdelagua",
        "irene@valdelagua.example",
        "Huelva",
        "customer",
    ),
    Contact(
        "Letícia Furtado",
        "+5531955550164",
        "Padaria Flor de Trigo",
        "leticia@flordetrigo.example",
        "Contagem",
        "supplier",
    ),
    Contact(
        "Amelia Thornton",
        "+447700900172",
        "Bluebell Languages",
        "amelia@bluebell.example",
        "York",
        "lead",
    ),
    Contact(
        "Gustavo Arenas",
        "+523355550175",
        "Casa Clara Inmuebles",
        "gustavo@casaclara.example",
        "Zapopan",
        "customer",
    ),
    Contact(
        "Vicent Alcover",
        "+34600555183",
        "Panadería La Espiga",
        "vicent@laespiga.example",
        "Alzira",
        "supplier",
    ),
    Contact(
        "Marina Coelho",
        "+5548955550188",
        "Pousada Mar Manso",
        "marina@marmanso.example",
        "Florianópolis",
        "vip",
    ),
)

_HOUR, _DAY = 60, 24 * 60

_DIALOGUES: tuple[Dialogue, ...] = (
    Dialogue(
        "Lucía Ferrer",
        "Appointments",
        2,
        """
        T> Hola Lucía, te recordamos tu cita mañana a las 10:30 con la Dra. Vela. ¿Confirmas?
        < ¡Hola! Me ha surgido una reunión 😕
        < ¿Podríamos pasarla al jueves por la tarde?
        """,
        unread=2,
        handoff=True,
        assigned="ana",
    ),
    Dialogue(
        "Marcus Oyelaran",
        "Sales",
        6,
        """
        < Hi! Do you deliver to Arlington on Saturdays?
        > Hi Marcus, we do: between 9 and 1. Delivery is free over $80.
        < Perfect. Could you send me a quote for 40 of the cedar planters?
        > Of course, give me five minutes.
        D> Quote-2291-cedar-planters.pdf
        < Got it, thank you! Looking at it with my partner now 👍
        """,
        unread=1,
        assigned="bruno",
    ),
    Dialogue(
        "Beatriz Tavares",
        "Support",
        14,
        """
        < Oi, bom dia! O pedido 4417 chegou com uma peça quebrada
        I< Foi assim que chegou
        > Bom dia, Beatriz. Sinto muito! Já abri a troca, a peça nova sai hoje.
        > O código de rastreio chega por aqui até o fim da tarde.
        < Que rápido! Muito obrigada 💚
        > Imagina! Qualquer coisa é só chamar.
        """,
        assigned="carla",
    ),
    Dialogue(
        "Hannah Whitlock",
        "Support",
        23,
        """
        < Morning! The booking page has been showing an error since about 8
        < Clients are starting to ring us instead
        > Good morning Hannah, thank you for telling us. We can see it too and are on it.
        < Any idea how long?
        """,
        unread=1,
        handoff=True,
        assigned="ana",
    ),
    Dialogue(
        "Joaquín Ríos",
        "Sales",
        41,
        """
        < Buen día, ¿todavía tienen el compresor de 50 litros?
        > ¡Buen día, Joaquín! Sí, nos quedan dos en almacén.
        < Apárteme uno por favor, paso mañana
        > Listo, queda apartado a su nombre hasta el viernes.
        """,
        ticks="delivered",
        assigned="bruno",
    ),
    Dialogue(
        "Priya Raman",
        "Sales",
        58,
        """
        I< The alcove, 62 inches wide
        < Would the walnut shelf fit here?
        > It would, with two inches to spare each side. I can hold one for you until Friday.
        < Lovely, please do
        > Done! Your reference is HP-1180.
        """,
        assigned="bruno",
    ),
    Dialogue(
        "Andrés Quintana",
        "Appointments",
        75,
        """
        < Buenas, ¿atendéis sin cita los sábados?
        """,
        unread=1,
    ),
    Dialogue(
        "Camila Prado",
        "Sales",
        2 * _HOUR,
        """
        < Oi! Vocês fazem embalagem personalizada?
        > Oi, Camila! Fazemos, a partir de 200 unidades.
        A< 0:34
        < Te mandei um áudio com os detalhes 😊
        """,
        unread=2,
    ),
    Dialogue(
        "Oliver Pemberton",
        "Support",
        3 * _HOUR,
        """
        < Hi, I need the invoice for September with our VAT number on it
        > Hi Oliver, here it is.
        D> Invoice-0931-Bluebell.pdf
        < Brilliant, cheers
        """,
        assigned="carla",
    ),
    Dialogue(
        "Ximena Castellanos",
        "Sales",
        4 * _HOUR,
        """
        T> Hola Ximena, gracias por tu interés. ¿Te gustaría agendar una demostración esta semana?
        < Sí, el miércoles me queda bien
        > ¡Perfecto! ¿Te parece a las 11:00?
        < De 11 a 12 estoy libre ✅
        > Agendado. Te llega la invitación por correo.
        """,
        ticks="delivered",
        assigned="elena",
    ),
    Dialogue(
        "Nuria Belmonte",
        "Support",
        5 * _HOUR,
        """
        < El datáfono no conecta desde la actualización
        > Hola Nuria, ¿qué pone en la pantalla?
        I< Esto
        > Gracias. Mantén pulsado el botón verde diez segundos y vuelve a probar.
        < ¡Funciona! Sois un sol ☀️
        """,
        assigned="ana",
    ),
    Dialogue(
        "Thiago Moura",
        "Sales",
        7 * _HOUR,
        """
        < Boa tarde, quanto fica o plano anual para 3 usuários?
        > Boa tarde, Thiago! Fica R$ 189 por mês, com dois meses grátis.
        < Vou falar com meu sócio e te retorno
        > Combinado!
        """,
        assigned="elena",
    ),
    Dialogue(
        "Elena Marchetti",
        "Appointments",
        9 * _HOUR,
        """
        < Hola, ¿la primera visita tiene coste?
        > Hola Elena, la primera valoración es gratuita.
        < ¡Genial! ¿Hay hueco la semana que viene?
        > Martes 12:00 o viernes 17:30, ¿cuál te viene mejor?
        < El viernes
        > Apuntado, viernes a las 17:30 🗓️
        """,
        assigned="ana",
    ),
    Dialogue(
        "Darnell Hughes",
        "Support",
        11 * _HOUR,
        """
        < The driver left the pallet at the wrong gate
        < Can someone call me please?
        """,
        unread=2,
        handoff=True,
    ),
    Dialogue(
        "Rafael Lacerda",
        "Sales",
        20 * _HOUR,
        """
        < Vi o anúncio de vocês, ainda tem a promoção?
        > Oi, Rafael! Vai até domingo: 20% em todos os planos.
        """,
        ticks="delivered",
    ),
    Dialogue(
        "Grace Adeyemi",
        "Appointments",
        26 * _HOUR,
        """
        T> Hi Grace, Biscuit is due for a check-up. Shall we find a time?
        < Yes please! Mornings are best
        > How about Monday at 9:15?
        < Perfect, see you then 🐕
        """,
        assigned="carla",
    ),
    Dialogue(
        "Paola Ibarra",
        "Support",
        28 * _HOUR,
        """
        < Les mandé la factura del embarque, ¿la recibieron?
        D< Factura-A2207.pdf
        > Recibida, Paola. El pago sale el lunes.
        """,
        assigned="bruno",
    ),
    Dialogue(
        "Samuel Okafor",
        "Support",
        31 * _HOUR,
        """
        < One of the drawer runners is bent
        I< Left side
        > Sorry about that, Samuel! A new pair is on its way, no need to send the old one back.
        < That was easy. Thanks!
        """,
        assigned="carla",
    ),
    Dialogue(
        "Irene Solís",
        "Appointments",
        2 * _DAY + 90,
        """
        < ¿Puedo cambiar la revisión al día 18?
        > Claro, Irene. ¿Por la mañana o por la tarde?
        < Por la tarde, a partir de las cinco
        """,
        unread=1,
        assigned="ana",
    ),
    Dialogue(
        "Letícia Furtado",
        "Sales",
        2 * _DAY + 300,
        """
        < A farinha da próxima entrega já está separada
        > Ótimo, Letícia! Pode trazer na quinta cedo?
        < Posso sim, às 7h
        """,
        assigned="bruno",
    ),
    Dialogue(
        "Amelia Thornton",
        "Sales",
        3 * _DAY,
        """
        < Hello, is there a discount for schools?
        > Hello Amelia! There is: 15% for the whole school year.
        < Wonderful, could you put that in writing for our bursar?
        D> Offer-for-schools.pdf
        """,
        ticks="delivered",
        assigned="elena",
    ),
    Dialogue(
        "Gustavo Arenas",
        "Support",
        3 * _DAY + 200,
        """
        < No me llega el código para entrar
        > Hola Gustavo, lo reenviamos ahora mismo. ¿Sigue siendo este número?
        < Sí, este mismo
        > Enviado. Caduca en diez minutos.
        """,
        ticks="failed",
        handoff=True,
    ),
    Dialogue(
        "Vicent Alcover",
        "Sales",
        4 * _DAY,
        """
        < Bon dia! Les caixes noves ja estan a punt
        > Bon dia, Vicent! Passem a buscar-les dilluns.
        < Perfecte 👌
        """,
        assigned="bruno",
    ),
    Dialogue(
        "Marina Coelho",
        "Appointments",
        5 * _DAY,
        """
        < Preciso remarcar a visita técnica
        > Sem problema, Marina. Quinta às 14h?
        < Fechado!
        """,
        assigned="carla",
    ),
    Dialogue(
        "Hannah Whitlock",
        "Sales",
        6 * _DAY,
        """
        < Could you add a fourth seat to our plan?
        > Added! It will be on the next invoice.
        < Thank you 🙌
        """,
        ended=True,
        assigned="elena",
    ),
    Dialogue(
        "Joaquín Ríos",
        "Support",
        7 * _DAY,
        """
        < ¿A qué hora cierran hoy?
        > A las siete, Joaquín.
        < Gracias
        """,
        ended=True,
    ),
    Dialogue(
        "Priya Raman",
        "Support",
        8 * _DAY,
        """
        < My login link has expired
        > Here is a new one in your mail, Priya. It works for an hour.
        < I'm in. Thanks!
        """,
        ended=True,
        assigned="ana",
    ),
    Dialogue(
        "Beatriz Tavares",
        "Sales",
        9 * _DAY,
        """
        T> Olá, Beatriz! O seu pedido 4417 foi enviado 📦
        < Obrigada!
        """,
        ended=True,
    ),
    Dialogue(
        "Oliver Pemberton",
        "Appointments",
        11 * _DAY,
        """
        < Running ten minutes late, sorry!
        > No problem at all, see you soon.
        """,
        ended=True,
        assigned="carla",
    ),
    Dialogue(
        "Nuria Belmonte",
        "Sales",
        12 * _DAY,
        """
        < ¿Cuánto cuesta el segundo terminal?
        > 12 € al mes, sin permanencia.
        < Me lo pienso y os digo
        """,
        ended=True,
    ),
    Dialogue(
        "Marcus Oyelaran",
        "Support",
        15 * _DAY,
        """
        < The hose fitting leaks a little
        I< Here
        > Try the spare washer taped inside the lid, Marcus.
        < Sorted. Didn't see it there!
        """,
        ended=True,
        assigned="ana",
    ),
    Dialogue(
        "Camila Prado",
        "Support",
        17 * _DAY,
        """
        < Mudamos de endereço, onde atualizo?
        > Já atualizei para você, Camila.
        < Perfeito, obrigada
        """,
        ended=True,
        assigned="carla",
    ),
    Dialogue(
        "Lucía Ferrer",
        "Support",
        19 * _DAY,
        """
        < ¿Me podéis enviar el justificante?
        D> Justificante-Ferrer.pdf
        < Recibido, gracias
        """,
        ended=True,
        assigned="ana",
    ),
    Dialogue(
        "Samuel Okafor",
        "Sales",
        22 * _DAY,
        """
        < Is the oak desk back in stock?
        > Next Tuesday, Samuel. Shall I put your name on one?
        < Yes please
        """,
        ended=True,
        assigned="bruno",
    ),
    Dialogue(
        "Grace Adeyemi",
        "Support",
        26 * _DAY,
        """
        < How do I download last year's records?
        > Settings, then Export. I have started it for you.
        < You're a star ⭐
        """,
        ended=True,
    ),
    Dialogue(
        "Thiago Moura",
        "Appointments",
        30 * _DAY,
        """
        T> Olá, Thiago! Sua demonstração é amanhã às 15h.
        < Estarei lá
        """,
        ended=True,
        assigned="elena",
    ),
)

_SHOP_CONTACTS: tuple[Contact, ...] = (
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

_SHOP_DIALOGUES: tuple[Dialogue, ...] = (
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
        ),
        contacts=CONTACTS,
        dialogues=_DIALOGUES,
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
        contacts=_SHOP_CONTACTS,
        dialogues=_SHOP_DIALOGUES,
    ),
)
"""The first and the second project."""
