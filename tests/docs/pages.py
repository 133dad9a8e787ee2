"""The manual's pages as a reader follows them: from top to bottom, in a home folder of their own, in a real shell.

A block's language says what becomes of it:

`console`  lines that begin with `$ ` are commands; what stands below one that prints JSON is what it must print
`python`   with a title it is that file, without one it is run; its tests are called, its FastAPI application is asked
`yaml`     with the title `core.yaml` it is the settings' file, with another one that file
`text`     a drawing or a table, nothing to run
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.integration.support.process import ROOT

DOCS = ROOT / "docs"
# Others' pages lie below it too, once `make node` has been there.
PAGES = [ROOT / "README.md", *(page for page in sorted(DOCS.rglob("*.md")) if "node_modules" not in page.parts)]
LANGUAGES = {"console", "python", "yaml", "text"}
FENCE = re.compile(r'^```(\w*)(?: title="([^"]+)")?\n(.*?)^```$', re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    language: str
    title: str
    text: str


class Command(NamedTuple):
    line: str
    shown: str
    """What the page shows below it."""


def blocks(page: Path) -> list[Block]:
    return [Block(*found) for found in FENCE.findall(page.read_text(encoding="utf-8"))]


def commands(block: Block) -> Iterator[Command]:
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        line, _, shown = part.partition("\n")
        yield Command(line, shown.strip())
