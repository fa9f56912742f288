from scripts.cases import Case, faults, load, table


def test_every_case_has_a_test_that_exists_or_a_reason() -> None:
    assert list(faults(load())) == []


def test_a_row_without_a_test_or_a_reason_is_a_fault() -> None:
    assert list(faults([Case("a", "A")])) == ["a: it needs tests or a reason, and not both"]


def test_a_row_that_names_a_test_that_is_not_there_is_a_fault() -> None:
    this = "tests/unit/scripts/test_cases.py"
    assert list(faults([Case("a", "A", "A rule", (f"{this}::test_no_such_test", "tests/nothing.py::test_x"))])) == [
        f"a: there is no test {this}::test_no_such_test",
        "a: there is no test tests/nothing.py::test_x",
    ]


def test_a_row_that_is_there_twice_or_has_no_rule_is_a_fault() -> None:
    test = "tests/unit/scripts/test_cases.py::test_a_row_that_is_there_twice_or_has_no_rule_is_a_fault"
    rows = [Case("a", "A", "A rule", (test,)), Case("a", "A", tests=(test,))]
    assert list(faults(rows)) == ["a: it is there twice", "a: it has no rule"]


def test_the_table_has_a_line_for_each_case() -> None:
    assert table([Case("a", "A", reason="Not ours")]).splitlines()[-1] == "| a | A | Not ours |"
