"""One exception per code of the contract."""

from typing import Any

import pytest

from aico_sched.client import InternalError, RequestTimeout, SchedulerError, ServiceUnreachable
from aico_sched.client.errors import from_reply, refusal
from aico_sched.topics.errors import RETRYABLE, CommandError, ErrorCode


@pytest.mark.parametrize("code", list(ErrorCode))
def test_every_code_has_a_class_of_its_own(code: ErrorCode) -> None:
    error = from_reply(CommandError(code, "why", field="x").as_reply()["error"])
    assert isinstance(error, SchedulerError)
    assert isinstance(error, CommandError)
    assert (error.code, error.message, str(error), error.details) == (code, "why", "why", {"field": "x"})
    assert error.retryable == (code in RETRYABLE)
    assert error.as_reply() == CommandError(code, "why", field="x").as_reply()
    assert len({type(refusal(each, "")) for each in ErrorCode}) == len(ErrorCode)


def test_a_code_of_a_newer_service_is_kept() -> None:
    error = from_reply({"code": "brand_new", "message": "m", "details": {"a": 1}, "retryable": False})
    assert isinstance(error, InternalError)
    assert error.details == {"a": 1, "code": "brand_new"}
    assert not error.retryable


@pytest.mark.parametrize("answer", [None, "x", [], {}, {"code": 1}, {"code": None, "details": 3, "retryable": "x"}])
def test_any_answer_becomes_an_error(answer: Any) -> None:
    assert isinstance(from_reply(answer), InternalError)


def test_what_can_go_wrong_on_the_way_is_also_what_python_calls_it() -> None:
    assert isinstance(RequestTimeout("t", 1, "m"), TimeoutError)
    assert isinstance(ServiceUnreachable("m"), ConnectionError)
    assert RequestTimeout("t", 1, "m").retryable
    assert str(ServiceUnreachable("why")) == "why"
