"""What a task that is run by hand finds in the service's stead: the database, the data, and the keys of the bus."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from time import perf_counter, time
from typing import Any

from aico_sched.execution.queries import Queries
from aico_sched.security import permissions
from aico_sched.security.database_key import InvalidDatabaseKey
from aico_sched.session_keys import DAY, RingKeys
from aico_sched.settings import Settings
from aico_sched.store.errors import AlreadyInUse, StoreError
from aico_sched.store.lock import DatabaseLock
from aico_sched.store.maintenance import swap
from aico_sched.store.maintenance.job import Job, Target
from aico_sched.store.maintenance.operations import refuse_existing
from aico_sched.store.maintenance.process import run_worker
from aico_sched.store.statements import Refused, check_read, check_tables, check_write, tables_touched
from aico_sched.tasks.base import PermanentError, TransientError
from aico_sched.tasks.local_run import Outside, Report
from aico_sched.tasks.powers import DatabaseFailed, DatabaseRefused, Function, NoDatabase
from aico_sched.wiring import database_keys, open_data, open_database

PROBE_TIMEOUT = 10.0


@asynccontextmanager
async def outside(settings: Settings, task: str, report: Report) -> AsyncIterator[Outside]:
    """The outside of one run of `task`, for the length of a block. What works on the whole database tells `report`
    how far it is."""
    alone = Alone(settings, task, report)
    try:
        yield Outside(
            open_data=lambda: open_data(settings),
            powers=alone,
            maintain=alone.maintain,
            session_keys=alone.session_keys(),
            probe_database=alone.probe,
            default_timeout=settings.scheduler.default_timeout,
        )
    finally:
        await alone.close()


class Alone:
    """The `Powers` of a run without a service, and what else the service would have done. It reads beside a service
    that is running; what changes the scheduler's database needs it for itself."""

    def __init__(self, settings: Settings, task: str, report: Report) -> None:
        self.capabilities = permissions.capabilities(task)
        self._settings, self._task, self._report = settings, task, report
        self._path, self._keys = settings.database_path, database_keys(settings)
        self._queries = Queries(self._path, self._keys.current)

    async def close(self) -> None:
        """End the readers."""
        await self._queries.close()

    def refused(self, what: str) -> None:
        """There is no audit trail here; the error that follows says it."""

    async def query(self, sql: str, parameters: Sequence[Any], timeout: float) -> list[dict[str, Any]]:
        """See `Powers`."""
        self._require_database()
        try:
            check_read(sql, parameters)
            system = "database.system" in self.capabilities
            return await self._queries.query(sql, parameters, timeout, may_touch_ours=system)
        except InvalidDatabaseKey as error:
            raise DatabaseFailed(str(error)) from error
        except Refused as error:
            raise DatabaseRefused(str(error)) from error

    async def execute(self, sql: str, parameters: Sequence[Any]) -> int:
        """See `Powers`. Raises `PermanentError` while a service has the database."""
        self._require_database()
        try:
            check_write(sql, parameters)
            with self._locked() as held:
                return await asyncio.to_thread(self._changed, held, sql, parameters)
        except Refused as error:
            raise DatabaseRefused(str(error)) from error

    def _changed(self, held: DatabaseLock, sql: str, parameters: Sequence[Any]) -> int:
        database = open_database(self._settings, self._keys, held.share())
        try:
            touched = tables_touched(database.plan(sql, parameters), database.roots())
            check_tables(touched, may_touch_ours="database.system" in self.capabilities)
            return database.run_text(sql, parameters)
        finally:
            database.close()

    async def run_cpu(self, function: Function, arguments: Sequence[Any], timeout: float | None) -> Any:
        """See `Powers`; in a thread, since there is no loop here that others wait for."""
        async with asyncio.timeout(timeout):
            return await asyncio.to_thread(function, *arguments)

    async def probe(self) -> dict[str, Any]:
        """A row written and read back; only read while a service has the database."""
        began = perf_counter()
        sql = "INSERT OR REPLACE INTO scheduler_meta (key, value) VALUES ('health_probe', ?)"
        found: dict[str, Any] = {}
        try:
            await self.execute(sql, ["by hand"])
            found["write_seconds"] = perf_counter() - began
        except PermanentError:
            found["written"] = False
        began = perf_counter()
        await self.query("SELECT value FROM scheduler_meta WHERE key = 'health_probe'", (), PROBE_TIMEOUT)
        return found | {"read_seconds": perf_counter() - began}

    async def maintain(self, kind: str, options: dict[str, Any]) -> dict[str, Any]:
        """See `TaskContext.maintain`. Cancelled anywhere it has changed nothing, and no process of it is left."""
        self._require_database()
        with self._locked() as held:
            swap.resolve(self._path)
            job = Job(kind, self._prepared(kind, options), None, 0)  # type: ignore[arg-type]
            target = Target(self._path, self._current_key(), held.fileno())
            told = self._told(job)
            await run_worker(job, target, self._settings.store.maintenance_timeout, told)
        outcome = job.outcome
        assert outcome is not None
        if outcome.code == "ok":
            return outcome.result
        raise (TransientError if outcome.code == "unavailable" else PermanentError)(outcome.message)

    def _told(self, job: Job) -> Callable[[], None]:
        return lambda: self._report({"fraction": job.fraction, "message": f"{job.kind}: {job.phase}", "data": {}})

    def _prepared(self, kind: str, options: dict[str, Any]) -> dict[str, Any]:
        """The worker's options. A service that has the database vacuums in small steps itself, here the worker may."""
        if kind != "rekey":
            return options
        backup = options.get("backup")
        try:
            if backup is not None:
                refuse_existing(Path(backup))
            return {**self._keys.stage(), "backup": backup}
        except (InvalidDatabaseKey, OSError) as error:
            raise PermanentError(str(error)) from error

    def _current_key(self) -> str:
        try:
            return self._keys.current()
        except InvalidDatabaseKey as error:
            raise PermanentError(str(error)) from error

    def session_keys(self) -> RingKeys | None:
        """Those of a bus of ours, once it has some. One that is running sees by itself that its folder has changed."""
        bus = self._settings.bus
        folder = bus.keys or self._settings.data_dir / "keys"
        if bus.foreign or not (folder / "secrets").is_dir():
            return None

        async def seen_by_the_bus() -> None:
            return None

        return RingKeys(folder, time, bus.key_overlap * DAY, seen_by_the_bus)

    def _require_database(self) -> None:
        if not self._path.is_file():
            raise NoDatabase(f"there is no database at {self._path}; the first `aico-sched run` makes it")

    @contextmanager
    def _locked(self) -> Iterator[DatabaseLock]:
        try:
            lock = DatabaseLock.take(self._path)
        except AlreadyInUse as error:
            instead = f"let it do this (aico-sched trigger {self._task}), or stop it first"
            raise PermanentError(f"a running service has the database: {instead}") from error
        try:
            yield lock
        except StoreError as error:
            raise PermanentError(str(error)) from error
        finally:
            lock.release()
