"""Tracked tasks, run eagerly: the upload that each of them is, and its attempts."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery, group, shared_task
from celery.exceptions import Ignore, Reject, Retry, SoftTimeLimitExceeded

from tellwire.broadcast import Broadcaster, use_broadcaster
from tellwire.broker import BrokerCarrier, ComposedBroker
from tellwire.celery import in_parts, tracked
from tellwire.engines.memory.history import MemoryHistory
from tellwire.errors import ConfigError, InvalidMessage, UploadCancelled, UploadFailed, UploadWillRetry
from tellwire.limits import RETRY_GRACE_SECONDS
from tellwire.sync import Upload
from tellwire.testing import FakeClock, MemoryCarrier

app = Celery("imports", set_as_current=False)
OF_USER: dict[str, Any] = {"user": "user_id", "upload_id": "upload_id", "file_name": "path"}


@pytest.fixture
def carrier() -> Iterator[MemoryCarrier]:
    carrier = MemoryCarrier()
    broker = ComposedBroker(MemoryHistory(FakeClock()), carrier)
    with use_broadcaster(Broadcaster(BrokerCarrier(broker, carrier))):
        yield carrier


def task(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Make a task of the test's own, under any name."""

    def make(function: Callable[..., Any]) -> Any:
        return Celery("imports").task(default_retry_delay=0, shared=False, **options)(function)

    return make


def states(carrier: MemoryCarrier) -> list[dict[str, Any]]:
    return [message["data"] for message in carrier.sent_to("user-1") if message["type"] == "upload_progress"]


def statuses(carrier: MemoryCarrier) -> list[str]:
    """The statuses in order, without repetition."""
    found = [state["status"] for state in states(carrier)]
    return [each for at, each in enumerate(found) if at == 0 or found[at - 1] != each]


def errors(carrier: MemoryCarrier) -> list[str]:
    return [message["data"]["code"] for message in carrier.sent_to("user-1") if message["type"] == "error"]


# --- which upload -----------------------------------------------------------------------------------------------------


def test_a_task_counts_on_the_upload_that_its_arguments_name(carrier: MemoryCarrier) -> None:
    @task()
    @tracked(**OF_USER, total_rows=lambda arguments: arguments["rows"])
    def import_parts(user_id: str, upload_id: str, path: str, rows: int, *, upload: Upload) -> int:
        return sum(1 for _ in upload.count(range(rows)))

    result = import_parts.apply(("user-1", "moc-1"), {"path": "parts.csv", "rows": 4})
    assert result.get() == 4
    last = states(carrier)[-1]
    assert (last["uploadId"], last["fileName"], last["totalRows"]) == ("moc-1", "parts.csv", 4)
    assert statuses(carrier) == ["running", "complete"]


def test_by_default_the_upload_is_the_task_and_has_its_words(carrier: MemoryCarrier) -> None:
    @task(bind=True)
    @tracked(user=lambda arguments: f"user-{arguments['number']}")
    def import_all_parts(self: Any, number: int, upload: Upload) -> None:
        upload.update(rows=3, total_rows=12)

    result = import_all_parts.apply((1,))
    first, last = states(carrier)[0], states(carrier)[-1]
    assert (first["uploadId"], first["run"], first["fileName"]) == (result.id, result.id, "import all parts")
    assert last["currentRow"] == 3


def test_a_shared_task_without_an_upload_parameter_is_shown_too(carrier: MemoryCarrier) -> None:
    @shared_task(name="tidy")
    @tracked(user="user_id")
    def tidy(user_id: str = "user-1", **_: object) -> str:
        return "done"

    assert tidy.apply(kwargs={"other": 1}).get() == "done"
    assert statuses(carrier) == ["running", "complete"]


def test_a_task_that_is_called_as_a_function_is_an_upload_of_its_own(carrier: MemoryCarrier) -> None:
    @task(bind=True, autoretry_for=(ValueError,))
    @tracked(user="user_id")
    def import_parts(self: Any, user_id: str) -> None:
        raise ValueError

    with pytest.raises(ValueError):
        import_parts("user-1")
    assert statuses(carrier) == ["running", "failed"]


def test_whoever_calls_the_task_does_not_give_the_upload(carrier: MemoryCarrier) -> None:
    @task()
    @tracked(user="user_id")
    def import_parts(user_id: str, path: str, upload: Upload) -> None: ...

    assert [name for name in inspect.signature(import_parts.run).parameters if name != "tellwire_part"] == [
        "user_id",
        "path",
    ]
    with pytest.raises(TypeError, match="path"):
        import_parts.delay("user-1")


def test_a_name_that_is_no_argument_is_refused_when_the_task_is_made() -> None:
    with pytest.raises(ConfigError, match=r"tracked\(user=…\): got 'usr'; allowed: a parameter of .*user_id, path"):

        @tracked(user="usr")
        def import_parts(user_id: str, path: str, upload: Upload) -> None: ...


def test_above_the_task_it_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"put @tracked below @app\.task"):

        @tracked(user="user_id")
        @app.task(shared=False)
        def import_parts(user_id: str) -> None: ...


