"""The check of summary lines and old words."""

from pathlib import Path

import pytest

from scripts import check_words
from scripts.check_words import check_python, check_typescript, main


@pytest.mark.parametrize(
    "summary",
    [
        "What was said to users, kept so that it can be said again.",
        "Who waits for an answer.",
        "Where the database is.",
        "How long a client waits.",
        "When the lease ends, in epoch seconds.",
        "Why a connection was closed.",
        "Whether everything passes.",
        "Return what is to be said.",
        "Return how many connections are open.",
        "Yield what follows.",
        "Take note of what came.",
        "Take note that so many rows are stored.",
        "Let the invocations that run end.",
        "Wait a little, lest it arrive twice.",
    ],
)
def test_a_summary_line_that_names_nothing_is_refused(summary: str) -> None:
    python = f'class Thing:\n    """{summary}\n\n    More.\n    """\n'
    typescript = f"const a = 1;\n/**\n * {summary}\n */\nconst b = 2;\n"
    assert {found.sentence for found in check_python(python)} == {summary}
    assert summary in [found.sentence for found in check_typescript(typescript)]


@pytest.mark.parametrize(
    "summary",
    [
        "Per-user message history in one SQLite file.",
        "Return the number of open connections.",
        "Return whether the policy allows an action.",
        "Called when a connection closes.",
        "A user who left the topic.",
        'The answer to "what is new?".',
        "A `what` in code is code.",
        "Whatsoever is another word, and so is somewhat.",
        "Lettuce.",
    ],
)
def test_a_summary_line_that_names_the_thing_passes(summary: str) -> None:
    assert list(check_python(f"def f():\n    '''{summary}'''\n")) == []
    assert list(check_typescript(f"/** {summary} */\n")) == []


def test_summary_lines_of_modules_functions_constants_and_fields_are_read() -> None:
    source = '''"""What a module is for."""

LIMIT = 1
"""What a limit is."""


class Options:
    """Options."""

    wait: float = 1.0
    """How long to wait."""

    async def run(self) -> None:
        """What runs."""
        "What stands alone is no docstring."
        text = "what"
'''
    assert [found.line for found in sorted(check_python(source))] == [1, 4, 11, 14]


def test_only_the_first_line_is_a_summary() -> None:
    assert list(check_python('"""A module.\n\nWhat follows may ask.\n"""\n')) == []
    assert list(check_typescript("/**\n * A module.\n * What follows may ask.\n */\n// What is this?\n")) == []


def test_the_first_comment_of_a_typescript_file_is_a_summary() -> None:
    assert [found.line for found in check_typescript("// What this file is for.\n// What else.\n")] == [1]
    assert [found.line for found in check_typescript("import x from 'y';\n// What else.\n")] == []


def test_old_words_are_refused_in_every_comment() -> None:
    assert [found.line for found in check_python("a = 1\nb = 2  # waits for ever\n")] == [2]
    assert [found.line for found in check_python('"""One.\n\nTwo.\nThree, lest four.\n"""\n')] == [4]
    assert [found.line for found in check_typescript("/** One. */\n// Two, lest three.\n")] == [2]
    assert list(check_python('TEXT = "for ever"\n')) == []


def test_findings_are_printed_with_file_line_sentence_and_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check_words, "ROOT", tmp_path)
    file = tmp_path / "bench" / "fast.py"
    file.parent.mkdir()
    file.write_text('"""What is fast."""\n')
    assert main([]) == 1
    out = capsys.readouterr().out
    assert out.startswith("bench/fast.py:1: What is fast.\n    begins with a question word")


def test_only_the_places_that_are_asked_for_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_words, "ROOT", tmp_path)
    file = tmp_path / "bench" / "fast.py"
    file.parent.mkdir()
    file.write_text('"""What is fast."""\n')
    (tmp_path / "src").mkdir()
    assert main([str(tmp_path / "src")]) == 0
    assert main([str(file.parent)]) == 1
    assert main([str(file)]) == 1


def test_the_project_passes() -> None:
    assert main([]) == 0
