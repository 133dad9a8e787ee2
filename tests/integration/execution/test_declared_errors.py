"""What a class declares of its errors counts in a process of its own as it does on the loop."""

from pathlib import Path

import pytest

from aico_sched.execution.child.runner import SandboxRules
from aico_sched.execution.environments import RemoteFailure
from tests.integration.execution.support import RULES, bench

HEAD = """
from aico_sched.tasks import BaseTask

class Permanent(Exception): ...
class Closer(Permanent): ...
class Transient(ValueError): ...

class Task(BaseTask):
    name = "user.task"
    permanent_errors = (Permanent, LookupError)
    transient_errors = (Closer, Transient)
    async def execute(self, context):
"""


@pytest.mark.parametrize("rules", [None, RULES], ids=["process", "sandbox"])
async def test_declared_errors(tmp_path: Path, rules: SandboxRules | None) -> None:
    async with bench(tmp_path, rules) as here:
        for error, permanent in (
            ("Permanent", True),
            ("Closer", False),
            ("Transient", False),
            ("KeyError", True),
            ("ValueError", True),
            ("OSError", False),
        ):
            with pytest.raises(RemoteFailure, match="told") as raised:
                await here.runner.run(here.job(f"raise {error}('told')", head=HEAD))
            assert raised.value.permanent == permanent, error
            assert raised.value.error_type.endswith(error)