# --- attempts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("failures", "codes"), [(2, []), (3, ["UPLOAD_FAILED"])])
@pytest.mark.parametrize("way", ["autoretry", "self.retry"])
def test_attempts_are_one_upload_with_an_error_for_the_last_one_alone(
    carrier: MemoryCarrier, way: str, failures: int, codes: list[str]
) -> None:
    attempts = []

    def work() -> None:
        attempts.append(1)
        if len(attempts) <= failures:
            raise ConnectionError("secret")

    @task(autoretry_for=(ConnectionError,), max_retries=2)
    @tracked(**OF_USER)
    def by_itself(user_id: str, upload_id: str, path: str) -> None:
        work()

    @task(bind=True, max_retries=2)
    @tracked(**OF_USER)
    def by_retry(self: Any, user_id: str, upload_id: str, path: str) -> None:
        try:
            work()
        except ConnectionError as error:
            raise self.retry(exc=error) from error

    result = (by_itself if way == "autoretry" else by_retry).apply(("user-1", "moc-1", "f.csv"))
    assert result.successful() is not bool(codes)
    assert statuses(carrier) == [*["running", "retrying"] * 2, "running", "failed" if codes else "complete"]
    assert errors(carrier) == codes
    assert {state["run"] for state in states(carrier)} == {result.id}


@pytest.mark.parametrize(
    ("error", "options", "status", "seconds"),
    [
        (ConnectionError(), {"autoretry_for": (OSError,), "retry_backoff": 30}, "retrying", 30),
        (ConnectionError(), {"autoretry_for": (OSError,), "retry_kwargs": {"countdown": 7}}, "retrying", 7),
        (ConnectionError(), {"autoretry_for": (OSError,), "retry_kwargs": {"max_retries": 0}}, "failed", None),
        (ConnectionError(), {"autoretry_for": (OSError,), "dont_autoretry_for": (ConnectionError,)}, "failed", None),
        (ValueError(), {"autoretry_for": (OSError,)}, "failed", None),
        (Retry(when=20), {}, "retrying", 20),
        (Reject(requeue=True), {}, "retrying", None),
        (Reject(requeue=False), {}, "failed", None),
        (Ignore("nothing to do"), {}, "cancelled", None),
        (Ignore("Replaced by new task"), {}, "retrying", None),
    ],
)
def test_the_end_of_an_attempt_is_the_one_that_celery_makes_of_it(
    carrier: MemoryCarrier, error: Exception, options: dict[str, Any], status: str, seconds: float | None
) -> None:
    seen: list[dict[str, Any]] = []

    @task(**options)
    @tracked(**OF_USER)
    def import_parts(user_id: str, upload_id: str, path: str) -> None:
        if states(carrier) and states(carrier)[-1]["status"] != "running":
            return  # the next attempt
        raise error

    import_parts.apply(("user-1", "moc-1", "f.csv"))
    seen = [state for state in states(carrier) if state["status"] != "running"]
    assert seen[0]["status"] == status
    if seconds is not None:
        assert seen[0]["leaseSeconds"] == seconds + RETRY_GRACE_SECONDS


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (SoftTimeLimitExceeded(), "TASK_TIMED_OUT", "f.csv took too long, and was stopped"),
        (UploadFailed("NO_HEADER", "There is no header"), "NO_HEADER", "There is no header"),
        (UploadWillRetry("The shop is shut"), "UPLOAD_FAILED", "The shop is shut"),
    ],
)
def test_an_attempt_that_nobody_repeats_has_words(
    carrier: MemoryCarrier, error: Exception, code: str, words: str
) -> None:
    @task()
    @tracked(**OF_USER)
    def import_parts(user_id: str, upload_id: str, path: str) -> None:
        raise error

    result = import_parts.apply(("user-1", "moc-1", "f.csv"))
    assert result.result is error
    (told,) = (message["data"] for message in carrier.sent_to("user-1") if message["type"] == "error")
    assert (told["code"], told["message"]) == (code, words)


def test_an_attempt_brings_its_words(carrier: MemoryCarrier) -> None:
    @task(autoretry_for=(UploadWillRetry,), max_retries=1)
    @tracked(**OF_USER)
    def import_parts(user_id: str, upload_id: str, path: str) -> None:
        raise UploadWillRetry("The shop is shut")

    import_parts.apply(("user-1", "moc-1", "f.csv"))
    assert [state["message"] for state in states(carrier) if state["status"] == "retrying"] == ["The shop is shut"]
    assert statuses(carrier)[-1] == "failed"


def test_an_upload_that_a_device_cancels_ends_the_task_and_is_not_tried_again(carrier: MemoryCarrier) -> None:
    @task(autoretry_for=(Exception,))
    @tracked(**OF_USER)
    def import_parts(user_id: str, upload_id: str, path: str) -> None:
        raise UploadCancelled

    result = import_parts.apply(("user-1", "moc-1", "f.csv"))
    assert isinstance(result.result, Ignore)
    assert statuses(carrier) == ["running", "cancelled"]
    assert errors(carrier) == []


# --- parts ------------------------------------------------------------------------------------------------------------


@task()
@tracked(user="user_id", file_name="path")
def import_rows(user_id: str, path: str, first: int, upload: Upload) -> None:
    for _ in upload.count(range(first, first + 10)):
        pass


@pytest.mark.parametrize("immutable", [False, True])
def test_the_tasks_of_a_group_are_one_upload(carrier: MemoryCarrier, immutable: bool) -> None:
    make = import_rows.si if immutable else import_rows.s
    signatures = in_parts([make("user-1", "parts.csv", first) for first in (0, 10, 20)], upload_id="moc-1")
    group(signatures).apply()
    last = states(carrier)[-1]
    assert {state["uploadId"] for state in states(carrier)} == {"moc-1"}
    assert (last["status"], last["currentRow"], statuses(carrier)) == ("complete", 30, ["running", "complete"])


def test_signatures_that_cannot_be_parts_are_refused() -> None:
    with pytest.raises(InvalidMessage):
        in_parts([import_rows.s("user-1", "parts.csv", first) for first in range(257)])
    with pytest.raises(InvalidMessage, match="signatures of tracked tasks"):
        in_parts([import_rows.s("user-1", "parts.csv", 0) | import_rows.s("user-1", "parts.csv", 1)])
    assert in_parts([]) == []
