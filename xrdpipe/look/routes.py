"""The requests of the page. A VIEW is what `view.parse_view` takes, an id that of a view that was asked for.

GET ``/``, ``/main.js``, ``/plotly.js``, ...: the page itself.
GET ``/api/info``: what does not change, see `info`.
POST ``/api/view`` VIEW: numbers, text, or an error of the program with its key, see `answer.describe`.
POST ``/api/compare`` ``{before: VIEW, after: VIEW}``: difference of the patterns, see `answer.compare`.
With ``?quick=1`` these two, and the cake, may be previews: ``exact`` is false, or ``X-Exact`` is 0.
GET ``/api/picture?id=&layer=&rows=a,b&columns=c,d&width=&height=&scale=&low=&high=&reasons=&before=``: PNG, see
`picture.frame_png`; the header ``X-Range`` has the counts of the first and last colour.
GET ``/api/cake?id=&width=&height=&scale=``: PNG; ``X-Cake`` has its axes, see `answer.describe_cake`.
GET ``/api/pixel?id=&slow=&fast=`` and ``/api/rings?phase=`` or ``?through=slow,fast;...``: see `rings`.
POST ``/api/save`` ``{view: VIEW, name, what, format, overwrite}``: see `save.save`; 409 if a file is there already.
POST ``/api/tab`` ``{tab, has_state}``: a tab comes in, see `Tabs.enter`. POST ``/api/keep`` ``{tab, view, unsaved}``.
POST ``/api/end``: the server ends. GET ``/api/alive?tab=``: events for as long as a tab is open.

An id that is not kept any more gets 410; every other refusal is ``{error: {message, key}}`` with its status.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from ..config.arguments import UsageError
from ..model.errors import ConfigError, FrameError, choice
from ..report.report import plotly_script
from ..stages.integ.methods import radial_units
from ..stages.plot.preview import COLOURS
from . import answer, controls, save
from .canvas import phases, picture, rings
from .result import Result
from .session import Session
from .tabs import Tabs
from .view import COMBINE, View, checked_name, parse_view

log = logging.getLogger("xrdpipe")
PAGE = Path(__file__).parent / "page"
MOST_POINTS = 16  # that rings are drawn through
GONE = "this view is not kept any more; ask for it again"


class Json(JSONResponse):
    """An answer in ASCII, because names of files may have bytes that are no text."""

    def render(self, content: Any) -> bytes:
        """Return the body of the answer."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


class NotKeptError(Exception):
    """Error of the id of a view that is not kept any more."""


def application(session: Session, tabs: Tabs) -> Starlette:
    """Return the application of a session, without the guard before it."""

    def get(path: str, make: Callable[[Request], Response]) -> Route:
        async def endpoint(request: Request) -> Response:
            return await run_in_threadpool(_answered, make, request)

        return Route(path, endpoint)

    def post(path: str, make: Callable[..., Any]) -> Route:
        async def endpoint(request: Request) -> Response:
            try:
                content = json.loads(await request.body())
            except (ValueError, RecursionError):
                return _failed("the request is no JSON")
            quick = {"quick": True} if "quick" in request.query_params else {}
            return await run_in_threadpool(_answered, lambda _: make(content, **quick), request)

        return Route(path, endpoint, methods=["POST"])

    ahead = ThreadPoolExecutor(1)  # what the page asks for first is made while the browser starts
    described = ahead.submit(info, session)
    for work in (lambda: session.result(View()), session.preview.warm, session.warm.start):
        ahead.submit(work)

    async def alive(request: Request) -> Response:
        pulse = _pulse(session, tabs, request.query_params.get("tab", "")[:64])
        return StreamingResponse(pulse, media_type="text/event-stream")

    return Starlette(
        routes=[
            get("/", lambda request: FileResponse(PAGE / "index.html")),
            get("/plotly.js", lambda request: _plotly()),
            get("/api/info", lambda request: Json(described.result())),
            get("/api/picture", lambda request: _picture(session, request.query_params)),
            get("/api/cake", lambda request: _cake(session, request.query_params)),
            get("/api/pixel", lambda request: _pixel(session, request.query_params)),
            get("/api/rings", lambda request: _rings(session, request.query_params)),
            post("/api/view", partial(_view, session)),
            post("/api/compare", partial(_compare, session)),
            post("/api/save", lambda content: _save(session, content)),
            post("/api/tab", lambda content: _enter(tabs, content)),
            post("/api/keep", lambda content: _keep(tabs, content)),
            post("/api/end", lambda content: _end(tabs)),
            Route("/api/alive", alive),
            Mount("/", StaticFiles(directory=PAGE)),
        ]
    )


def info(session: Session) -> dict[str, Any]:
    """Return what does not change while the page is open."""
    return {
        "title": f"{session.plan.poni.name}, {len(session.images)} frames",
        "frames": [{"name": image.name} for image in session.images],
        "shape": list(session.shape),
        "combine": list(COMBINE) if session.combines else ["frame"],
        "save": session.save,
        "start": session.start.overrides,
        "groups": controls.groups(session),
        "phases": [*session.phases, *phases.calibrants()],
        "units": radial_units(),
        "reasons": [{"name": name, "colour": colour} for name, colour in COLOURS.items()],
        "changes": [{"name": name, "colour": colour} for name, colour in picture.CHANGES.items()],
        "colours": picture.colours(),
        "difference_colours": picture.colours(diverging=True),
        "centre": rings.beam_centre(session),
        "notes": session.plan.notes,
    }


