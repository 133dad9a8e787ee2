"""Which tasks may see AICO's data, and which database the settings name for it."""

from pathlib import Path

from aico_sched.settings import Settings
from aico_sched.testing import MemorySource, Simulation
from aico_sched.wiring import open_data
from tests.integration.data.conftest import KEY
from tests.integration.data.test_source import NOTES

CODE = """
from aico_sched.data.source import Table
from aico_sched.tasks import BaseTask

class {title}(BaseTask):
    name = "{name}"

    async def execute(self, context):
        async with context.data() as data:
            return {{"rows": len(await data.page(Table("notes"), 0, 10))}}
"""


async def test_data_settings_name_the_database(database: Path, tmp_path: Path) -> None:
    key_file = tmp_path / "aico.key"
    key_file.touch(mode=0o600)
    key_file.write_text(KEY + "\n")
    settings = Settings.load(
        environ={"AICO_SCHED_DATA_DIR": str(tmp_path / "data")},
        data__database=str(database),
        data__key_file=str(key_file),
    )
    async with open_data(settings) as data:
        assert await data.page(NOTES, 0, 1) == []


async def test_a_users_task_is_refused_aicos_data(tmp_path: Path) -> None:
    folder = tmp_path / "tasks"
    folder.mkdir(mode=0o700)
    (folder / "peek.py").write_text(CODE.format(title="Peek", name="user.peek"))
    source = MemorySource(notes=[{"word": "a"}])
    async with Simulation(tmp_path, data=source, scheduler__user_task_folder=str(folder)) as simulation:
        await simulation.client.create("user.peek", "0 0 1 1 *", retry={"max_attempts": 1})
        started = await simulation.client.trigger("user.peek")
        await simulation.clock.advance(60)
        page = await simulation.client.executions(execution_id=started.execution_id)
    assert page.executions[0].status in ("failed", "dead")
    assert "may not read AICO's data" in (page.executions[0].error_message or "")
