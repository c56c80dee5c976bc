"""Who may ask for what: only this computer, only with the token, only from the page itself."""

from __future__ import annotations

import secrets
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_BODY = 1 << 20  # bytes of a request
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; object-src 'none'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Guard:
    """Refuse every request that does not come from the page of this server.

    Parameters
    ----------
    app
        The application behind.
    port
        Port of the server, part of every Host and Origin that is accepted.
    token
        Secret of the address.
    ticket
        Secret that is good for one visit, because the command line of a browser is no secret.
    """

    def __init__(self, app: ASGIApp, port: int, token: str, ticket: str) -> None:
        self._app, self._token, self._tickets = app, token, [ticket]
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        self.cookie = f"xrdpipe-look-{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or let the application answer."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # no WebSocket
            return
        headers = Headers(scope=scope)
        answer = self._refusal(scope, headers)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = MutableHeaders(scope=message)
                cached = "no-store" if scope["path"].startswith("/api/") else "no-cache"
                for name, value in {**HEADERS, "Cache-Control": cached}.items():
                    given.setdefault(name, value)
            await send(message)

        await (answer or self._app)(scope, _limited(receive), send_with_headers)

    def _lets_in(self, given: str) -> bool:
        """Return whether an address has the token, or the ticket that nobody has used."""
        if self._tickets and _same(given, self._tickets[0]):
            self._tickets.clear()
            return True
        return _same(given, self._token)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        """Return the answer to a request that the application must not see."""
        if headers.get("host", "").lower() not in self._hosts:
            return _refuse("not the address of this page")
        query = dict(pair.partition("=")[::2] for pair in scope["query_string"].decode("latin-1").split("&"))
        if scope["path"] == "/" and scope["method"] == "GET" and "token" in query:
            if not self._lets_in(query["token"]):
                return _refuse("wrong token; open the address that xrdpipe look printed")
            welcome = RedirectResponse("/", 303)
            welcome.set_cookie(self.cookie, self._token, httponly=True, samesite="strict", path="/")
            return welcome
        given = headers.get("x-token") or _cookie(headers.get("cookie", ""), self.cookie)
        if not _same(given, self._token):
            return _refuse("this page belongs to xrdpipe look; open the address with the token that it printed")
        origin = headers.get("origin")
        if origin is not None and origin.removeprefix("http://").lower() not in self._hosts:
            return _refuse("not from this page")
        if scope["method"] == "POST":
            if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
                return PlainTextResponse("JSON expected\n", 415)
            if not headers.get("content-length", "").isdecimal():
                return PlainTextResponse("a length is expected\n", 411)
            if int(headers["content-length"]) > LARGEST_BODY:
                return PlainTextResponse(f"at most {LARGEST_BODY} bytes\n", 413)
        return None


def _same(given: str, secret: str) -> bool:
    return secrets.compare_digest(given.encode(), secret.encode())


def _refuse(reason: str) -> Response:
    return PlainTextResponse(f"{reason}\n", 403)


def _cookie(text: str, name: str) -> str:
    try:
        morsel = SimpleCookie(text).get(name)
    except CookieError:
        return ""
    return "" if morsel is None else morsel.value


def _limited(receive: Receive) -> Receive:
    """Return what receives a request of at most `LARGEST_BODY` bytes."""
    received = 0

    async def limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > LARGEST_BODY:
            raise ValueError(f"more than {LARGEST_BODY} bytes")
        return message

    return limited
