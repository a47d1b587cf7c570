"""The page and its JSON as an ASGI application over a session.

The page is one HTML file with its style and script inside; it loads nothing else, and its content
security policy allows nothing else. Texts reach it as JSON and are shown as text, never as HTML.
Starlette serves it, which is here for `vcjax.serve` anyway: the page needs no package beside those,
no network, and goes through an SSH tunnel, as there is one port and no WebSocket.
"""

import hmac
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vcjax.core.errors import UserError
from vcjax.core.validation import explain
from vcjax.review.agreement import Summary
from vcjax.review.annotator import Decision, Score, check_name
from vcjax.review.session import Session, View
from vcjax.review.units import Unit
from vcjax.roles.verdict import AXES, AnyReason

_PAGE = Path(__file__).parent / "page"
_MAX_BODY = 1 << 16
"""Bytes. The longest reason, of 4000 characters, is 48,000 bytes if JSON escapes all of them."""
_COOKIE = "vcjax_review"
_LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Frame-Options": "DENY",
}


# Strict, as `true` and "3" would else be taken for scores.
class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    annotator: AnyReason
    languages: list[str] = []


class _Scored(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    code: str
    score: int
    axes: dict[str, int] = {}


class _Score(_Body):
    unit: str
    scores: Annotated[list[_Scored], Field(min_length=1)]
    reason: AnyReason = ""


class _Skip(_Body):
    unit: str
    reason: AnyReason = ""


class _Move(_Body):
    direction: Literal["back", "forward"]


class _Undo(_Body):
    event: int


Body = TypeVar("Body", bound=_Body)


def build_app(
    session: Session, summary: Summary, *, annotator: str = "", token: str = ""
) -> Starlette:
    """The ASGI application.

    Args:
      summary: of the session; it follows each action, once that has been answered.
      annotator: who scores; empty lets everybody name themselves in the page.
      token: that a browser must have shown once, as `/?token=...`; empty requires none, and then
        requests must be addressed to this machine by a local name.
    """
    html, policy = _page()

    async def page(request: Request) -> Response:
        if given := request.query_params.get("token"):
            # The token leaves the address bar, and with it the history and what is copied from
            # there. It is the right one: the guard comes before this.
            response = Response(status_code=303, headers={"Location": request.url.path})
            response.set_cookie(_COOKIE, given, httponly=True, samesite="strict")
            return response
        return HTMLResponse(html, headers={"Content-Security-Policy": policy})

    def setting(_: Request) -> Response:
        charter = session.material.charter
        return JSONResponse(
            {
                "annotator": annotator,
                "annotators": [] if annotator else list(session.annotators),
                "languages": list(session.languages),
                "pairs": session.material.are_pairs,
                "axes": list(AXES),
                "domains": {each.id: each.name.model_dump() for each in charter.subdomains()},
                "charter": {lang: charter.grading_text(lang) for lang in charter.languages},
            }
        )

    def agreement(_: Request) -> Response:
        return JSONResponse(summary.current())

    def view(body: _Body) -> None:
        """Only the view is asked for."""

    def score(body: _Score) -> None:
        scores = {each.code: Score(each.score, each.axes) for each in body.scores}
        session.decide(body.annotator, body.unit, Decision(scores, body.reason.strip()))

    def skip(body: _Skip) -> None:
        session.decide(body.annotator, body.unit, Decision({}, body.reason.strip()))

    def move(body: _Move) -> None:
        session.move(body.annotator, body.direction, body.languages)

    def undo(body: _Undo) -> None:
        session.undo(body.annotator, body.event)

    def action(kind: type[Body], act: Callable[[Body], None]) -> Callable[..., Any]:
        def acted(content: bytes) -> Response:
            body = _parsed(content, kind)
            body.annotator = check_name(body.annotator)
            if annotator and body.annotator != annotator:
                raise UserError(f"annotator: this review is {annotator}'s")
            before = session.events
            act(body)
            seen = _seen(session, session.view(body.annotator, body.languages))
            # After the response: intervals take a moment, and the annotator waits for the next
            # unit.
            changed = BackgroundTask(summary.current) if session.events > before else None
            return JSONResponse(seen, background=changed)

        async def endpoint(request: Request) -> Response:
            if request.headers.get("content-type", "").partition(";")[0] != "application/json":
                raise HTTPException(415, "send JSON")  # which no other site's page can do unasked
            content = b""
            # Counted as it comes: the length that a client declares may be wrong, or missing.
            async for part in request.stream():
                content += part
                if len(content) > _MAX_BODY:
                    raise HTTPException(413, f"more than {_MAX_BODY} bytes")
            # In a thread: a session waits for the disk and for its lock, and the event loop must
            # not.
            return await run_in_threadpool(acted, content)

        return endpoint

    actions = [
        ("view", action(_Body, view)),
        ("score", action(_Score, score)),
        ("skip", action(_Skip, skip)),
        ("move", action(_Move, move)),
        ("undo", action(_Undo, undo)),
    ]
    return Starlette(
        routes=[
            Route("/", page),
            Route("/agreement", page),
            Route("/api/setting", setting),
            Route("/api/agreement", agreement),
            *(Route(f"/api/{name}", act, methods=["POST"]) for name, act in actions),
        ],
        middleware=[Middleware(_Guard, token=token)],
        exception_handlers={UserError: _refuse, HTTPException: _refuse},
    )


def _page() -> tuple[str, str]:
    """The HTML with everything inside, and the policy that allows exactly that."""
    parts = {
        name: (_PAGE / name).read_text(encoding="utf-8")
        for name in ("page.html", "page.css", "texts.js", "page.js")
    }
    style, script = parts["page.css"], parts["texts.js"] + parts["page.js"]
    html = parts["page.html"].replace("/* style */", style).replace("/* script */", script)

    def hashed(text: str) -> str:
        return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"

    policy = (
        f"default-src 'none'; style-src {hashed(style)}; script-src {hashed(script)}; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return html, policy


def _parsed(content: bytes, kind: type[Body]) -> Body:
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        raise UserError(explain(error, kind)) from None


def _seen(session: Session, view: View) -> dict[str, Any]:
    """What the browser gets: texts and codes."""
    return {
        "unit": None if view.unit is None else _shown_unit(view.unit, view.decision),
        "position": view.position,
        "total": view.total,
        "scored": view.scored,
        "skipped": view.skipped,
        "can_go_forward": view.can_go_forward,
        "undoable": view.undoable,
    }


def _shown_unit(unit: Unit, decision: Decision | None) -> dict[str, Any]:
    # An answer's hash, and whose it is, stay here: a browser could tell the models apart by them.
    return {
        "code": unit.code,
        "lang": unit.item.lang,
        "domain": unit.item.domain,
        "conversation": [dict(message) for message in unit.conversation],
        "rubric": unit.item.rubric,
        "reference": unit.item.reference,
        "answers": [{"code": answer.code, "text": answer.text} for answer in unit.answers],
        "decision": None if decision is None else _shown_decision(decision),
    }


def _shown_decision(decision: Decision) -> dict[str, Any]:
    return {
        "scores": {
            code: {"score": score.score, "axes": dict(score.axes)}
            for code, score in decision.scores.items()
        },
        "reason": decision.reason,
    }


async def _refuse(_: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        return JSONResponse({"error": error.detail}, error.status_code)
    return JSONResponse({"error": str(error)}, 400)


class _Guard:
    """Refuses whoever has no token, or, where there is none, whoever came by another name than
    this machine's own: a page of another site whose name was made to point here (DNS rebinding).

    Every response gets the headers that keep browsers from guessing, caching and framing.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app, self._token = app, token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # The server's own start and end, which have neither headers nor a sender.
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [
                    (name.lower().encode(), value.encode()) for name, value in _HEADERS.items()
                ]
                message["headers"] = [*message["headers"], *added]
            await send(message)

        request = Request(scope)
        app = self._app
        if self._token:
            given = request.query_params.get("token") or request.cookies.get(_COOKIE, "")
            # In constant time, so that the time of the refusal says nothing about the token.
            if not hmac.compare_digest(given.encode(), self._token):
                app = PlainTextResponse("open the address with its token: /?token=...", 401)
        else:
            host = Headers(scope=scope).get("host", "")
            name = host[: host.index("]") + 1] if "]" in host else host.partition(":")[0]
            if name not in _LOCAL_NAMES:
                app = PlainTextResponse("open it as localhost; other names need a token", 403)
        await app(scope, receive, guarded)
