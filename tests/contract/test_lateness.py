"""The rule of lateness, `spec/lateness.json`: every history keeps the same states, and refuses the same.

Python has it in `upload_states`, Redis in Lua, and DynamoDB in part: its condition lets through only what is surely
not late, so that most states need no read.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from tellwire.engines.aws.environment import open_history_table
from tellwire.engines.aws.history import _surely_newer
from tellwire.engines.aws.history_table import NOTHING_THERE
from tellwire.entry import Entry, with_version
from tellwire.model import Target
from tellwire.parts import Part
from tellwire.ports import History
from tellwire.publication import Publication, user_stream
from tellwire.testing import FakeClock
from tellwire.upload_states import successor
from tests.dynamodb import create_history_table, local_environment, new_table_name

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parents[2] / "spec" / "lateness.json").read_text())
KEY = "upload:u1"
PARTS = (Part(1, 2, "running", 10, 100, 100),)


def state(case: dict[str, Any], which: str, user_id: str, known: Entry | None = None) -> Publication:
    fields = case[which]
    status = fields["status"]
    known_version = known.number if known else 1
    replaces = {"known": known_version, "another": known_version + 1, "none": 0, None: None}
    return Publication(
        Target(user=user_id),
        user_stream(user_id),
        f"{which}-{user_id}",
        "seen" if status is None else "upload_progress",
        b'{"type":"upload_progress"}',
        fields["publishedAt"],
        KEY,
        status,
        fields["run"],
        begins_run=fields.get("beginsRun", False),
        replaces=replaces[fields.get("replaces")],
        past_runs=fields.get("pastRuns", {}),
        parts=PARTS if fields.get("hasParts") else (),
    )


def outcome(entry: Publication | None) -> dict[str, Any]:
    if entry is None:
        return {"outcome": "late"}
    return {"outcome": "kept", "run": entry.run, "pastRuns": dict(entry.past_runs)}


def expected(case: dict[str, Any]) -> dict[str, Any]:
    return {name: case[name] for name in ("outcome", "run", "pastRuns") if name in case}


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_the_rule_has_its_cases(case: dict[str, Any]) -> None:
    known = with_version(state(case, "known", "anna"), 1000, 7) if case["known"] else None
    publication = state(case, "publication", "anna", known)
    assert outcome(successor(publication, known, 1000 + case["secondsSince"])) == expected(case)


async def test_every_history_keeps_to_the_rule(history: History, clock: FakeClock) -> None:
    wrong: list[str] = []
    for number, case in enumerate(CASES):
        user_id = f"user-{number}"
        known = await history.append(state(case, "known", user_id)) if case["known"] else None
        await clock.advance(case["secondsSince"])
        entry = await history.append(state(case, "publication", user_id, known))
        last = entry or known
        kept = await history.state(user_stream(user_id), KEY)
        if outcome(entry) != expected(case) or (kept and kept.number) != (last and last.number):
            wrong.append(f"{case['name']}: {outcome(entry)}")
    assert "\n".join(wrong) == ""


async def test_the_condition_of_dynamodb_lets_through_only_what_is_kept_unchanged(dynamodb_local: str) -> None:
    table_name = new_table_name("lateness")
    create_history_table(dynamodb_local, table_name)
    table = open_history_table(local_environment(dynamodb_local) | {"HISTORY_TABLE_NAME": table_name})
    put = 0
    try:
        for number, case in enumerate(CASES):
            user_id = f"user-{number}"
            known = with_version(state(case, "known", user_id), 1000, 7) if case["known"] else None
            if known is not None:
                await table.put_state(user_stream(user_id), known, NOTHING_THERE)
            publication = state(case, "publication", user_id, known)
            entry = with_version(publication, 1000 + case["secondsSince"], 8)
            is_put, _ = await table.put_state(user_stream(user_id), entry, _surely_newer(publication, 8))
            assert not is_put or outcome(publication) | {"outcome": "kept"} == expected(case), case["name"]
            put += is_put
    finally:
        await table.close()
    assert put >= 10, "most states of a run need no read"
