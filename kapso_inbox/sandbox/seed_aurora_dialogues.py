"""The conversations of the first project."""

from __future__ import annotations

from .seed_types import Dialogue

_HOUR, _DAY = 60, 24 * 60

AURORA_DIALOGUES: tuple[Dialogue, ...] = (
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
