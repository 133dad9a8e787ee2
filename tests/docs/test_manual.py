"""The manual builds without a warning, and every example of it and of the README is run."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import typer.main

from aico_sched.cli.app import app
from aico_sched.topics.registry import COMMANDS, EVENTS
from tests.docs.pages import FENCE, LANGUAGES, PAGES, Block, blocks
from tests.docs.reader import Reader
from tests.integration.support.aico import AicoBroker
from tests.integration.support.cluster import local_cluster
from tests.integration.support.process import ROOT
from tests.packaging import test_readme
from tests.support import built

EXAMPLE = re.compile(r"^\s*(?:\$ |aico-sched |pip |make |curl |import |from )", re.MULTILINE)

FOLLOWED = [page for page in PAGES if any(block.language in ("console", "python") for block in blocks(page))]

AICO_KEY = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"
"""The public key of AICO's own broker."""

ELSEWHERE = {"zmq.auth.load_certificate": test_readme.test_a_bare_process_can_create_a_task}
"""Programs that a test of their own runs, by a word that only they hold."""


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel of this tree."""
    folder = tmp_path_factory.mktemp("dist")
    built.build("wheel", built.copy_of_tree(tmp_path_factory.mktemp("tree")), folder)
    return folder


@contextmanager
def surroundings(page: Path, folder: Path, home: Path) -> Iterator[dict[str, str]]:
    """What a page takes for granted besides the service, and by which addresses the manual calls it."""
    if page.stem == "dask":
        # Before the workers begin: Python forgets a folder on its path that is not there.
        for made in (folder, home):
            made.mkdir()
        with local_cluster(folder, home) as address:
            yield {"tcp://10.0.0.5:8786": address}
    elif page.stem == "aico-bus":
        with AicoBroker() as broker:
            yield {
                "tcp://127.0.0.1:5555,5556": broker.address,
                "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID": broker.public,
            }
    else:
        yield {}


@pytest.mark.parametrize("page", FOLLOWED, ids=lambda page: page.stem)
async def test_a_page_can_be_followed(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    followed = [block for block in blocks(page) if not any(word in block.text for word in ELSEWHERE)]
    installs = any("$ pip " in block.text for block in followed)
    dist = request.getfixturevalue("dist") if installs else tmp_path
    with surroundings(page, tmp_path / "around", tmp_path / "home") as replaced:
        async with Reader(tmp_path, monkeypatch, replaced, dist) as reader:
            await reader.follow(followed)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_no_example_escapes(page: Path) -> None:
    """Each block is of a language with a meaning, and what stands in a block without one is no example."""
    text = page.read_text(encoding="utf-8")
    found = blocks(page)
    assert len(found) * 2 == len(re.findall(r"^\s*(?:```|~~~)", text, re.MULTILINE)), "a block that is not understood"
    assert not re.search(r"^ {4,}(?:\$ |aico-sched |pip )", FENCE.sub("", text), re.MULTILINE), "an indented block"
    for block in found:
        assert block.language in LANGUAGES, block
        if block.language == "text":
            assert not re.search(r"^\s*(?:\$ |aico-sched |pip |make |curl |import |from )", block.text, re.MULTILINE), (
                block
            )
        elif block.language == "yaml":
            assert block.title, "without a title nobody reads it"
        elif block.language == "console":
            assert block.text.startswith("$ "), "a command begins with a dollar sign"


async def test_the_examples_of_the_help_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They stand in the manual's reference too, and follow one another there."""
    shown = "\n".join(command.help or "" for command in walk(typer.main.get_command(app)))
    examples = re.findall(r"For example: (.+)", shown)
    assert len(examples) >= 2
    page = Block("console", "", "".join(f"$ aico-sched {example}\n" for example in examples))
    async with Reader(tmp_path, monkeypatch, {}, tmp_path) as reader:
        await reader.follow([page])


def walk(command: Any) -> Iterator[Any]:
    for each in getattr(command, "commands", {}).values():
        yield each
        yield from walk(each)


def test_what_another_test_runs_is_there_once() -> None:
    texts = [block.text for page in PAGES for block in blocks(page)]
    assert all(sum(word in text for text in texts) == 1 for word in ELSEWHERE)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manual, built; any warning fails it."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_reference_is_whole(site: Path) -> None:
    topics = (site / "reference" / "topics" / "index.html").read_text()
    assert all(topic in topics for topic in (*COMMANDS, *EVENTS))
    assert "max_concurrent_tasks" in (site / "reference" / "configuration" / "index.html").read_text()
    assert "aico-sched dead requeue" in (site / "reference" / "command-line" / "index.html").read_text()


def test_the_manual_fetches_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        fetched = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(https?://[^"]+)"', page.read_text())
        assert fetched == [], page
