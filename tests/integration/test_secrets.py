"""Secrets in a task's configuration: the task has them, nobody is shown them, and an update leaves them."""

from aico_sched.topics import names
from tests.integration.support.running import Running

FAR = "interval:86400"
SECRET = "s3cr3t-marker"


async def test_a_secret_reaches_the_task_and_nobody_else(run: Running) -> None:
    client = run.client
    config = {"password": SECRET, "path": "/home"}
    created = await client.create("user.a", FAR, task_class="demo.echo", config=config)
    assert created.config == {"password": "********", "path": "/home"}

    updated = await client.update("user.a", config={**created.config, "path": "/srv"})
    assert updated.config == {"password": "********", "path": "/srv"}
    # demo.echo returns its configuration as the result, which is the task's own word.
    done = await run.ran("user.a")
    assert done.result == {"message": "", "data": {"password": SECRET, "path": "/srv"}}

    shown = [
        (await client.status("user.a", history=0)).model_dump_json(),
        (await client.list(prefix="user.")).model_dump_json(),
        str((await client.request(names.EVENT_LIST, {"topic": names.TASK_CREATED}))["events"]),
        str(run.query("SELECT * FROM scheduler_audit")),
        str(run.query("SELECT reply FROM scheduler_seen_messages")),
    ]
    assert all(SECRET not in text for text in shown)


async def test_a_dead_letter_does_not_tell_the_secret(run: Running) -> None:
    await run.client.create(
        "user.w", FAR, task_class="notify.webhook", config={"url": "http://[::1]:9/", "token": SECRET}
    )
    await run.client.update("user.w", retry={"max_attempts": 1})
    assert (await run.ran("user.w")).status == "dead"
    (letter,) = (await run.client.dead_list()).dead
    assert letter.config["token"] == "********"
    assert SECRET not in letter.model_dump_json()
