"""The steps of the schema are numbered without gaps, each once."""

from aico_sched.store.named_sql import migrations


def test_the_steps_are_numbered_from_one_on_each_once() -> None:
    assert [number for number, _ in migrations()] == list(range(1, len(migrations()) + 1))
