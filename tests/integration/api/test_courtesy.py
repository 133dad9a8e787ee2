"""With `run --web` the API shares the scheduler's loop: what takes long in it happens in a thread."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from aico_sched.api import app as api_app
from aico_sched.api import server


def noted(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[bool]:
    """For each call of the function, whether it was on the loop's thread."""
    calls: list[bool] = []
    real: Callable[..., Any] = getattr(module, name)
    loop_thread = threading.get_ident()

    def noting(*arguments: Any, **options: Any) -> Any:
        calls.append(threading.get_ident() == loop_thread)
        return real(*arguments, **options)

    monkeypatch.setattr(module, name, noting)
    return calls


async def test_the_application_and_its_document_are_made_beside_the_loop(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = noted(monkeypatch, server, "create_app")
    documents = noted(monkeypatch, api_app, "_document")
    web = await serve()
    assert made == [False]
    first, second = [await web.http.get("openapi.json") for _ in range(2)]
    assert first.json() == second.json()
    assert first.json()["openapi"].startswith("3.")
    assert documents == [False]
