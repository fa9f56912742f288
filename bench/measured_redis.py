"""A Redis on the load's core: its CPU time, its counts and its memory."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bench import machine
from bench.processes import EACH_WRITE, RedisServer


class MeasuredRedis(RedisServer):
    """A `redis-server` whose use of the machine is counted."""

    @property
    def used_memory(self) -> int:
        """Bytes that it has allocated for everything."""
        return int(self._info("memory")["used_memory"])

    def counts(self) -> Mapping[str, float]:
        """Return the microseconds of its main thread, and its counts of commands and bytes, so far."""
        stats = self._info("stats")
        main = Path(f"/proc/{self.pid}/task/{self.pid}/schedstat").read_text().split()[0]
        return {
            "us": int(main) / 1000,
            "commands": float(stats["total_commands_processed"]),
            "in": float(stats["total_net_input_bytes"]),
            "out": float(stats["total_net_output_bytes"]),
        }

    def _info(self, section: str) -> dict[str, str]:
        lines = str(self.command("INFO", section)).splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)


@contextmanager
def measured_redis(cores: machine.Cores, *options: str) -> Iterator[MeasuredRedis]:
    """Run a Redis in a directory of its own. Without options it syncs its file at every write."""
    with tempfile.TemporaryDirectory() as directory:
        redis = MeasuredRedis(Path(directory), *(options or EACH_WRITE))
        try:
            redis.start()
            assert redis.pid is not None
            machine.pin(redis.pid, cores.load)
            yield redis
        finally:
            redis.stop()
