"""The messages to the user at the end of an upload."""

import pytest

from examples.parts_upload.csv_worker import ROWS
from examples.parts_upload.image_worker import IMAGES
from examples.parts_upload.report import NAMED_PER_CAUSE, Report
from tellwire.messages import ErrorMessage, NotificationMessage, encode_message


def test_an_upload_without_bad_rows_ends_with_one_notification() -> None:
    (notification,) = Report(ROWS, kept=10_000).messages("moc-1", "parts.csv")
    assert isinstance(notification, NotificationMessage)
    assert notification.data.message == "parts.csv: 10,000 parts imported"
    assert notification.data.severity == "success"


def test_bad_rows_are_grouped_by_cause_the_most_frequent_first() -> None:
    report = Report(ROWS, kept=97)
    report.skip(4, "BAD_QUANTITY")
    report.skip(7, "MALFORMED")
    report.skip(9, "MALFORMED")
    error, notification = report.messages("moc-1", "parts.csv")
    assert isinstance(error, ErrorMessage)
    assert (error.data.code, error.data.message) == ("BAD_ROWS", "3 of 100 rows were left out")
    assert error.data.details == {
        "uploadId": "moc-1",
        "fileName": "parts.csv",
        "leftOut": 3,
        "total": 100,
        "causes": [
            {
                "cause": "MALFORMED",
                "reason": "its quotes do not match",
                "count": 2,
                "rows": [7, 9],
                "more": False,
            },
            {
                "cause": "BAD_QUANTITY",
                "reason": "its quantity is not a whole number, 0 or more",
                "count": 1,
                "rows": [4],
                "more": False,
            },
        ],
    }
    assert isinstance(notification, NotificationMessage)
    assert notification.data.severity == "warning"


def test_a_million_bad_rows_are_all_counted_and_the_first_twenty_named() -> None:
    report = Report(ROWS)
    for row in range(2, 1_000_002):
        report.skip(row, "BAD_ENCODING")
    error = report.messages("moc-1", "parts.csv")[0]
    assert isinstance(error, ErrorMessage)
    (cause,) = error.data.details["causes"]
    assert cause["count"] == 1_000_000
    assert cause["rows"] == list(range(2, 2 + NAMED_PER_CAUSE))
    assert cause["more"] is True
    assert len(encode_message(error)) < 1000


@pytest.mark.parametrize(
    ("kept", "left_out", "summary"),
    [
        (0, 0, "0 parts imported"),
        (1, 0, "1 part imported"),
        (1, 1, "1 part imported, 1 row left out"),
        (9_988, 12, "9,988 parts imported, 12 rows left out"),
    ],
)
def test_the_summary_counts_like_a_person(kept: int, left_out: int, summary: str) -> None:
    report = Report(ROWS, kept=kept)
    for row in range(left_out):
        report.skip(row, "MALFORMED")
    assert report.summary == summary
    assert report.total == kept + left_out


def test_one_left_out_is_singular() -> None:
    report = Report(IMAGES, kept=5)
    report.skip("a.png", "NOT_AN_IMAGE")
    error = report.messages("moc-1", "images")[0]
    assert isinstance(error, ErrorMessage)
    assert error.data.message == "1 of 6 images was left out"
    assert error.data.details["causes"][0]["images"] == ["a.png"]


def test_nothing_at_all_is_a_warning() -> None:
    (notification,) = Report(ROWS).messages("moc-1", "parts.csv")
    assert isinstance(notification, NotificationMessage)
    assert notification.data.severity == "warning"
