"""What is for idle hours: it starts when the user has been away for long enough, and makes way when they come back."""

from aico_sched.testing import Simulation
from aico_sched.topics import names
from aico_sched.topics.envelope import encode, new_envelope
from tests.integration.time.conftest import Simulate
from tests.support.simulated import HOUR, events, executions

SOON = {"play": 1.0}


def user_does(simulation: Simulation, topic: str = "user.input.key", source: str = "shell") -> None:
    """Another module tells of the user on the bus."""
    endpoint = simulation.bus.endpoint(source)
    endpoint.connect()
    assert endpoint.send(topic, encode(new_envelope(topic, source, {"what": "typed"})))
    endpoint.close()


async def test_nothing_for_idle_hours_starts_while_the_user_is_there(simulate: Simulate) -> None:
    async with simulate(scheduler__user_idle_after=120, **SOON) as simulation:
        await simulation.client.create("user.idle", "interval:30", task_class="demo.echo", idle_only=True)
        for topic in ("user.input.key", "conversation.message.received"):
            for _ in range(10):
                user_does(simulation, topic)
                await simulation.clock.advance(30)
        assert await executions(simulation, "user.idle", "succeeded") == []
        told = await events(simulation, names.EXECUTION_DEFERRED)
        assert "the user was active less than 120 s ago" in told[0]["reason"]
        # The last sign was 30 s ago.
        await simulation.clock.advance(85)
        assert await executions(simulation, "user.idle", "succeeded") == []
        await simulation.clock.advance(10)
        assert len(await executions(simulation, "user.idle", "succeeded")) == 1


async def test_other_topics_and_what_tasks_publish_are_no_sign_of_the_user(simulate: Simulate) -> None:
    async with simulate(**SOON) as simulation:
        await simulation.client.create("user.idle", "interval:30", task_class="demo.echo", idle_only=True)
        await simulation.client.create(
            "user.tells", "interval:10", task_class="bus.publish", config={"topic": "user.reminder", "payload": {}}
        )
        for topic in ("users.count", "modules.conversation", "user"):
            user_does(simulation, topic)
        await simulation.clock.advance(HOUR / 4)
        assert len(await executions(simulation, "user.idle", "succeeded")) == 30
        assert len(await executions(simulation, "user.tells", "succeeded")) == 90
        assert (await simulation.client.stats()).actors["health"]["activities"] == 0


async def test_the_user_does_not_matter_where_the_settings_say_so(simulate: Simulate) -> None:
    async with simulate(scheduler__user_idle_after=0, **SOON) as simulation:
        await simulation.client.create("user.idle", "interval:30", task_class="demo.echo", idle_only=True)
        for _ in range(10):
            user_does(simulation)
            await simulation.clock.advance(30)
        assert len(await executions(simulation, "user.idle", "succeeded")) == 10


async def test_a_flood_of_signs_costs_one_word_a_second(simulate: Simulate) -> None:
    async with simulate(**SOON) as simulation:
        for _ in range(500):
            user_does(simulation)
        await simulation.clock.advance(0.5)
        assert (await simulation.client.stats()).actors["health"]["activities"] == 1
