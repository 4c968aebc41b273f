"""The page's server: on loopback alone, behind a token, with answers that are made for each request and nothing it could change.

GET  /<token>/                     the page          GET /<token>/static/<name>     its files
GET  /<token>/api/<view>?…         a view as JSON    GET /<token>/csv/<view>?…      its rows
GET  /<token>/export?…             the page with what it shows, as one file
POST /<token>/ask/<kind>?…         begin to compute  POST /<token>/cancel
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from explaind.errors import ExplaindError, QueryError
from explaind.explore.requests import Page, as_csv
from explaind.explore.state import State

__all__ = ["make_server"]

LOOPBACK = "127.0.0.1"
STATIC = {"page.js": "text/javascript", "draw.js": "text/javascript", "page.css": "text/css"}
VIEWS = ("predictions", "timeline", "total", "samples", "certificate", "kernel", "checkpoints", "languages")
KINDS = ("timeline", "samples")
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    # Plotly writes styles into the page; scripts come from here alone.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; "
    "connect-src 'self'; font-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
}


def make_server(page: Page, port: int = 0) -> tuple[ThreadingHTTPServer, str]:
    """A server that is bound, and the address of its page.

    Args:
        page: answers the requests.
        port: 0 for any that is free.

    Raises:
        QueryError: the port is taken.
    """
    token = secrets.token_urlsafe(24)

    class Bound(_Handler):
        pass

    Bound.page, Bound.token = page, token
    try:
        server = ThreadingHTTPServer((LOOPBACK, port), Bound)
    except OSError as error:
        raise QueryError(
            f"The port {port} cannot be used.",
            got=str(error),
            remedy="Choose another one with --port, or leave it out.",
        ) from error
    server.daemon_threads = True
    Bound.port = server.server_port
    return server, f"http://{LOOPBACK}:{server.server_port}/{token}/"


class _Handler(BaseHTTPRequestHandler):
    page: Page
    token: str
    port: int
    server_version, sys_version = "explaind", ""

    def do_GET(self) -> None:
        self._serve(self._get)

    def do_POST(self) -> None:
        self._serve(self._post)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged: their addresses hold the token."""

    def _serve(self, answer: Callable[[list[str], dict[str, str]], None]) -> None:
        address = urlsplit(self.path)
        given, *parts = address.path.lstrip("/").split("/")
        hosts = {f"{name}:{self.port}" for name in (LOOPBACK, "localhost")}
        origin = self.headers.get("Origin")
        if (
            not hmac.compare_digest(given.encode(), self.token.encode())
            or self.headers.get("Host") not in hosts
            or (origin is not None and urlsplit(origin).netloc not in hosts)
        ):
            self._send(
                HTTPStatus.FORBIDDEN,
                b"This address lacks the token that was printed at the start.",
                "text/plain",
            )
            return
        try:
            answer(parts, dict(parse_qsl(address.query, keep_blank_values=True)))
        except ExplaindError as error:
            self._json({"error": str(error)}, HTTPStatus.BAD_REQUEST)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the page was closed
        except Exception as error:  # said on the page, which stays usable
            self._json({"error": f"{type(error).__name__}: {error}"}, HTTPStatus.INTERNAL_SERVER_ERROR)

    def _get(self, parts: list[str], fields: dict[str, str]) -> None:
        match parts:
            case [""]:
                self._send(HTTPStatus.OK, _file("index.html"), "text/html; charset=utf-8")
            case ["static", "plotly.js"]:
                self._send(HTTPStatus.OK, _plotly(), "text/javascript", cached=True)
            case ["static", name] if name in STATIC:
                self._send(HTTPStatus.OK, _file(name), f"{STATIC[name]}; charset=utf-8")
            case ["api", "sources"]:
                self._json(self.page.sources())
            case ["api", "state"]:
                self._json(self.page.desk.state())
            case ["api", "samples-of", role] if role in ("test", "train"):
                positions = [int(i) for i in fields.pop("positions", "").split(",") if i.isdigit()][:200]
                self._json(self.page.sample(State.read(fields), role, positions))
            case ["api", "plan", kind] if kind in KINDS:
                self._json(self.page.desk.plan(*self.page.question(kind, State.read(fields))))
            case ["api", view] if view in VIEWS:
                self._json(self.page.view(view, State.read(fields)).to_json())
            case ["csv", view] if view in VIEWS:
                text = as_csv(self.page.view(view, State.read(fields)))
                self._send(HTTPStatus.OK, text.encode(), "text/csv; charset=utf-8")
            case ["export-parts"]:
                parts_of = {"style": _file("page.css"), "plotly": _plotly(), "draw": _file("draw.js")}
                self._json({name: content.decode() for name, content in parts_of.items()})
            case _:
                self._send(HTTPStatus.NOT_FOUND, b"There is nothing at this address.", "text/plain")

    def _post(self, parts: list[str], fields: dict[str, str]) -> None:
        match parts:
            case ["ask", kind] if kind in KINDS:
                began = self.page.desk.ask(*self.page.question(kind, State.read(fields)))
                self._json({"began": began})
            case ["cancel"]:
                self.page.desk.cancel()
                self._json({})
            case _:
                self._send(HTTPStatus.NOT_FOUND, b"There is nothing at this address.", "text/plain")

    def _json(self, content: Any, status: HTTPStatus = HTTPStatus.OK) -> None:
        from plotly.io.json import to_json_plotly  # numpy arrays, and NaN as null

        self._send(status, to_json_plotly(content).encode(), "application/json")

    def _send(self, status: HTTPStatus, body: bytes, kind: str, *, cached: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in HEADERS.items():
            if not (cached and name == "Cache-Control"):
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _file(name: str) -> bytes:
    return (files("explaind.explore") / "page" / name).read_bytes()


def _plotly() -> bytes:
    return (files("plotly") / "package_data" / "plotly.min.js").read_bytes()
