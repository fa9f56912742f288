"""Columns of a parts list, found by their names in a row of its beginning. Pure.

Known are the exports of Rebrickable (list and inventory), BrickLink, Stud.io, LEGO Pick a Brick, LeoCAD and Brickset,
in any order and spelling (`Part Number`, `part_number`, `PART-NUMBER`), and the names in seventeen languages.

Rules:
- Part number and quantity are required, name and colour optional, other columns ignored.
- Of several columns for one thing the clearest name counts: `Part Number` before `Part`, a colour's name before its id.
  Where it is empty in a row, the next one of its kind does: a colour survives by name or by id.
- Words in brackets are no part of a name: `Qty (1,000 max)`. They may show the separator of thousands.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from examples.parts_upload.causes import shown
from examples.parts_upload.numbers import thousands_separator
from examples.parts_upload.tables.cells import clean

_MAX_SHOWN = 12
_MAX_COLUMNS = 1000

# The clearest first. As `plain_name` writes them: without spaces, signs, accents and capitals.
_PART_NUMBER: Final = (
    *("partnumber", "partno", "partnum", "partid", "blitemno", "itemno", "itemnumber", "itemid", "itemnum"),
    *("designid", "designno", "designnumber", "ldrawid", "ldrawno", "ldrawnumber", "ldrawpart", "part", "partcode"),
    *("teilenummer", "teilenr", "teileid", "teil", "teilnummer", "teilnr", "artikelnummer", "artikelnr"),
    *("numerodepiece", "numeropiece", "nopiece", "npiece", "piece", "referencepiece", "reference", "ref"),
    *("numerodepieza", "numeropieza", "nopieza", "pieza", "referencia", "numerodapeca", "numeropeca", "peca"),
    *("numeropezzo", "numerodelpezzo", "codicepezzo", "pezzo", "codice"),
    *("onderdeelnummer", "onderdeelnr", "onderdeel", "delnummer", "delnr", "artikelnummer", "numerczesci", "czesc"),
    *(
        "cislodilu",
        "dil",
        "osanumero",
        "osa",
        "alkatreszszam",
        "alkatresz",
        "parcanumarası",
        "parcanumarasi",
        "parcano",
        "parca",
    ),
    *("номердетали", "артикул", "деталь", "부품번호", "부품", "품번"),
    *("部品番号", "部品", "パーツ番号", "パーツ", "品番", "零件编号", "零件号", "零件編號", "零件號"),
    # An element is a part in one colour; LEGO's own lists have nothing else.
    *("elementid", "elementno", "elementnumber", "elementnummer", "elementnr", "element", "item"),
)
_QUANTITY: Final = (
    *("quantity", "qty", "quantityneeded", "qtyneeded", "neededquantity", "count", "amount", "minqty"),
    *("anzahl", "menge", "stuck", "stuckzahl", "benotigteanzahl", "quantite", "qte", "cantidad", "cant"),
    *("quantita", "qta", "quantidade", "qtd", "qtde", "aantal", "hoeveelheid", "antal", "antall", "ilosc", "sztuk"),
    *("mnozstvi", "pocet", "kusu", "maara", "lukumaara", "kpl", "mennyiseg", "darab", "db", "adet", "miktar"),
    *("количество", "колво", "수량", "개수", "數量"),
    # French; in Spanish it is a name.
    *("数量", "個数", "数", "pcs", "pieces", "nombre"),
)
_NAME: Final = (
    *("partname", "name", "description", "itemname", "partdescription", "itemdescription", "elementname", "title"),
    *("teilename", "bezeichnung", "beschreibung", "nom", "nomdelapiece", "designation", "nombre", "descripcion"),
    *("nome", "descrizione", "descricao", "naam", "omschrijving", "navn", "namn", "beskrivelse", "nazwa", "opis"),
    *("nazev", "popis", "nimi", "kuvaus", "nev", "megnevezes", "ad", "название", "наименование", "이름", "품명"),
    *("部品名", "名前", "品名", "名称", "名稱"),
)
_COLOUR_NAME: Final = (
    *("colour", "color", "colourname", "colorname", "blcolorname", "farbe", "farbname", "couleur", "nomdecouleur"),
    *("colore", "cor", "nomedacor", "kleur", "farve", "farg", "farge", "kolor"),
    *("barva", "vari", "szin", "renk", "цвет", "색상", "색", "色", "カラー", "颜色", "顏色"),
)
_COLOUR_ID: Final = (
    *("colorid", "colourid", "blcolorid", "blcolourid", "colorcode", "colourcode", "colorno", "colorcodebl"),
    *("ldrawcolorid", "ldrawcolourid", "ldrawcolor", "ldrawcolorcode", "legocolorid", "rebrickablecolorid"),
    *("farbid", "farbcode", "farbnummer", "farbnr", "idcouleur", "codecouleur", "idcolor", "kleurid"),
)
_COLOUR: Final = (*_COLOUR_NAME, *_COLOUR_ID)
# Where the first of these is empty, the next one names the same part.
_SAME_PART: Final = ("blitemno", "ldrawid", "elementid")

# Combining accents, as NFKD writes them.
_ACCENTS: Final = frozenset(map(chr, range(0x300, 0x370)))
_BRACKETS: Final = re.compile(r"\([^)]*\)|\[[^]]*\]")
_KNOWN_PART_NUMBERS = "Part Number, Part, Item No, BLItemNo, Design ID, Element ID, Teilenummer"
_KNOWN_QUANTITIES = "Quantity, Qty, Count, Anzahl, Quantité, Cantidad"


class Columns(NamedTuple):
    """Indexes of the columns, from 0. Of several, the first that is filled in a row counts."""

    width: int
    part_number: tuple[int, ...]
    quantity: int
    name: tuple[int, ...] = ()
    colour: tuple[int, ...] = ()
    thousands: str = ""


class BadHeader(ValueError):
    """A row that does not name the columns of a parts list. The text is for users.

    `is_near`: it names some of the required columns.
    """

    def __init__(self, text: str, *, is_near: bool = True) -> None:
        super().__init__(text)
        self.is_near = is_near


def plain_name(cell: str) -> str:
    """Return the name of a column without spaces, signs, accents, capitals and words in brackets."""
    text = _BRACKETS.sub("", clean(cell)) or cell
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    # Not those of kana, where the mark makes another letter.
    text = "".join(character for character in decomposed if character not in _ACCENTS)
    return "".join(filter(str.isalnum, unicodedata.normalize("NFC", text)))


def recognized_columns(header: Sequence[str]) -> int:
    """Return the number of recognized columns; 0 unless part number and quantity are among them."""
    names = [plain_name(cell) for cell in header[:_MAX_COLUMNS]]
    kinds = [any(name in kind for name in names) for kind in (_PART_NUMBER, _QUANTITY, _NAME, _COLOUR)]
    return sum(kinds) if kinds[0] and kinds[1] else 0


def find_columns(header: Sequence[str]) -> Columns:
    """Find the columns that a header names.

    Raises:
        BadHeader: a required column is missing, or there are two of the same name.
    """
    names = [plain_name(cell) for cell in header[:_MAX_COLUMNS]]
    quantities, part_numbers = _indexes(names, _QUANTITY), _indexes(names, _PART_NUMBER)
    if not quantities or not part_numbers:
        text = _missing(header, bool(part_numbers), bool(quantities))
        raise BadHeader(text, is_near=bool(part_numbers or quantities))
    for required in (part_numbers, quantities):
        _require_one(names, required)
    same_part = [index for index in part_numbers if names[index] in _SAME_PART]
    taken = {part_numbers[0], quantities[0]}
    return Columns(
        width=_width(header),
        part_number=tuple(same_part) if part_numbers[0] in same_part else (part_numbers[0],),
        quantity=quantities[0],
        name=tuple(index for index in _indexes(names, _NAME) if index not in taken)[:1],
        colour=tuple(_indexes(names, _COLOUR)),
        thousands=thousands_separator(header[quantities[0]]),
    )


def _indexes(names: Sequence[str], known: Iterable[str]) -> list[int]:
    """Return the columns with these names, the clearest first."""
    found = [index for name in known for index, other in enumerate(names) if other == name]
    return list(dict.fromkeys(found))


def _require_one(names: Sequence[str], indexes: Sequence[int]) -> None:
    match indexes:
        case [first, second, *_] if names[first] == names[second]:
            raise BadHeader(f"Columns {first + 1} and {second + 1} have the same name. Rename or delete one of them.")


def _width(header: Sequence[str]) -> int:
    """Return the number of columns, without empty ones at the end."""
    return max((index + 1 for index, cell in enumerate(header) if clean(cell)), default=0)


def _missing(header: Sequence[str], has_part_number: bool, has_quantity: bool) -> str:
    names = [shown(cell) for cell in header if clean(cell)]
    found = ", ".join(names[:_MAX_SHOWN]) + (", …" if len(names) > _MAX_SHOWN else "")
    if has_quantity:
        return f"There is no column for the part number among {found}. Name it, for example: {_KNOWN_PART_NUMBERS}."
    if has_part_number:
        return f"There is no column for the quantity among {found}. Name it, for example: {_KNOWN_QUANTITIES}."
    return (
        f"No row names the columns; the first one has {found or 'nothing'}. Needed are a column for the part number "
        f"({_KNOWN_PART_NUMBERS}) and one for the quantity ({_KNOWN_QUANTITIES})."
    )
