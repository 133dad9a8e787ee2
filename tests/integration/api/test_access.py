"""Nobody gets in without the token, under a strange name, or from another page."""

import stat
from pathlib import Path
from typing import Any

import pytest

from aico_sched.api import api_token
from aico_sched.api.app import API
from aico_sched.api.guard import ANY_ADDRESS, Guard
from aico_sched.api.operations import OPERATIONS
from aico_sched.api.tokens import UnusableToken, token_file
from aico_sched.security.keys import InsecureKeyFile

ROUTES = [(operation.method, operation.path) for operation in OPERATIONS]
ROUTES += [("GET", "/health"), ("GET", "/metrics"), ("GET", "/events/stream"), ("GET", "/openapi.json")]


def filled(path: str) -> str:
    return path.replace("{task_id}", "user.a").replace("{execution_id}", "e").lstrip("/")


async def test_without_the_token_every_route_refuses(web: Any) -> None:
    wrong = ["", "Bearer", f"Bearer {web.token}x", f"Basic {web.token}", web.token, "Bearer ü"]
    before = web.run.content()
    async with web.stranger() as http:
        for method, path in ROUTES:
            for given in wrong:
                headers = {"Authorization": given.encode("latin-1")} if given else {}
                answer = await http.request(method, filled(path), headers=headers, json={})
                assert answer.status_code == 401, (method, path, given)
                assert answer.headers["www-authenticate"] == "Bearer"
                assert answer.headers["content-type"] == "application/problem+json"
                assert answer.json()["code"] == "permission_denied"
    assert web.run.content() == before


async def test_the_routes_of_the_application_are_all_in_that_list(web: Any) -> None:
    document = (await web.http.get("openapi.json")).json()
    there = {(method.upper(), path.removeprefix(API)) for path, each in document["paths"].items() for method in each}
    assert there | {("GET", "/openapi.json")} == set(ROUTES)


STRANGE = ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "[", "user@localhost.evil"]


async def test_a_strange_host_is_refused_on_every_path(web: Any) -> None:
    for path in ("/", "/static/app.js", f"{API}/status", "/nowhere"):
        for host in STRANGE:
            answer = await web.http.get(web.address.rstrip("/") + path, headers={"Host": host})
            assert answer.status_code in (400, 403), (path, host)
            assert b"<html" not in answer.content


def test_on_all_addresses_a_number_is_as_good_as_a_name() -> None:
    def refused(host: str, *hosts: str) -> bool:
        scope = {"type": "http", "headers": [(b"host", host.encode())]}
        return Guard("a token of some length", hosts).refusal(scope, with_token=False) is not None

    for host in ("192.168.1.7:5567", "[fe80::1]:5567"):
        assert not refused(host, "box", ANY_ADDRESS)
        assert refused(host, "box")
    assert not refused("box:5567", "box", ANY_ADDRESS)
    assert refused("evil.example", "box", ANY_ADDRESS)
    assert refused("*", "box")


async def test_a_page_of_another_origin_is_refused(web: Any) -> None:
    for origin in ("http://evil.example", "null", "http://localhost:1", "https://127.0.0.1", ""):
        answer = await web.http.post("registry/reload", headers={"Origin": origin})
        assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied"), origin


async def test_its_own_page_may_ask_under_each_name_of_this_machine(web: Any) -> None:
    port = web.address.rsplit(":", 1)[1].rstrip("/")
    for name in ("127.0.0.1", "localhost", "LOCALHOST", "[::1]"):
        headers = {"Host": f"{name}:{port}", "Origin": f"http://{name}:{port}"}
        assert (await web.http.get("status", headers=headers)).status_code == 200


async def test_every_answer_carries_the_security_headers(web: Any) -> None:
    for path in ("", "static/none.js", f"{API.lstrip('/')}/status", f"{API.lstrip('/')}/nowhere"):
        headers = (await web.http.get(web.address + path)).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")
        assert headers["referrer-policy"] == "no-referrer"
        assert "server" not in headers
    assert (await web.http.get("status")).headers["cache-control"] == "no-store"


async def test_the_api_may_do_what_its_key_may(serve: Any) -> None:
    web = await serve("watcher", roles={"watcher": "observer"})
    assert (await web.http.get("tasks")).status_code == 200
    task = {"task_id": "user.a", "schedule": "interval:60", "task_class": "demo.echo"}
    answer = await web.http.post("tasks", json=task)
    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")


def test_the_token_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "api.token"
    token = api_token(path)
    assert len(token) >= 43
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert api_token(path) == token
    assert [entry.name for entry in path.parent.iterdir()] == ["api.token"]


def test_a_token_file_that_others_may_read_or_that_holds_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "api.token"
    api_token(path)
    path.chmod(0o644)
    with pytest.raises(InsecureKeyFile):
        api_token(path)
    path.chmod(0o600)
    for content in ("", "short", "two words of a token", "x" * 600):
        path.write_text(content)
        with pytest.raises(UnusableToken):
            api_token(path)


async def test_the_token_file_is_where_the_settings_say(serve: Any, tmp_path: Path) -> None:
    path = tmp_path / "elsewhere" / "token"
    web = await serve(web__token_file=str(path))
    assert token_file(web.run.settings) == path
    assert path.read_text().strip() == web.token
