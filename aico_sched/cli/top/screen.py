"""The screen of `top`: four tables that follow the service, and keys that act on the chosen line."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import DataTable, Footer, Sparkline, Static

from aico_sched.cli.output import STYLES, clean
from aico_sched.cli.session import Client
from aico_sched.cli.top.model import DEAD, NEWEST, RUNNING, UPCOMING, Model, Row, Snapshot
from aico_sched.topics import names
from aico_sched.topics.errors import CommandError

LINES = 100
"""Lines of each table."""

Table = DataTable[Text]


class TopApp(App[str | None]):
    """Looks at the service every `interval` seconds. Returns why it ended, None when the user wanted it."""

    TITLE = "aico-sched"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #head { height: auto; padding: 0 1; }
    #curve { height: 2; margin: 0 1; }
    Horizontal { height: 1fr; }
    Vertical { width: 1fr; }
    .title { padding: 0 1; text-style: bold; }
    DataTable { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("tab", "app.focus_next", "Next table", show=False),
        Binding("t", "trigger", "Run now"),
        Binding("p", "pause", "Pause/resume"),
        Binding("c", "cancel", "Cancel run"),
        Binding("r", "requeue", "Requeue dead"),
        Binding("d", "discard", "Discard dead"),
    ]

    def __init__(self, client: Client, interval: float) -> None:
        super().__init__()
        self._client, self._interval = client, interval
        self._model = Model()
        self._rows: dict[str, dict[str, Row]] = {}

    def compose(self) -> ComposeResult:
        """The places of the tables."""
        yield Static(id="head", markup=False)
        yield Sparkline(id="curve")
        for pair in ((("running", "RUNNING"), ("upcoming", "NEXT")), (("newest", "NEWEST"), ("dead", "DEAD LETTERS"))):
            with Horizontal():
                for name, title in pair:
                    with Vertical():
                        yield Static(title, classes="title", markup=False)
                        yield DataTable(id=name, cursor_type="row", zebra_stripes=True)
        yield Footer()

    async def on_mount(self) -> None:
        """The first look, and the beat of those that follow."""
        for name, columns in (("running", RUNNING), ("upcoming", UPCOMING), ("newest", NEWEST), ("dead", DEAD)):
            self._table(name).add_columns(*columns)
        await self.look()
        self.set_interval(self._interval, self.look)

    async def look(self) -> None:
        """Ask the service how it is, and show it. One that is gone ends the screen."""
        try:
            self._model.look(await self._snapshot())
        except CommandError as error:
            self.notify(clean(error.message), severity="error")
            return
        except (TimeoutError, ConnectionError) as error:
            self.exit(str(error) or "the service does not answer any more", return_code=3)
            return
        self._show()

    async def _snapshot(self) -> Snapshot:
        ask = self._client.request
        return Snapshot(
            datetime.now(UTC),
            await ask(names.STATS, {}),
            await ask(names.HEALTH, {}),
            (await ask(names.EXECUTION_LIST, {"status": "running", "limit": LINES}))["executions"],
            (await ask(names.TASK_LIST, {"sort": "next_run", "limit": LINES}))["tasks"],
            (await ask(names.EXECUTION_LIST, {"limit": LINES}))["executions"],
            (await ask(names.DEAD_LIST, {"limit": LINES}))["dead"],
        )

    def _show(self) -> None:
        self.query_one("#head", Static).update(self._model.headline())
        self.query_one("#curve", Sparkline).data = list(self._model.throughput)
        self._fill("running", self._model.running())
        self._fill("upcoming", self._model.upcoming())
        self._fill("newest", self._model.newest())
        self._fill("dead", self._model.dead())

    def _table(self, name: str) -> Table:
        return self.query_one(f"#{name}", DataTable)

    def _fill(self, name: str, rows: list[Row]) -> None:
        """Show these rows; the cursor stays on the line it was on, wherever that has moved to."""
        table, chosen = self._table(name), self._chosen(name)
        place = table.cursor_row
        table.clear()
        for row in rows:
            style = STYLES.get(row.state, "")
            table.add_row(*(Text(clean(cell), style=style) for cell in row.cells), key=row.key)
        self._rows[name] = {row.key: row for row in rows}
        if chosen is not None and chosen.key in self._rows[name]:
            place = table.get_row_index(chosen.key)
        if rows:
            table.move_cursor(row=min(place, len(rows) - 1))

    def _chosen(self, name: str) -> Row | None:
        table = self._table(name)
        if not table.row_count or not table.is_valid_row_index(table.cursor_row):
            return None
        key = table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value
        return self._rows.get(name, {}).get(str(key))

    # Keys.

    def _here(self) -> tuple[str, Row | None]:
        """The table that has the keyboard, and its chosen line."""
        name = self.focused.id if self.focused is not None and self.focused.id is not None else ""
        return name, self._chosen(name) if name in self._rows else None

    async def _tell(self, topic: str, payload: Mapping[str, Any], done: str) -> None:
        try:
            await self._client.request(topic, payload)
        except CommandError as error:
            self.notify(clean(error.message), severity="error")
        else:
            self.notify(clean(done))
        await self.look()

    async def action_trigger(self) -> None:
        """Run the chosen line's task now."""
        await self._of_task(lambda row: self._tell(names.TASK_TRIGGER, {"task_id": row.task_id}, f"{row.task_id} runs"))

    async def action_pause(self) -> None:
        """Pause the chosen line's task; one that is paused goes on."""

        async def switch(row: Row) -> None:
            status = await self._client.request(names.TASK_STATUS, {"task_id": row.task_id, "history": 0})
            if status["task"]["state"] == "paused":
                await self._tell(names.TASK_RESUME, {"task_id": row.task_id}, f"{row.task_id} goes on")
            else:
                await self._tell(names.TASK_PAUSE, {"task_id": row.task_id}, f"{row.task_id} is paused")

        await self._of_task(switch)

    async def _of_task(self, act: Callable[[Row], Awaitable[None]]) -> None:
        _, row = self._here()
        if row is None:
            self.notify("choose a line first", severity="warning")
            return
        try:
            await act(row)
        except CommandError as error:
            self.notify(clean(error.message), severity="error")

    async def action_cancel(self) -> None:
        """End the chosen execution."""
        await self._of_execution("running", "an execution that runs", names.EXECUTION_CANCEL, "is being cancelled")

    async def action_requeue(self) -> None:
        """Run the chosen dead letter again."""
        await self._of_execution("dead", "a dead letter", names.DEAD_REQUEUE, "will run again")

    async def action_discard(self) -> None:
        """Drop the chosen dead letter."""
        await self._of_execution("dead", "a dead letter", names.DEAD_DISCARD, "is discarded")

    async def _of_execution(self, table: str, what: str, topic: str, done: str) -> None:
        name, row = self._here()
        if name != table or row is None:
            self.notify(f"choose {what} first (Tab goes from table to table)", severity="warning")
            return
        await self._tell(topic, {"execution_id": row.key}, f"{row.key} {done}")
