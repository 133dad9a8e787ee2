"""Which errors are retried: the rule, and what a task declares."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aico_sched.execution.failures import PERMANENT
from aico_sched.execution.retry import is_permanent
from aico_sched.tasks.base import PermanentError, TransientError


class Gone(ConnectionError):
    """A kind of something that is worth another try."""


@pytest.mark.parametrize(
    ("error", "permanent", "transient", "verdict"),
    [
        (ValueError, (), (), True),
        (TypeError, (), (), True),
        (PermanentError, (), (), True),
        (TransientError, (), (), False),
        (ConnectionError, (), (), False),
        (UnicodeDecodeError, (), (), True),
        (json.JSONDecodeError, (), (json.JSONDecodeError,), False),
        (ValueError, (), (json.JSONDecodeError,), True),
        (json.JSONDecodeError, (), (ValueError,), False),
        (Gone, (Gone,), (), True),
        (Gone, (Gone,), (ConnectionError,), True),
        (ConnectionResetError, (Gone,), (ConnectionError,), False),
        (Gone, (ConnectionError,), (Gone,), False),
        (Gone, (Gone,), (Gone,), True),
        (json.JSONDecodeError, (), (Exception,), True),
    ],
)
def test_the_closest_class_decides(
    error: type[BaseException],
    permanent: tuple[type[BaseException], ...],
    transient: tuple[type[BaseException], ...],
    verdict: bool,
) -> None:
    assert is_permanent(error, permanent, transient, PERMANENT) is verdict


KINDS = st.sampled_from(
    [Exception, ValueError, TypeError, OSError, ConnectionError, Gone, LookupError, KeyError, json.JSONDecodeError]
)
SOME = st.lists(KINDS, max_size=3).map(tuple)


@given(KINDS, SOME, SOME)
def test_what_is_declared_counts_only_for_its_kinds(
    error: type[BaseException], permanent: tuple[type[BaseException], ...], transient: tuple[type[BaseException], ...]
) -> None:
    verdict = is_permanent(error, permanent, transient, PERMANENT)
    by_rule = is_permanent(error, (), (), PERMANENT)
    fits_one = issubclass(error, permanent) or issubclass(error, transient)
    assert fits_one or verdict == by_rule
    assert not verdict or issubclass(error, (*permanent, *PERMANENT))
    assert is_permanent(error, (*permanent, error), transient, PERMANENT)
