"""Workers of one server: the place of the one that may use an engine of one process."""

import os
from pathlib import Path

import pytest

from tellwire.asgi import siblings
from tellwire.asgi.siblings import only_worker
from tellwire.config import Settings
from tellwire.errors import ConfigError

MEMORY = Settings(engine="memory")
REDIS = Settings(engine="redis", redis_url="redis://127.0.0.1")


@pytest.fixture
def lock_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the workers of a parent."""
    path = tmp_path / "workers.lock"
    monkeypatch.setattr(siblings, "_lock_file", lambda: path)
    return path


def another_process(lock_file: Path) -> int:
    """Hold the place as a process with another id does."""
    import fcntl

    number = os.open(lock_file, os.O_RDWR | os.O_CREAT)
    fcntl.flock(number, fcntl.LOCK_EX)
    os.pwrite(number, b"1", 0)
    return number


async def test_another_worker_with_the_same_parent_is_refused_with_a_sentence(lock_file: Path) -> None:
    another_process(lock_file)
    with pytest.raises(ConfigError, match="several workers, and the engine memory is for one process; allowed: one"):
        async with only_worker(MEMORY, seconds=0.01):
            pytest.fail("it has begun")


async def test_a_worker_that_replaces_another_waits_until_that_has_ended(lock_file: Path) -> None:
    before = another_process(lock_file)
    os.close(before)
    async with only_worker(MEMORY, seconds=0.01):
        pass


async def test_two_applications_of_one_process_do_not_refuse_each_other(lock_file: Path) -> None:
    async with only_worker(MEMORY, seconds=0.01), only_worker(MEMORY, seconds=0.01):
        assert os.path.getsize(lock_file) == len(str(os.getpid()))  # noqa: ASYNC240, PTH202 - a file in memory


async def test_on_redis_each_worker_is_a_node(lock_file: Path) -> None:
    another_process(lock_file)
    async with only_worker(REDIS, seconds=0.01):
        pass


async def test_without_a_file_nobody_knows(lock_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(siblings, "_lock_file", lambda: lock_file / "not" / "there")
    async with only_worker(MEMORY, seconds=0.01):
        pass
