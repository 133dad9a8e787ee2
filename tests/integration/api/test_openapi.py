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


INTEGER = "Input should be a valid integer"

BEYOND_SCHEMA = {
    "GET /explain": {"invalid_schedule schedule", "invalid_schedule timezone"},
    "GET /audit": {"invalid_message cursor"},
    "GET /executions": {"invalid_message cursor"},
    "GET /tasks/{task_id}/history": {"invalid_message cursor"},
    "POST /tasks": {"unknown_task_class task_class", "invalid_schedule schedule", "invalid_schedule timezone"},
    "PUT /tasks/{task_id}": {"unknown_task_class task_class"},
    "PATCH /tasks/{task_id}": {"unknown_task_class task_class"},
}
"""What no schema can say, by operation: what a schedule may be, which time zones and task classes there are, and which
cursors a list has handed out. Everything else that the document allows is accepted, or refused for what is there
(403, 404, 409)."""


def test_every_operation_answers_as_its_document_says(served: Served) -> None:
    document = schemathesis.openapi.from_url(f"{served.base}{API}/openapi.json", headers=served.headers)
    # Every request has the token, so that one without it is not what is sent; `test_access.py` has those.
    document.config.generation.update(with_security_parameters=False)
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
        answer = case.call(headers=served.headers)
        refused = mode == schemathesis.GenerationMode.POSITIVE and beyond_schema(operation.label, answer)
        case.validate_response(
            answer,
            excluded_checks=[positive_data_acceptance] if refused else [],
            transport_kwargs={"headers": served.headers},
        )

    try:
        answers()
    except Unsatisfiable:
        assert mode == schemathesis.GenerationMode.NEGATIVE, f"{operation.label}: nothing can be sent"


def beyond_schema(label: str, answer: Any) -> bool:
    """Whether a request was refused for a reason that `BEYOND_SCHEMA` names."""
    if answer.status_code != 422:
        return False
    told = answer.json()
    # JSON Schema takes 1.0 for an integer; the contract does not.
    if all(error["message"] == INTEGER for error in told["errors"]):
        return True
    why = f"{told['code']} {told['details'].get('field')}"
    return why in BEYOND_SCHEMA.get(label.replace(API, ""), ())
