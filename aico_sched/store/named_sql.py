"""Named queries: every SQL statement stands in a `.sql` file under `queries/`, after a `-- name:` line."""

import re
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


@cache
def queries() -> dict[str, str]:
    """Every statement by name, from all files. A name that stands twice is refused."""
    found: dict[str, str] = {}
    for file in sorted(resources.files("aico_sched.store").joinpath("queries").iterdir(), key=lambda entry: entry.name):
        if not file.name.endswith(".sql"):
            continue
        _, *parts = _NAME.split(file.read_text(encoding="utf-8"))
        for name, sql in zip(parts[::2], parts[1::2], strict=True):
            if name in found:
                raise ValueError(f"the query {name!r} stands twice, the second time in {file.name}")
            found[name] = sql.strip().rstrip(";")
    return found


def migrations() -> list[tuple[int, str]]:
    """The schema's steps as (version, script), in order. Raises ValueError if they are not numbered from 1 on, each
    number once: a database would be taken to have a step that it has not."""
    return numbered(resources.files("aico_sched.store").joinpath("migrations"))


def numbered(folder: Traversable) -> list[tuple[int, str]]:
    """The steps in `folder`, as `migrations`."""
    files = (file for file in folder.iterdir() if file.name.endswith(".sql"))
    steps = sorted((int(file.name.split("_")[0]), file.read_text(encoding="utf-8")) for file in files)
    numbers = [number for number, _ in steps]
    if numbers != list(range(1, len(numbers) + 1)):
        raise ValueError(f"migrations must be numbered from 1 on, each number once; these are {numbers}")
    return steps
