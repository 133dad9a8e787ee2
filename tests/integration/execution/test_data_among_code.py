"""Data that lies among the code that tasks may read would be theirs to read: no task in the sandbox runs then."""

from pathlib import Path

import pytest

from aico_sched.execution.environments import RemoteFailure
from aico_sched.tasks.base import TaskResult
from tests.integration.execution.support import RULES, bench


async def test_data_in_a_folder_with_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from aico_sched.execution.child import runner

    usual = runner.code_paths
    monkeypatch.setattr(
        runner, "code_paths", lambda module, *, network: (*usual(module, network=network), str(tmp_path.resolve()))
    )
    async with bench(tmp_path, RULES) as here:
        with pytest.raises(RemoteFailure, match=r"lies in .* choose another with --data-dir") as refused:
            await here.run("return {}")
        assert refused.value.error_type.endswith("SandboxUnavailable")
        monkeypatch.undo()
        assert isinstance(await here.run("return {}"), TaskResult)
