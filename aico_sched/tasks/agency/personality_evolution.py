"""Lets the personality follow how people respond to it: slowly, within bounds, and never without a way back."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from aico_sched.data.source import Change, DataSource, NoSuchTable, NothingThere, Row, Table
from aico_sched.tasks.agency.traits import DriftRules, Evidence, Trait, drifted, gather, picture, violations
from aico_sched.tasks.base import BaseTask, PermanentError, TaskResult
from aico_sched.tasks.context import TaskContext
from aico_sched.tasks.vectors import IN_QUIET_HOURS
from aico_sched.topics.commands import Environment

PAGE = 500
PICTURE = "traits.svg"

DRIFT, ROLLED_BACK = "drift", "rolled back"

INFLUENCES: Mapping[str, Mapping[str, float]] = {
    "joke": {"humor": 1.0, "formality": -0.3},
    "comfort": {"warmth": 1.0},
    "question": {"curiosity": 1.0},
    "advice": {"assertiveness": 1.0},
    "formal_reply": {"formality": 1.0},
}


class PersonalityEvolution(BaseTask):
    """Moves the personality's traits a little each month, by how people responded, within firm bounds."""

    name = "agency.personality_evolution"
    default_schedule = "0 3 1 * *"
    environment: ClassVar[Environment] = "loop"
    default_options: ClassVar[Mapping[str, Any]] = IN_QUIET_HOURS

    class Config(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid")

        traits_table: str = Field(
            default="personality_traits", description="columns id, name, value, baseline (0 to 1), updated_at"
        )
        interactions_table: str = Field(
            default="interactions", description="columns id, timestamp (RFC 3339), kind, feedback (-1 to 1)"
        )
        history_table: str = Field(default="personality_trait_history", description="made by this task")
        influences: Mapping[str, Mapping[str, float]] = Field(
            default=INFLUENCES, description="kind of interaction → trait → weight, -1 to 1"
        )
        rate: float = Field(default=0.05, gt=0, le=1, description="step for a month of unanimous feedback")
        max_step: float = Field(default=0.03, gt=0, le=1, description="no trait moves further in a month")
        max_total: float = Field(default=0.2, gt=0, le=1, description="nor further from its baseline, ever")
        opposites: tuple[tuple[str, str], ...] = Field(
            default=(("humor", "formality"),), description="pairs that cannot both be high"
        )
        opposites_limit: float = Field(default=1.5, gt=0, le=2, description="the most such a pair may add up to")
        picture: bool = Field(default=False, description=f"only draw the history, as {PICTURE} in the task's folder")
        dry_run: bool = Field(default=False, description="tell where the traits would go, change nothing")

    async def execute(self, context: TaskContext[Config]) -> TaskResult:
        """Traits move once a calendar month, however often this runs. A copy is written before, the result is read
        back and checked, and what violates the rules is rolled back at once; so is what a killed run left."""
        try:
            async with context.data() as data:
                evolution = _Evolution(context, data)
                return await (evolution.draw() if context.config.picture else evolution.evolve())
        except NothingThere as error:
            return TaskResult.skip(f"{error}; see traits_table and interactions_table")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


class _Evolution:
    """One run's work."""

    def __init__(self, context: TaskContext[PersonalityEvolution.Config], data: DataSource) -> None:
        config = context.config
        self._context, self._data = context, data
        self._traits = Table(
            config.traits_table, {"name": "TEXT", "value": "REAL", "baseline": "REAL", "updated_at": "TEXT"}
        )
        self._history = Table(
            config.history_table,
            {"trait": "TEXT", "period": "TEXT", "at": "TEXT", "before": "REAL", "value": "REAL", "signals": "INTEGER",
             "reason": "TEXT", "execution_id": "TEXT"},
        )  # fmt: skip
        self._rules = DriftRules(
            config.rate,
            config.max_step,
            config.max_total,
            config.opposites,
            config.opposites_limit,
            config.influences,
        )
        self._period = f"{context.scheduled_for:%Y-%m}"
        self._backup = context.data_dir / "backups" / f"{self._period}.json"

    async def evolve(self) -> TaskResult:
        """Move the traits, unless this month has."""
        if (mended := await self._check()) is not None:
            return mended
        if any(row["period"] == self._period for row in await self._past()):
            return TaskResult.skip(f"the traits have moved in {self._period} already")
        traits = await self._present()
        evidence = await self._evidence()
        moved = [drifted(trait, evidence.get(trait.name), self._rules) for trait in traits]
        steps = {new.name: round(new.value - old.value, 6) for old, new in zip(traits, moved, strict=True)}
        said = {"period": self._period, "steps": steps, "signals": {n: e.count for n, e in evidence.items()}}
        if self._context.config.dry_run:
            before = {trait.name: trait.value for trait in traits}
            return TaskResult.ok("would move", violations=violations(moved, before, self._rules), dry_run=True, **said)
        self._keep(traits)
        await self._save(traits, moved, evidence, DRIFT)
        if (mended := await self._check()) is not None:
            return mended
        await self._context.progress(1.0, "traits have moved")
        return TaskResult.ok(f"{sum(bool(step) for step in steps.values())} traits have moved", **said)

    async def _check(self) -> TaskResult | None:
        """Read the traits back and compare them with the month's copy; roll back what violates the rules."""
        kept = self._kept()
        found = violations(await self._present(), {trait.name: trait.value for trait in kept}, self._rules)
        if not found:
            return None
        if not kept or self._context.config.dry_run:
            return TaskResult.failed(f"the traits violate the rules: {'; '.join(found)}", violations=found)
        await self._save(await self._present(), kept, {}, ROLLED_BACK)
        return TaskResult.failed(f"rolled back: {'; '.join(found)}", violations=found, rolled_back=True)

    def _keep(self, traits: list[Trait]) -> None:
        self._backup.parent.mkdir(mode=0o700, exist_ok=True)
        temporary = self._backup.with_suffix(".new")
        temporary.write_text(json.dumps([[trait.name, trait.value, trait.baseline] for trait in traits]))
        temporary.replace(self._backup)

    def _kept(self) -> list[Trait]:
        """The traits before this month's move; empty before it."""
        try:
            return [Trait(*row) for row in json.loads(self._backup.read_text())]
        except FileNotFoundError:
            return []

    async def _save(self, before: list[Trait], after: list[Trait], evidence: dict[str, Evidence], reason: str) -> None:
        """The traits and their history, in one transaction."""
        at, old = self._context.now().isoformat(), {trait.name: trait.value for trait in before}
        rows = [
            {"name": trait.name, "value": trait.value, "baseline": trait.baseline, "updated_at": at} for trait in after
        ]
        past = [
            {
                "trait": trait.name,
                "period": self._period,
                "at": at,
                "before": old.get(trait.name),
                "value": trait.value,
                "signals": evidence[trait.name].count if trait.name in evidence else 0,
                "reason": reason,
                "execution_id": self._context.execution_id,
            }
            for trait in after
        ]
        await self._data.write([Change(self._traits, rows, key="name"), Change(self._history, past)])

    async def _present(self) -> list[Trait]:
        rows = await self._all(self._traits)
        odd = [row["name"] for row in rows if not all(_is_number(row[key]) for key in ("value", "baseline"))]
        if odd:
            raise PermanentError(f"value and baseline must be numbers from 0 to 1; those of {odd[0]!r} are not")
        return [Trait(str(row["name"]), row["value"], row["baseline"]) for row in rows]

    async def _past(self) -> list[Row]:
        """The history; empty before the first month."""
        try:
            return await self._all(self._history)
        except NoSuchTable:
            return []

    async def _all(self, table: Table) -> list[Row]:
        rows: list[Row] = []
        while page := await self._data.page(table, rows[-1]["id"] if rows else 0, PAGE):
            rows += page
        return rows

    async def _evidence(self) -> dict[str, Evidence]:
        """The signals of the calendar month before the present one."""
        first = self._context.scheduled_for.replace(day=1)
        wanted = f"{first.year - (first.month == 1)}-{(first.month - 2) % 12 + 1:02}"
        table = Table(
            self._context.config.interactions_table, {"timestamp": "TEXT", "kind": "TEXT", "feedback": "REAL"}
        )
        evidence: dict[str, Evidence] = {}
        after = 0
        while page := await self._data.page(table, after, PAGE):
            after = page[-1]["id"]
            for row in page:
                if str(row["timestamp"]).startswith(wanted) and _is_number(row["feedback"]):
                    gather(evidence, row["kind"], float(row["feedback"]), self._rules)
            await self._context.progress(None, f"{sum(e.count for e in evidence.values())} signals")
            await self._context.checkpoint()
        return evidence

    async def draw(self) -> TaskResult:
        """The picture of the trait history."""
        points: dict[str, list[tuple[str, float]]] = {}
        for row in await self._past():
            points.setdefault(row["trait"], []).append((row["period"], row["value"]))
        if not points:
            return TaskResult.skip("no trait has moved yet")
        path: Path = self._context.data_dir / PICTURE
        _write(path, picture(points))
        return TaskResult.ok(f"drawn: {path}", picture=str(path), traits=len(points))
