"""Sample data: always the same, and created once."""

from pathlib import Path

from examples.parts_upload.headers import recognized_columns
from examples.parts_upload.make_samples import make_samples
from examples.parts_upload.tables.csv_rows import CsvRows


def test_samples_are_the_same_bytes_wherever_they_are_made(tmp_path: Path) -> None:
    one, other = make_samples(tmp_path / "one", 1000), make_samples(tmp_path / "other", 1000)
    for path, twin in zip((one.parts_list, *one.images), (other.parts_list, *other.images), strict=True):
        assert path.read_bytes() == twin.read_bytes()


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    samples = make_samples(tmp_path, 10)
    samples.parts_list.write_text("mine")
    assert make_samples(tmp_path, 10).parts_list.read_text() == "mine"


def test_nothing_unfinished_stays_behind(tmp_path: Path) -> None:
    samples = make_samples(tmp_path, 10)
    assert {samples.parts_list, *samples.images} == set(tmp_path.iterdir())


def test_the_list_has_as_many_rows_as_asked_for(tmp_path: Path) -> None:
    for rows in (0, 1, 13, 500):
        with make_samples(tmp_path, rows).parts_list.open("rb") as file:
            numbered = CsvRows(file, recognized_columns)
            assert len(list(numbered)) == rows + 1
