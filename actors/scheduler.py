"""The scheduler actor: knows what is due, and asks the store to claim it when there is capacity to run it."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from aico_sched.claims import Claims
from aico_sched.clock import Clock, ClockSteps, Exact, Flexible
from aico_sched.execution.breaker import Breaker, BreakerRules
from aico_sched.gates import Gates
from aico_sched.histogram import Histogram
from aico_sched.horizon import Horizon, Item
from aico_sched.places import Places
from aico_sched.planning import explained, plan_slot
from aico_sched.put_off import PutOff
from aico_sched.quiet import QuietHours
from aico_sched.runtime.actor import Actor, answers, handles
from aico_sched.schedule import Schedule, cache_stats, parse_schedule
from aico_sched.stress import passed_over
from aico_sched.topics import names
from aico_sched.topics.internal import (
    AlertRaise,
    BreakerChanged,
    Capacity,
    ClockSetBack,
    DueChanged,
    DueLoad,
    DueLoaded,
    DueRun,
    DueTask,
    Empty,
    Load,
    LoopStalled,
    QuietHoursLearned,
    Request,
    Slot,
    SlotsClaim,
    SlotsClaimed,
)

CLAIMS_IN_TURN = 2
LOOKAHEAD_US = 3_600 * 1_000_000
CLOCK_STEP = 1.0
"""Seconds by which the wall clock must leave the monotonic one to count as having been set."""

TOO_LONG = "put off for longer than max_defer: "

HELD_LIMIT = 4
"""Held items tolerated, in multiples of `cache_size`; beyond, no further window is loaded until some may go."""

SECOND = 1_000_000


class SchedulerActor(Actor):
    """Holds the near horizon, wakes at the next due moment, and hands due slots to the store in chunks.

    It never has more claims under way than the executor has room for, so what cannot run yet stays due. Tasks with
    `low_activity` start in `default_quiet` hours, or in those that `learned_quiet` knows from earlier days.
    """

    name = "scheduler"

    def __init__(
        self,
        clock: Clock,
        *,
        timezone: str,
        cache_size: int,
        longest_sleep: float,
        priority_aging: float,
        groups: Mapping[str, int],
        first_claim_id: int,
        breaker: BreakerRules,
        default_quiet: QuietHours,
        learned_quiet: Callable[[], QuietHours | None] = lambda: None,
        blackout: Sequence[str] = (),
    ) -> None:
        super().__init__(clock)
        self._default_quiet, self._learned_quiet = default_quiet, learned_quiet
        self._gates = Gates(Breaker(breaker), blackout, default_quiet)
        self._timezone, self._cache_size, self._longest_sleep = timezone, cache_size, longest_sleep
        self._horizon = Horizon(cache_size, int(priority_aging * SECOND))
        self._loading = self._outdated = False
        # What was claimed since the question that is under way was asked: its answer may not know of it.
        self._claimed_meanwhile: set[tuple[str, int]] = set()
        self._claims = Claims(first_claim_id)
        self._places = Places(groups)
        self._put_off = PutOff(HELD_LIMIT * cache_size)
        self._next_release = 0.0
        self._lateness = Histogram()
        self._stopping = False
        self._clock_steps = ClockSteps(clock.now_us(), clock.monotonic())
        counted = ("claims", "deferred", "passed_over", "clock_steps", "loads", "known_max", "breaker_opened")
        self.figures: dict[str, float] = {**dict.fromkeys(counted, 0), "late_ms_max": 0.0}

    async def on_start(self) -> None:
        self._gates.quiet = self._learned_quiet() or self._default_quiet
        self.send(names.CAPACITY_ASK, Empty())
        self.send(names.BREAKER_CHANGED, BreakerChanged(self._gates.breaker.state, "", ""))
        self.send(names.LOAD_ASK, Empty())
        self._reload()

    def begin_stop(self) -> None:
        self._stopping = True

    # What is due.

    @handles(names.DUE_LOADED, DueLoaded)
    def loaded(self, loaded: DueLoaded) -> None:
        """The next window of the horizon."""
        self._loading = False
        if self._outdated:
            self._outdated = False
            self._reload()
            return
        self._horizon.until_us = loaded.horizon_us
        known = self._claimed_meanwhile
        tasks = [task for task in map(DueTask._make, loaded.tasks) if (task.task_id, task.next_run_us) not in known]
        runs = [run for run in map(DueRun._make, loaded.runs) if (run.execution_id, 0) not in known]
        self._put(tasks, runs)

    @handles(names.DUE_CHANGED, DueChanged)
    def changed(self, changed: DueChanged) -> None:
        """Tasks were created, edited or deleted; runs were queued."""
        self._put(map(DueTask._make, changed.tasks), map(DueRun._make, changed.runs))
        for task_id, revision in changed.gone:
            self._horizon.drop_task(task_id, revision)

    def _put(self, tasks: Iterable[DueTask], runs: Iterable[DueRun]) -> None:
        for task in tasks:
            self._horizon.put_task(task)
        for run in runs:
            self._horizon.put_run(run)
        self._horizon.trim()
        self.figures["known_max"] = max(self.figures["known_max"], len(self._horizon))

    def _reload(self) -> None:
        """Ask for the oldest of what is due. What is put off is among it, so there must be room for that too."""
        if self._loading:
            return
        self._loading = True
        self._claimed_meanwhile.clear()
        self.figures["loads"] += 1
        limit = self._cache_size + self._horizon.held
        self.send(names.DUE_LOAD, DueLoad(self.clock.now_us() + LOOKAHEAD_US, limit))

    def _wants_more(self, now: int) -> bool:
        """Whether the end of the horizon is near and there is room to move it."""
        return (
            self._horizon.until_us - now < LOOKAHEAD_US // 2
            and self._horizon.has_room
            and not self._gates.load.constrained
            and self._horizon.held <= HELD_LIMIT * self._cache_size
        )

    # Capacity and load.

    @handles(names.CAPACITY, Capacity)
    def capacity(self, capacity: Capacity) -> None:
        """Attempts have ended, or the executor has started."""
        self._claims.capacity(capacity)
        if capacity.whole:
            self._places.recount(capacity.places, self._claims.places)
            self._unpark(self._horizon.parked_places)
        else:
            self._give_back(capacity.places)

    def _give_back(self, places: Mapping[str, int]) -> None:
        """Places under limits are free again: who waits for one may go."""
        self._places.give_back(places)
        self._unpark(places)

    def _unpark(self, places: Iterable[str]) -> None:
        for place in list(places):
            waiting = self._horizon.first_parked(place)
            if waiting is not None:
                self._horizon.unpark(place, self._places.free(place, waiting.max_instances))

    @handles(names.SLOTS_CLAIMED, SlotsClaimed)
    def claimed(self, claimed: SlotsClaimed) -> None:
        """A claim is durable."""
        self._give_back(self._claims.settled(claimed))

    @handles(names.LOAD, Load)
    def load(self, load: Load) -> None:
        """The machine's load has changed: what was put off may go now."""
        self._gates.load = load
        self._release_held()

    @handles(names.LOOP_STALLED, LoopStalled)
    def stalled(self, stall: LoopStalled) -> None:
        """The loop was blocked: it needs a rest."""
        breaker = self._gates.breaker
        before = breaker.state
        if breaker.stalled(self.clock.monotonic()):
            culprit = stall.task_id or stall.where or "too much work"
            self._breaker_changed(before, f"{culprit} held the event loop for {stall.seconds * 1_000:.0f} ms")

    def _breaker_changed(self, before: str, reason: str = "") -> None:
        state = self._gates.breaker.state
        if state != before:
            self.figures["breaker_opened"] += state == "open"
            self.send(names.BREAKER_CHANGED, BreakerChanged(state, before, reason))
        self._release_held()

    # Dispatch.

    def take_input(self) -> bool:
        now = self.clock.now_us()
        self._watch_clock(now)
        if self._stopping:
            return False
        before = self._gates.breaker.state
        if self._gates.breaker.advance(self.clock.monotonic()):
            self._breaker_changed(before)
        if self._horizon.held and self.clock.monotonic() >= self._next_release:
            self._release_held()
        self._horizon.advance(now)
        if not self._horizon.ready:
            self._claims.nothing_left()
        for _ in range(CLAIMS_IN_TURN):
            if self._may_claim():
                self._claim(now, self._claims.next_size())
        # After the claims, so that the answer knows of them.
        if self._wants_more(now):
            self._reload()
        return self._may_claim()

    def _may_claim(self) -> bool:
        return self._horizon.ready > 0 and self._claims.possible

    def wake_at(self) -> float:
        # The wall clock first: what is read later may only make it wake later.
        due, now, monotonic = self._horizon.next_due_us(), self.clock.now_us(), self.clock.monotonic()
        latest = float("inf") if due is None else monotonic + max(0.0, (due - now) / SECOND)
        if self._horizon.held:
            latest = min(latest, self._next_release)
        latest = min(latest, self._gates.breaker.wake_at())
        look = monotonic + self._longest_sleep
        return Exact(latest) if latest <= look else Flexible(look, latest)

    def _claim(self, now: int, limit: int) -> None:
        """Send one claim of at most `limit` starts."""
        slots: list[Slot] = []
        runs: list[str] = []
        places: Counter[str] = Counter()
        gates, monotonic = self._gates, self.clock.monotonic()
        while len(slots) + len(runs) < limit and (item := self._horizon.next_ready()) is not None:
            keys = item.places
            if keys and self._parks(item, keys):
                continue
            blackout = self._blackout(item, now)
            if blackout and item.task is not None and item.task.options.get("on_blackout") == "skip":
                self._plan(item, now, "skip", blackout, slots)
                continue
            reason = blackout or gates.closed(item, now, monotonic)
            if blackout or (reason and gates.patient(item, now)):
                self._hold(item, now, reason)
                continue
            if reason and item.run is not None and item.run.on_max_defer != "run":
                self._put_off.give_up(item, item.run.on_max_defer, TOO_LONG + reason)
                continue
            if keys:
                self._places.take(keys)
                places.update(keys)
            if item.run is not None:
                self._put_off.over(item)
                runs.append(item.run.execution_id)
                self._note_claim(item.run.execution_id, 0)
            else:
                self._plan_held(item, now, reason, slots)
            late_ms = (now - item.due_us) / 1_000
            self.figures["late_ms_max"] = max(self.figures["late_ms_max"], late_ms)
            self._lateness.add(late_ms)
        if slots or runs:
            claim_id = self._claims.open(len(slots) + len(runs), places)
            self.figures["claims"] += 1
            self.send(names.SLOTS_CLAIM, SlotsClaim(claim_id, slots, runs))
        if (put_off := self._put_off.take()) is not None:
            self.figures["deferred"] += len(put_off.slots) + len(put_off.runs)
            self.send(names.SLOTS_DEFERRED, put_off)

    def _parks(self, item: Item, keys: list[str]) -> bool:
        """Whether an item has to wait because as many run as its group or its task allows. The places it would have
        taken besides go to others."""
        full = next((key for key in keys if self._places.free(key, item.max_instances) <= 0), None)
        if full is None:
            return False
        self._horizon.park(item, full)
        self._unpark(key for key in keys if key != full)
        return True

    def _plan_held(self, item: Item, now: int, reason: str, slots: list[Slot]) -> None:
        """`_plan` for a slot that may start; `reason` is what its patience with has ended."""
        action = item.task.options.get("on_max_defer", "run") if item.task is not None and reason else "run"
        self._plan(item, now, action, TOO_LONG + reason, slots)

    def _plan(self, item: Item, now: int, action: str, reason: str, slots: list[Slot]) -> None:
        """Add the claim of a task's slot, and put the task back with its next one. With an `action` other than `run`
        the slot does not run, for that reason."""
        task = item.task
        assert task is not None
        schedule = parse_schedule(task.schedule, task.timezone)
        slot = plan_slot(task, schedule, now)
        if slot is None:
            # The wall clock has gone back since the item came due.
            self._horizon.put_task(task)
            return
        if action != "run":
            slot = slot._replace(action=action, reason=reason)
        elif slot.action == "run" and slot.next_run_us > 0 and self._passes_over(item, task, schedule, slot):
            slot = slot._replace(
                action="skip", reason=f"the machine is under load: one slot in {self._gates.load.stretch} runs"
            )
        slots.append(slot)
        self._put_off.over(item)
        self._note_claim(task.task_id, task.next_run_us)
        if slot.next_run_us > 0 and slot.next_due_us <= self._horizon.until_us:
            runs = task.run_count + (slot.action in ("run", "catchup"))
            self._horizon.put_task(task._replace(next_run_us=slot.next_run_us, run_count=runs))

    def _note_claim(self, key: str, slot_us: int) -> None:
        """A slot of the task `key`, or the run of that id, is claimed."""
        if self._loading:
            self._claimed_meanwhile.add((key, slot_us))

    def _passes_over(self, item: Item, task: DueTask, schedule: Schedule, slot: Slot) -> bool:
        """Whether the slot is left out under lasting load. One that was put off has had its share."""
        stretch = self._gates.load.stretch
        if stretch == 1 or self._put_off.told(item):
            return False
        over = passed_over(task.priority, schedule.period_us, slot.scheduled_for_us, task.anchor_us, stretch)
        self.figures["passed_over"] += over
        return over

    # Putting off.

    def _blackout(self, item: Item, now: int) -> str:
        """That the slot of a task is in a blackout; empty if it is not. It is looked at again when that ends."""
        covering = self._gates.blackout(item, now)
        if covering is None:
            return ""
        end, text = covering
        self._next_release = min(self._next_release, self.clock.monotonic() + (end - now) / SECOND)
        return f"it is in the blackout {text}"

    @handles(names.QUIET_HOURS, QuietHoursLearned)
    def quiet_hours_learned(self, learned: QuietHoursLearned) -> None:
        """When the user is usually away is known better now, or not any more."""
        self._gates.quiet = QuietHours.from_plain(learned.quiet) if learned.quiet else self._default_quiet
        self._release_held()

    def _hold(self, item: Item, now: int, reason: str) -> None:
        """Put an item off until the load changes or its patience ends; tell of it once."""
        self._horizon.hold(item)
        self._next_release = min(self._next_release, self.clock.monotonic() + self._gates.look_again_in(item, now))
        if self._gates.informed:
            self._put_off.tell(item, reason, self._horizon.holds)

    def _release_held(self) -> None:
        """Look again at what was put off."""
        self._next_release = float("inf")
        self._horizon.release()

    # Time.

    def _watch_clock(self, now: int) -> None:
        """Notice that the wall clock was set, and look at the store afresh: what is due has changed."""
        stepped = self._clock_steps.since_last(now, self.clock.monotonic())
        if abs(stepped) <= CLOCK_STEP:
            return
        self.figures["clock_steps"] += 1
        self._horizon.clear()
        self._put_off.clear()
        if stepped < 0:
            self.send(names.CLOCK_SET_BACK, ClockSetBack(round(-stepped * SECOND)))
        message = f"the system clock was set {'back' if stepped < 0 else 'forward'} by {abs(stepped):.0f} s"
        self.send(names.ALERT_RAISE, AlertRaise("clock_step", "warning", message, None, {"seconds": stepped}))
        # The answer to a question that is under way still goes by the old time.
        self._outdated = self._loading
        self._reload()

    @answers(names.SCHEDULE_EXPLAIN)
    def explain(self, topic: str, request: Request) -> dict[str, Any]:
        """What an expression means and when it fires."""
        return explained(request.payload, self._timezone, self.clock.now_us())

    def report(self) -> dict[str, Any]:
        return {
            **self.figures,
            "lateness": self._lateness.report(),
            "known": len(self._horizon),
            "ready": self._horizon.ready,
            "held": self._horizon.held,
            "free": self._claims.free,
            "breaker": self._gates.breaker.state,
            "quiet_hours": self._gates.quiet.origin,
            "caches": cache_stats(),
        }
