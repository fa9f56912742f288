"""Headers of parts lists: the exports that builders have, in many languages."""

import pytest

from examples.parts_upload.headers import BadHeader, Columns, find_columns, plain_name, recognized_columns


def named(header: list[str]) -> tuple[list[str], str, list[str], list[str]]:
    """Return the names of the part numbers, the quantity, the names and the colours that were found."""
    columns = find_columns(header)
    return (
        [header[index] for index in columns.part_number],
        header[columns.quantity],
        [header[index] for index in columns.name],
        [header[index] for index in columns.colour],
    )


@pytest.mark.parametrize(
    ("header", "part_number", "quantity", "name", "colour"),
    [
        ("part_number,name,colour,quantity", "part_number", "quantity", "name", "colour"),
        ("PART-NO.,Description,COLOUR, Quantity ", "PART-NO.", " Quantity ", "Description", "COLOUR"),
        ("Quantity,Price,Part", "Part", "Quantity", "", ""),
        ("Part,Part number,Qty", "Part number", "Qty", "", ""),
        # Stud.io
        (
            "BLItemNo,ElementId,LdrawId,PartName,BLColorId,LDrawColorId,ColorName,ColorCategory,Qty,Weight",
            "BLItemNo,LdrawId,ElementId",
            "Qty",
            "PartName",
            "ColorName,BLColorId,LDrawColorId",
        ),
        # Rebrickable: a list, an inventory of the downloads
        ("Part,Color,Quantity,Is Spare", "Part", "Quantity", "", "Color"),
        ("inventory_id,part_num,color_id,quantity,is_spare,img_url", "part_num", "quantity", "", "color_id"),
        # LEGO Pick a Brick
        ("elementId,quantity", "elementId", "quantity", "", ""),
        # LeoCAD
        ("Part Name,Color,Quantity,Part ID,Color Code", "Part ID", "Quantity", "Part Name", "Color,Color Code"),
        # Brickset
        (
            "SetNumber,PartID,Quantity,Colour,Category,DesignID,PartName,ImageURL,SetCount",
            "PartID",
            "Quantity",
            "PartName",
            "Colour",
        ),
        # BrickLink
        ("Type,Item No,Item Name,Qty,Color ID,Extra?", "Item No", "Qty", "Item Name", "Color ID"),
        ("Item Number,Description,Color,Quantity Needed", "Item Number", "Quantity Needed", "Description", "Color"),
        ("Design ID,Colour,Count", "Design ID", "Count", "", "Colour"),
        # Languages
        ("Teilenummer,Farbe,Anzahl,Bezeichnung", "Teilenummer", "Anzahl", "Bezeichnung", "Farbe"),
        ("Teile-Nr.,Farbe,Stück", "Teile-Nr.", "Stück", "", "Farbe"),
        ("Numéro de pièce,Désignation,Couleur,Quantité", "Numéro de pièce", "Quantité", "Désignation", "Couleur"),
        ("Référence,Nom,Couleur,Qté", "Référence", "Qté", "Nom", "Couleur"),
        ("Número de pieza,Nombre,Color,Cantidad", "Número de pieza", "Cantidad", "Nombre", "Color"),
        ("Codice,Descrizione,Colore,Quantità", "Codice", "Quantità", "Descrizione", "Colore"),
        ("Onderdeelnummer,Naam,Kleur,Aantal", "Onderdeelnummer", "Aantal", "Naam", "Kleur"),
        ("Número da peça,Nome,Cor,Quantidade", "Número da peça", "Quantidade", "Nome", "Cor"),
        ("Numer części,Nazwa,Kolor,Ilość", "Numer części", "Ilość", "Nazwa", "Kolor"),
        ("部品番号,名前,色,数量", "部品番号", "数量", "名前", "色"),
        ("パーツ番号,カラー,個数", "パーツ番号", "個数", "", "カラー"),
        ("Artikelnummer,Färg,Antal", "Artikelnummer", "Antal", "", "Färg"),
        ("Číslo dílu,Název,Barva,Množství", "Číslo dílu", "Množství", "Název", "Barva"),
        ("Osanumero,Nimi,Väri,Määrä", "Osanumero", "Määrä", "Nimi", "Väri"),
        ("Alkatrész,Név,Szín,Mennyiség", "Alkatrész", "Mennyiség", "Név", "Szín"),
        ("Parça numarası,Ad,Renk,Adet", "Parça numarası", "Adet", "Ad", "Renk"),
        ("Номер детали,Название,Цвет,Кол-во", "Номер детали", "Кол-во", "Название", "Цвет"),
        ("부품번호,이름,색상,수량", "부품번호", "수량", "이름", "색상"),
        ("零件編號,名稱,顏色,數量", "零件編號", "數量", "名稱", "顏色"),
    ],
)
def test_columns_are_found_in_any_order_spelling_and_language(
    header: str, part_number: str, quantity: str, name: str, colour: str
) -> None:
    cells = header.split(",")
    found = named(cells)
    assert ",".join(found[0]) == part_number
    assert found[1] == quantity
    assert ",".join(found[2]) == name
    assert ",".join(found[3]) == colour
    assert recognized_columns(cells) == 2 + bool(name) + bool(colour)


def test_an_empty_part_number_of_studio_is_found_in_the_next_column_of_its_kind() -> None:
    assert find_columns(["BLItemNo", "ElementId", "LdrawId", "Qty"]).part_number == (0, 2, 1)


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        (["name", "quantity"], "no column for the part number among “name”, “quantity”.*Part Number"),
        (["part number", "x"], "no column for the quantity among “part number”, “x”.*Qty"),
        (
            ["3001", "Brick", "Red", "4"],
            "No row names the columns; the first one has “3001”, “Brick”.*Part Number.*Qty",
        ),
        ([], "No row names the columns; the first one has nothing"),
    ],
)
def test_a_refusal_says_what_was_found_what_is_missing_and_what_would_do(header: list[str], problem: str) -> None:
    with pytest.raises(BadHeader, match=problem):
        find_columns(header)
    assert recognized_columns(header) == 0


def test_a_refusal_of_a_wide_row_is_short() -> None:
    with pytest.raises(BadHeader) as refused:
        find_columns(["x" * 1000] * 1000)
    assert len(str(refused.value)) < 1000


def test_a_required_column_named_twice_is_refused() -> None:
    with pytest.raises(BadHeader, match="Columns 2 and 3 have the same name"):
        find_columns(["part", "quantity", "Quantity"])


def test_an_optional_column_named_twice_is_fine() -> None:
    assert find_columns(["Part", "Color", "Color", "Quantity"]).colour == (1, 2)


def test_empty_columns_at_the_end_of_a_header_do_not_count() -> None:
    assert find_columns(["Part", "Qty", "", " "]) == Columns(2, (0,), 1)


def test_a_header_shows_the_separator_of_thousands() -> None:
    assert find_columns(["Part", "Qty (1,000 max)"]).thousands == ","
    assert find_columns(["Part", "Qty"]).thousands == ""


def test_a_name_is_compared_without_accents_signs_and_capitals() -> None:
    assert plain_name("\ufeff Quantité_(max. 5) ") == "quantite"
    assert plain_name("ＱＴＹ") == "qty"
    assert plain_name("パーツ") == "パーツ"
