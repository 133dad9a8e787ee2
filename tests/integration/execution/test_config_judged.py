"""What the code of a user's task says of a configuration is known before its task is created or changed, though that
code runs in the sandbox only."""

import asyncio
from typing import Any

import pytest

from aico_sched.client.errors import InvalidMessage, UnknownTaskClass
from aico_sched.topics import names
from aico_sched.verdicts import KEPT, Unjudged, Verdict, Verdicts
from tests.integration.support.running import Running

FAR = "interval:86400"
PATIENCE = 60.0

CODE = """
import os
from pydantic import BaseModel, ConfigDict, Field, field_validator
from aico_sched.tasks import BaseTask

class Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    count: int = Field(ge=1)
    word: str = "ü"

    @field_validator("word")
    @classmethod
    def lower(cls, word):
        if word != word.lower():
            raise ValueError("must be lower case")
        return word

class Strict(BaseTask):
    name = "user.strict"
    Config = Settings

    async def execute(self, context):
        return {"pid": os.getpid(), "count": context.config.count, "word": context.config.word}
"""


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children are slow to start on a machine that is busy with other tests."""
    monkeypatch.setattr("aico_sched.execution.child.judge.WITHIN", PATIENCE)


async def begun(start: Any, code: str = CODE, **settings: Any) -> Running:
    run: Running = await start(sandbox__enabled=True, **settings)
    run.client.timeout = PATIENCE
    folder = run.settings.user_task_folder
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / "strict.py").write_text(code)
    await run.client.reload()
    return run


async def test_a_wrong_configuration_is_refused_when_the_task_is_created_or_updated(start: Any) -> None:
    run = await begun(start)
    for wrong, field in (
        ({"count": 0}, "config.count"),
        ({"count": 1, "word": "Über"}, "config.word"),
    ):
        with pytest.raises(InvalidMessage) as refused:
            await run.client.create("user.strict", FAR, config=wrong)
        assert refused.value.details["field"] == field, wrong
    assert (await run.client.list(prefix="user.")).tasks == []
    created = await run.client.create("user.strict", FAR, config={"count": 2, "word": "übung"})
    with pytest.raises(InvalidMessage, match="count"):
        await run.client.update("user.strict", config={"count": "x" * 100})
    kept = (await run.client.status("user.strict")).task
    assert (kept.config, kept.revision) == (created.config, created.revision)
    await run.client.update("user.strict", config={"count": 3})
    done = await run.ran("user.strict")
    assert (done.status, done.result["data"]["count"], done.result["data"]["word"]) == ("succeeded", 3, "ü")
    # No folder of a class that was only asked is left behind, and none of its runs is counted.
    data = run.settings.data_dir / "task_data"
    assert [path.name for path in data.iterdir() if not path.name.startswith("maintenance.")] == ["user.strict"]
    assert (await run.client.stats()).actors["executor"]["environments"]["sandbox"]["runs"] == 1


async def test_the_run_checks_it_again(start: Any) -> None:
    run = await begun(start)
    await run.client.create("user.strict", FAR, config={"count": 2}, retry={"max_attempts": 1})
    code = run.settings.user_task_folder / "strict.py"
    code.write_text(CODE.replace("ge=1", "ge=5"))
    await run.client.reload()
    failed = await run.ran("user.strict")
    assert failed.status == "dead"
    assert "count" in str(failed.error_message)


async def test_a_class_that_cannot_be_loaded_is_said_to_be_until_it_can(start: Any) -> None:
    run = await begun(start, "import not_installed_here\n" + CODE)
    with pytest.raises(UnknownTaskClass, match="not_installed_here"):
        await run.client.create("user.strict", FAR, config={"count": 1})
    (run.settings.user_task_folder / "strict.py").write_text(CODE)
    await run.client.reload()
    await run.client.create("user.strict", FAR, config={"count": 1})


async def test_others_are_served_while_a_class_thinks_and_many_are_asked_at_once(start: Any) -> None:
    run = await begun(start, "import time\ntime.sleep(1)\n" + CODE)
    asked = [
        asyncio.create_task(run.client.create(f"user.s{n}", FAR, task_class="user.strict", config={"count": n}))
        for n in range(4)
    ]
    await run.client.create("demo.quick", FAR, task_class="demo.echo")
    assert not any(each.done() for each in asked)
    created = await asyncio.gather(*asked, return_exceptions=True)
    assert [isinstance(each, InvalidMessage) for each in created] == [True, False, False, False]
    # Each was asked once, however often its sender repeated itself.
    events = run.events.of(names.TASK_CREATED)
    assert sorted(event.payload["task_id"] for event in events) == ["demo.quick", "user.s1", "user.s2", "user.s3"]


HOSTILE = {
    "exits": "os._exit(0)",
    "kills itself": "os.kill(os.getpid(), 9)",
    "forges": """
for n in range(3, 40):
    try:
        os.write(n, b"nonsense" * 99)
    except OSError:
        pass
""",
}


async def test_code_that_answers_nothing_harms_nobody(start: Any) -> None:
    run = await begun(start)
    for number, (name, hostile) in enumerate(HOSTILE.items()):
        (run.settings.user_task_folder / "strict.py").write_text(f"import os\n{hostile}\n{CODE}")
        await run.client.reload()
        try:
            # Nobody can tell: then the run will.
            await run.client.create(f"user.s{number}", FAR, task_class="user.strict", config={"count": 1})
        except UnknownTaskClass as refused:
            assert "its process" in refused.message, name
    health = await run.client.health()
    assert health.ready
    assert health.checks["actors"]["restarts"] == {}


async def test_a_stop_does_not_wait_for_an_answer(start: Any) -> None:
    run = await begun(start, "import time\ntime.sleep(60)\n" + CODE)
    asked = asyncio.create_task(run.client.create("user.strict", FAR, config={"count": 1}))
    await run.barrier()
    async with asyncio.timeout(20):
        await run.service.stop()
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)


def test_refusals_are_forgotten_and_what_is_kept_is_bounded() -> None:
    class Found:
        name, digest = "user.x", "d"

    verdicts = Verdicts()
    questions = [Unjudged(Found(), {"n": n}) for n in range(KEPT + 1)]
    for each in questions:
        verdicts.put(each.key, Verdict())
    with pytest.raises(Unjudged):
        verdicts.take(questions[0])
    assert verdicts.take(questions[1]) == Verdict()
    verdicts.put(questions[2].key, Verdict("invalid_message", "no", "config"))
    assert verdicts.take(questions[2]).code == "invalid_message"
    with pytest.raises(Unjudged):
        verdicts.take(questions[2])
