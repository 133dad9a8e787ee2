"""The dashboard's files. They hold no data, so they need no token; what they show they ask of the API with one."""

from importlib import resources
from typing import Final

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.responses import Response

from aico_sched.api.guard import SECURITY_HEADERS

_KINDS: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_PLACE: Final = "__API__"


def create_dashboard(api: str) -> APIRouter:
    """The dashboard at the prefix it is included with; `api` is the path of the API it asks."""
    files = {
        entry.name: entry.read_bytes()
        for entry in resources.files("aico_sched.api.static").iterdir()
        if entry.name[entry.name.rfind(".") :] in _KINDS
    }
    page = files.pop("index.html").replace(_PLACE.encode(), api.encode())
    router = APIRouter(include_in_schema=False)

    async def index() -> Response:
        return _answer(page, ".html")

    async def static(name: str) -> Response:
        if name not in files:
            raise HTTPException(404, f"the dashboard has no file {name!r}")
        return _answer(files[name], name[name.rfind(".") :])

    router.add_api_route("/", index, methods=["GET", "HEAD"])
    router.add_api_route("/static/{name}", static, methods=["GET", "HEAD"])
    return router


def _answer(content: bytes, kind: str) -> Response:
    # Asked again each time: an upgrade of the package must not leave half of the old page in a cache.
    # The headers here, too: inside another program nothing else sends them.
    return Response(content, media_type=_KINDS[kind], headers={**SECURITY_HEADERS, "Cache-Control": "no-cache"})
