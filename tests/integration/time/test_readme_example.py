"""The README's example of a simulated schedule is a test that passes."""

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]


async def test_the_example_of_a_simulation(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    (source,) = [block for block in blocks if "Simulation(" in block]
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    await namespace["test_the_report_comes_on_working_days"](tmp_path)
