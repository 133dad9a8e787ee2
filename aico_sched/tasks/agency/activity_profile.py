"""The user's activity by the hour of the week, learned hour by hour, and how well that predicts. Pure.

Each hour is predicted before it is learned, so every error that is counted here was made on held-out data. Two models
are measured by it: `hour_of_day` (the baseline: all days alike) and `hour_of_week`. A model is used only where it beats
the one below it: hour of the week, hour of the day, and below both the constant share of active hours, which predicts
nothing and leaves the default window in force.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from aico_sched.quiet import HOUR_US, HOURS, QuietHours

WEEKLY_DECAY: Final = 0.5**0.25
"""What was seen four weeks ago counts half."""

SHRINK: Final = 1.0
"""So many weeks of the hour of the day's average that stand in for what was not seen yet of an hour of the week."""

MODELS: Final = ("constant", "hour_of_day", "hour_of_week")


@dataclass(slots=True)
class ActivityProfile:
    """What was learned so far. `seen` and `active` hold, for each hour of the week, how often it passed and how often
    the user was active in it, older weeks counting less. `until_us` is the end of the last hour that was learned, 0
    before the first. `errors` are the models' squared errors, older ones counting less; `days` is how long it learns.
    """

    seen: list[float] = field(default_factory=lambda: [0.0] * HOURS)
    active: list[float] = field(default_factory=lambda: [0.0] * HOURS)
    until_us: int = 0
    errors: dict[str, float] = field(default_factory=lambda: dict.fromkeys(MODELS, 0.0))
    scored: float = 0.0
    hours: int = 0

    @property
    def days(self) -> float:
        return self.hours / 24

    def learn(self, at_us: int, was_active: bool, zone: ZoneInfo) -> None:
        """Take in one whole hour that begins at `at_us`."""
        local = datetime.fromtimestamp(at_us // 1_000_000, zone)
        hour = local.weekday() * 24 + local.hour
        if self.days >= 7:
            self._score(hour, float(was_active))
        self.seen[hour] = self.seen[hour] * WEEKLY_DECAY + 1.0
        self.active[hour] = self.active[hour] * WEEKLY_DECAY + was_active
        self.until_us = at_us + HOUR_US
        self.hours += 1

    def _score(self, hour: int, truth: float) -> None:
        fade = WEEKLY_DECAY ** (1 / HOURS)
        self.scored = self.scored * fade + 1.0
        for name in MODELS:
            error = (self.predict(name, hour) - truth) ** 2
            self.errors[name] = self.errors[name] * fade + error

    def predict(self, model: str, hour: int) -> float:
        """The probability that the user is active in this hour of the week, by one of `MODELS`."""
        overall = (sum(self.active) + 1.0) / (sum(self.seen) + 2.0)
        if model == "constant":
            return overall
        seen = sum(self.seen[hour % 24 :: 24])
        daily = (sum(self.active[hour % 24 :: 24]) + overall) / (seen + 1.0)
        if model == "hour_of_day":
            return daily
        active, seen = self._around(self.active, hour), self._around(self.seen, hour)
        return (active + SHRINK * daily) / (seen + SHRINK)

    @staticmethod
    def _around(values: list[float], hour: int) -> float:
        """An hour with half of each neighbour: a few weeks alone would call many an hour quiet by luck."""
        return values[hour] + 0.5 * (values[hour - 1] + values[(hour + 1) % HOURS])

    def brier(self) -> dict[str, float]:
        """Each model's mean squared error on hours it had not learned yet; empty before there are any."""
        return {name: self.errors[name] / self.scored for name in MODELS} if self.scored else {}

    def best(self, min_days: float) -> str | None:
        """The model that has earned its place; None while the default window applies."""
        errors = self.brier()
        if self.days < min_days or not errors or errors["hour_of_day"] >= errors["constant"]:
            return None
        return "hour_of_week" if errors["hour_of_week"] < errors["hour_of_day"] else "hour_of_day"

    def quiet_hours(
        self, min_days: float, threshold: float, zone: ZoneInfo, seconds: dict[str, float]
    ) -> QuietHours | None:
        """The prediction; None while nothing was learned that beats the baseline."""
        model = self.best(min_days)
        if model is None:
            return None
        confidence = tuple(round(1.0 - self.predict(model, hour), 4) for hour in range(HOURS))
        return QuietHours(zone, confidence, threshold, model, seconds)

    def plain(self) -> dict[str, Any]:
        """As plain data."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> "ActivityProfile":
        """What `plain` made. Raises ValueError for anything else."""
        try:
            profile = cls(**plain)
        except TypeError as error:
            raise ValueError(f"no activity profile: {error}") from error
        if len(profile.seen) != HOURS or len(profile.active) != HOURS:
            raise ValueError("an activity profile has 168 hours")
        return profile


@dataclass(slots=True)
class CostProfile:
    """How long a task's runs take: mean and mean square of the seconds, newer runs counting more."""

    runs: int = 0
    mean: float = 0.0
    square: float = 0.0

    def learn(self, seconds: float) -> None:
        """Take in one run."""
        self.runs += 1
        weight = max(0.1, 1.0 / self.runs)
        self.mean += weight * (seconds - self.mean)
        self.square += weight * (seconds * seconds - self.square)

    @property
    def expected(self) -> float:
        """Seconds that a run is not expected to exceed: the mean and two standard deviations."""
        deviation: float = max(0.0, self.square - self.mean**2) ** 0.5
        return self.mean + 2.0 * deviation
