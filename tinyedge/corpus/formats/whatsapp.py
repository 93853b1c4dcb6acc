"""WhatsApp's export of a chat: the messages without dates, names, notices and omitted media.

In: the lines of a text file. Out: whether they are an export, and its messages, an empty string after each.
The formats of Android and iOS are recognized in any language, because only digits and marks are compared.
Names are left out: they are personal data, and a message does not need one. Does not open files.
"""

import re
from collections.abc import Iterable, Iterator

from tinyedge.corpus.read_notes import ReadNotes

SAMPLE_LINES = 60
MIN_HEADS = 2  # messages with a sender in the sample,
MIN_HEAD_SHARE = 0.2  # and this share of its lines

_MARKS = "[\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]*"
_SEPARATOR = "\u200f?[./-]\\s?"  # with a mark in Arabic and Hebrew
_DAY_FIRST = rf"\d{{1,2}}{_SEPARATOR}\d{{1,2}}{_SEPARATOR}(?:\d{{4}}|\d{{2}})"
_DATE = rf"(?:{_DAY_FIRST}|\d{{4}}(?:{_SEPARATOR}\d{{1,2}}){{2}})\.?"
_HALF = r"(?:[^\W\d_]{1,3}\.?\s?(?:[^\W\d_]{1,5}\.?)?)"  # AM, p. m., 上午
_TIME = rf"(?:{_HALF}\s?)?\d{{1,2}}[:.]\d{{2}}(?:[:.]\d{{2}})?(?:\s?{_HALF})?"
_MOMENT = rf"{_DATE}[,،]?\s+(?:[^\W\d_]{{1,3}}\s)?{_TIME}"
# iOS: "[31/12/23, 21:41:05] "; Android: "12/31/23, 9:41 PM - "; old iOS: "31/12/23, 21:41:05: ".
_HEAD = re.compile(rf"{_MARKS}(?:\[{_MOMENT}\]\s|{_MOMENT}\s?(?:\s[-–—]\s|:\s))")
_SENDER = re.compile(r"[^:\n\"“„«]{1,100}?:(?:\s|$)")  # a notice quotes the name of a group
_OMITTED = re.compile(r"<[^<>]{3,60}>|\S.{0,200}\.\w{2,5} \([^()]{3,40}\)|null")
_EDITED = re.compile("\\s*\u200e?<[^<>]{8,60}>$")
_NOTICE = re.compile(
    # What iOS marks with U+200E, where an editor has removed the mark.
    r"(?:image|video|audio|sticker|gif|document|contact card|video note) omitted"
    r"|(?:imagen|video|audio|sticker|gif|documento|tarjeta de contacto) omitid[oa]"
    r"|(?:bild|video|audio|sticker|gif|dokument|kontaktkarte) weggelassen"
    r"|(?:image|vidéo|audio|sticker|gif|document|fiche contact) (?:absente?|omise?)"
    r"|(?:immagine|video|audio|sticker|gif|documento|scheda contatto) omess[oa]"
    r"|(?:imagem|vídeo|áudio|figurinha|gif|documento|cartão do contato)"
    r" (?:ocultad[oa]|omitid[oa]|não revelad[oa])"
    r"|(?:afbeelding|video|audio|sticker|gif|document|contactkaart) weggelaten"
    # Deleted messages and missed calls.
    r"|(?:you deleted this message|this message was deleted)(?: by admin .*)?"
    r"|eliminaste este mensaje|se eliminó este mensaje|este mensaje fue eliminado"
    r"|du hast diese nachricht gelöscht|diese nachricht wurde gelöscht"
    r"|vous avez supprimé ce message|ce message a été supprimé"
    r"|hai eliminato questo messaggio|questo messaggio è stato eliminato"
    r"|(?:você )?apag(?:ou|aste) esta mensagem|esta mensagem foi apagada|mensagem apagada"
    r"|u hebt dit bericht verwijderd|je hebt dit bericht verwijderd|dit bericht (?:is|werd) verwijderd"
    r"|waiting for this message\..*|esperando (?:el|este) mensaje\..*|warte auf diese nachricht\..*"
    r"|missed (?:group )?(?:voice|video) call.*"
    r"|llamada (?:de voz |de video )?perdida.*|videollamada perdida.*"
    r"|verpasster? (?:sprach|video)?anruf.*"
    r"|(?:sprach|video)?anruf verpasst.*|appel (?:vocal |vidéo )?manqué.*"
    r"|(?:video)?chiamata (?:vocale )?persa.*|(?:chamada|ligação) de (?:voz|vídeo) perdida.*"
    r"|gemiste (?:spraak|video)?oproep.*"
    r"|.*(?:end-to-end encrypted|cifrado de extremo a extremo|ende-zu-ende-verschlüsselt"
    r"|chiffrés de bout en bout|crittografia end-to-end|criptografia de ponta a ponta).*",
    re.IGNORECASE,
)
_DIRECTION = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def is_chat(sample: list[str]) -> bool:
    """Whether lines are the start of an export."""
    filled = [line for line in sample if line.strip()]
    if not filled or not _HEAD.match(filled[0]):
        return False
    heads = sum(bool((head := _HEAD.match(line)) and _SENDER.match(line, head.end())) for line in filled)
    return heads >= max(MIN_HEADS, MIN_HEAD_SHARE * len(filled))


def read_messages(lines: Iterable[str], notes: ReadNotes) -> Iterator[str]:
    """Yield the messages of an export, an empty string after each."""
    message: list[str] = []
    for line in lines:
        head = _HEAD.match(line)
        if not head:
            message.append(line)
            continue
        yield from _clean_message(message, notes)
        sender = _SENDER.match(line, head.end())
        if sender:
            message = [line[sender.end() :]]
        else:
            notes.count("notices")
            message = []
    yield from _clean_message(message, notes)


def _clean_message(lines: list[str], notes: ReadNotes) -> Iterator[str]:
    """Yield the lines of a message, then an empty string; nothing for a notice."""
    if not lines:
        return
    # U+200E at the start is the mark of iOS for what nobody wrote: media, calls, deletions.
    is_marked = lines[0].lstrip(" ").startswith("\u200e")
    texts = [_DIRECTION.sub("", line).strip() for line in lines]
    # A caption may follow an omitted picture.
    if is_marked or _OMITTED.fullmatch(texts[0]) or _NOTICE.fullmatch(texts[0].rstrip(". ")):
        notes.count("omitted_media" if _OMITTED.fullmatch(texts[0]) or "omit" in texts[0] else "notices")
        texts = texts[1:]
    elif _EDITED.search(lines[-1]) and _EDITED.sub("", texts[-1]):
        notes.count("edit_marks")
        texts[-1] = _EDITED.sub("", texts[-1])
    texts = [text for text in texts if text]
    if texts:
        notes.count("messages")
        yield from (*texts, "")