def _answered(make: Callable[[Request], Response], request: Request) -> Response:
    """Return the answer to a request; an error of the user is no crash."""
    try:
        return make(request)
    except NotKeptError:
        return _failed(GONE, 410)
    except save.ExistsError as error:
        return _failed(str(error), 409)
    except (ConfigError, FrameError, UsageError) as error:
        return _failed(str(error))
    except Exception as error:  # a full disk, or a bug in a stage: the page goes on
        log.exception("%s failed", request.url.path)
        return _failed(f"{type(error).__name__}: {error}", 500)


def _failed(message: str, status: int = 400) -> Response:
    return Json({"error": {"message": message, "key": None}}, status)


def _view(session: Session, content: Any, quick: bool = False) -> Response:
    try:
        view = parse_view(content)
        return Json(answer.describe(session.quick(view) if quick else session.result(view), session))
    except (ConfigError, FrameError, UsageError) as error:
        return Json({**answer.describe_error(error), **_texts(session, content)})


def _texts(session: Session, content: Any) -> dict[str, Any]:
    """Return the text of a view that cannot be shown, as far as there is one."""
    try:
        view = parse_view(content)
        return answer.texts(session, view, session.start_of(view))
    except (ConfigError, UsageError):
        return {"command": None, "yaml": None}


def _compare(session: Session, content: Any, quick: bool = False) -> Response:
    parts, made = content if isinstance(content, Mapping) else {}, session.quick if quick else session.result
    before, after = (made(parse_view(parts.get(name))) for name in ("before", "after"))
    return Json(answer.compare(session, before, after))


def _save(session: Session, content: Any) -> Response:
    parts = content if isinstance(content, Mapping) else {}
    name = checked_name(parts.get("name"))
    described = parts.get("view")
    view: View = parse_view({**described, "name": name} if isinstance(described, Mapping) else described)
    what, form = str(parts.get("what")), str(parts.get("format", "npy"))
    return Json(save.save(session, view, what, form, parts.get("overwrite") is True))


def _end(tabs: Tabs) -> Response:
    tabs.end()
    return Json({"ended": True})


def _enter(tabs: Tabs, content: Any) -> Response:
    parts = content if isinstance(content, Mapping) else {}
    return Json(tabs.enter(parts.get("tab"), parts.get("has_state") is True))


def _keep(tabs: Tabs, content: Any) -> Response:
    parts = content if isinstance(content, Mapping) else {}
    tabs.keep(parts.get("tab"), parts.get("view"), parts.get("unsaved"))
    return Json({"kept": True})


def _made(session: Session, identifier: str | None) -> Result:
    result = session.made(identifier or "")
    if result is None:
        raise NotKeptError
    return result


def _picture(session: Session, query: Mapping[str, str]) -> Response:
    result = _made(session, query.get("id"))
    compares = query.get("layer") in ("difference", "changes") and "before" in query
    before = _made(session, query["before"]) if compares else None
    slow, fast = session.shape
    part = picture.Part(
        _pair(query, "rows", (0, slow)),
        _pair(query, "columns", (0, fast)),
        int(_number(query, "width", 800)),
        int(_number(query, "height", 800)),
        query.get("scale", "linear"),
        _number(query, "low", None),
        _number(query, "high", None),
        query.get("reasons", "1") not in ("0", "false"),
    )
    png, low, high = picture.frame_png(result, query.get("layer", "frame"), part, before)
    return Response(png, media_type="image/png", headers={"X-Range": f"{low!r},{high!r}"})


def _cake(session: Session, query: Mapping[str, str]) -> Response:
    cake, exact = picture.cake_of(session, _made(session, query.get("id")), "quick" in query)
    size = int(_number(query, "width", 800)), int(_number(query, "height", 400))
    choice("scale", query.get("scale", "linear"), picture.SCALES)
    png, low, high = picture.cake_png(cake.intensity, *size, query.get("scale", "linear"))
    about = json.dumps(answer.describe_cake(cake))
    return Response(
        png,
        media_type="image/png",
        headers={"X-Range": f"{low!r},{high!r}", "X-Cake": about, "X-Exact": str(int(exact))},
    )


def _pixel(session: Session, query: Mapping[str, str]) -> Response:
    result = _made(session, query.get("id"))
    slow, fast = _number(query, "slow", -1), _number(query, "fast", -1)
    return Json(rings.describe_pixel(session, result, slow, fast))


def _rings(session: Session, query: Mapping[str, str]) -> Response:
    if "through" not in query:
        return Json({"rings": rings.phase_rings(session, query.get("phase", ""))})
    points = [_pair({"point": each}, "point", (0, 0)) for each in query["through"].split(";")[:MOST_POINTS]]
    return Json({"rings": rings.rings_through(session, points)})


def _number(query: Mapping[str, str], key: str, default: Any) -> Any:
    text = query.get(key)
    if text in (None, ""):
        return default
    try:
        return float(text or "")
    except ValueError as error:
        raise ConfigError(f"{key}={text[:40] if text else text}: a number expected") from error


def _pair(query: Mapping[str, str], key: str, default: tuple[float, float]) -> tuple[float, float]:
    if key not in query:
        return default
    first, _, last = query[key].partition(",")
    values = {"first": first, "last": last}
    return _number(values, "first", default[0]), _number(values, "last", default[1])


def _plotly() -> Response:
    return Response(plotly_script(), media_type="text/javascript", headers={"Cache-Control": "private, max-age=3600"})


async def _pulse(session: Session, tabs: Tabs, name: str) -> AsyncIterator[str]:
    """Say every second that the server is there, and what is being prepared, for as long as the tab listens."""
    with tabs.one(name):
        while not tabs.ended:
            yield f"data: {json.dumps(session.preparing)}\n\n"
            await asyncio.sleep(1)
        yield "event: end\ndata: ended\n\n"
