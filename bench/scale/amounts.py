"""Amounts of a calibration."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Amounts:
    """Rounds of each stage; users, requests a second, and the length of a stage in seconds."""

    rounds: int = 5
    users: int = 1500
    per_second: float = 300.0
    seconds: float = 3.0
    idle_seconds: float = 6.0
    settle_seconds: float = 1.0
    memory_users: int = 5000
