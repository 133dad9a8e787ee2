"""The API keeps to its own OpenAPI document, whatever is sent (schemathesis against a real process)."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.specs.openapi.checks import positive_data_acceptance

from aico_sched.api.app import API
from aico_sched.api.operations import OPERATIONS
from tests.integration.support.process import environment

EXAMPLES = 200 if os.environ.get("AICO_SCHED_LONG") else 5


class Served(NamedTuple):
    base: str
    headers: dict[str, str]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    process = subprocess.Popen(
        [sys.executable, "-m", "aico_sched.cli.app", "run", "--web"],
        env=environment(folder, web__port=0),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stderr is not None
            said = next(each for each in map(json.loads, process.stderr) if each["event"] == "web_started")
            token = Path(said["token_file"]).read_text().strip()
            yield Served(said["address"].rstrip("/"), {"Authorization": f"Bearer {token}"})
        finally:
            process.kill()
            process.stderr.close()  # type: ignore[union-attr]


def test_every_operation_answers_as_its_document_says(served: Served) -> None:
    document = schemathesis.openapi.from_url(f"{served.base}{API}/openapi.json", headers=served.headers)
    # A stream of events has no end to wait for.
    operations = [found.ok() for found in document.exclude(path_regex="/events/stream$").get_all_operations()]
    assert len(operations) == len(OPERATIONS) + 2
    for operation in operations:
        for mode in schemathesis.GenerationMode:
            check(operation, mode, served)


def check(operation: Any, mode: Any, served: Served) -> None:
    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    def answers(case: Any) -> None:
        # What a schedule may be, and which classes and tasks there are, no schema can say.
        case.call_and_validate(headers=served.headers, excluded_checks=[positive_data_acceptance])

    try:
        answers()
    except Unsatisfiable:
        assert mode == schemathesis.GenerationMode.NEGATIVE, f"{operation.label}: nothing can be sent"
