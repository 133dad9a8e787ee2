"""Fields that are handed on as they came are those that writing a command out again would not change."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from aico_sched.topics.commands import VERBATIM
from aico_sched.topics.registry import COMMANDS

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
CONFIGS = st.dictionaries(
    st.text(max_size=5),
    st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)),
    max_size=4,
)
ANYTHING = SCALARS | CONFIGS | st.binary()
NAMES = st.sampled_from(("user.a", "demo.echo", "A-1_b"))
USUAL = {
    "task_id": NAMES,
    "execution_id": st.text(min_size=1),
    "task_class": NAMES | st.none(),
    "schedule": st.text(min_size=1),
    "config": CONFIGS,
    "enabled": st.booleans(),
}
TOPICS = [topic for topic, command in COMMANDS.items() if command.payload.model_fields.keys() & VERBATIM]


@pytest.mark.parametrize("topic", TOPICS)
@given(st.data())
def test_a_command_of_such_fields_is_written_out_as_it_came(topic: str, data: st.DataObject) -> None:
    model = COMMANDS[topic].payload
    fields = {name: field for name, field in model.model_fields.items() if name in VERBATIM}
    needed = {name: USUAL[name] for name, field in fields.items() if field.is_required()}
    others = {name: USUAL[name] | ANYTHING for name in fields.keys() - needed.keys()}
    payload: dict[str, Any] = data.draw(st.fixed_dictionaries(needed, optional=others))
    try:
        accepted = model.model_validate(payload)
    except ValidationError:
        return
    written = accepted.model_dump(mode="json", exclude_unset=True)
    assert repr(dict(sorted(written.items()))) == repr(dict(sorted(payload.items())))
