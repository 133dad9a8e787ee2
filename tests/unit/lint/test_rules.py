"""The lint rules: which loops are found, which are left alone."""

import ast
import textwrap

import pytest

from aico_sched.lint.rules import check

HEAD = "class A(BaseTask):\n    name = 'user.a'\n    async def execute(self, context):\n"


def codes(body: str, head: str = HEAD) -> list[str]:
    tree = ast.parse(head + textwrap.indent(textwrap.dedent(body), " " * 8))
    return [finding.code for finding in check(tree)]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("while True:\n    pass", ["ACS100"]),
        ("while self.more():\n    self.step()", ["ACS100"]),
        ("for x in items:\n    work(x)", ["ACS101"]),
        ("for x in range(n):\n    work(x)", ["ACS101"]),
        ("for x in range(1001):\n    work(x)", ["ACS101"]),
        ("for x in sorted(items):\n    work(x)", ["ACS101"]),
        ("for x in items:\n    await context.progress(0.5)", ["ACS102"]),
        ("while True:\n    await context.publish('a', {})\n    await context.progress(None)", ["ACS102"]),
        ("for x in items:\n    async def inner():\n        await other()", ["ACS101"]),
        ("for x in items:\n    pass\nelse:\n    await context.checkpoint()", ["ACS101"]),
        ("if a:\n    try:\n        while b:\n            pass\n    finally:\n        pass", ["ACS100"]),
        ("for x in items:\n    for y in x:\n        while True:\n            pass", ["ACS101"]),
        ("async for batch in batches:\n    while True:\n        pass", ["ACS100"]),
        ("async def helper():\n    while True:\n        pass\nawait helper()", ["ACS100"]),
    ],
)
def test_a_loop_that_never_yields_is_found(body: str, expected: list[str]) -> None:
    assert codes(body) == expected


@pytest.mark.parametrize(
    "body",
    [
        "while True:\n    await context.sleep(1)",
        "while await more():\n    pass",
        "for x in items:\n    work(x)\n    await context.checkpoint()",
        "for x in items:\n    if x:\n        await context.checkpoint()",
        "for x in items:\n    await context.progress(0.5)\n    await context.checkpoint()",
        "for x in items:\n    async with lock:\n        work(x)",
        "for x in items:\n    found = [y async for y in x]",
        "async for batch in context.batches(items):\n    for x in batch:\n        work(x)",
        "for x in range(1000):\n    work(x)",
        "for x in (1, 2, 3):\n    work(x)",
        "for key, x in {'a': 1}.items():\n    work(x)",
        "for number, x in enumerate(['a', 'b']):\n    work(x)",
        "def helper():\n    while True:\n        pass",
    ],
)
def test_a_loop_that_yields_or_is_short_is_left_alone(body: str) -> None:
    assert codes(body) == []


@pytest.mark.parametrize(
    "head",
    [
        "class A:\n    async def execute(self, context):\n",
        "class A(BlockingTask):\n    async def execute(self, context):\n",
        "class A(BaseTask):\n    def run(self, context):\n",
    ],
)
def test_only_coroutines_of_tasks_are_looked_at(head: str) -> None:
    assert codes("while True:\n    pass", head) == []


@pytest.mark.parametrize("head", ["class A(tasks.BaseTask):\n", "class A(CleanupTask):\n", "class A(BaseTask[int]):\n"])
def test_a_task_is_told_as_the_registry_tells_it(head: str) -> None:
    assert codes("while True:\n    pass", head + "    async def other(self):\n") == ["ACS100"]


def test_a_finding_says_where() -> None:
    (finding,) = check(ast.parse(HEAD + "        while True:\n            pass\n"))
    assert (finding.line, finding.column) == (4, 8)
    assert "never lets others run" in finding.message
