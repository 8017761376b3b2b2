"""The web interface: a page, and four endpoints for programs."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI, File, Query, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from PIL import Image
from starlette import datastructures
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import fgbg
from fgbg.data.images import read_photo_size, refuse_photo_like
from fgbg.errors import UserError, unknown_name
from fgbg.ship.load import Model
from fgbg.ship.matte import list_absent, require_matting
from fgbg.ship.refine import Refined
from fgbg.ship.serve.answer import Answer, answer_photo
from fgbg.ship.serve.limits import MEGA, Limits, RefusedError, UploadLimits, Workshop

AnswerKind = Literal["json", "mask", "cutout", "soft", "overlay", "probability"]
"""JSON, or a `Kind` of picture."""

HERE = Path(__file__).parent
PAGE = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/zip.js": ("zip.js", "text/javascript"),
}
HEALTH = "/health"
PORT = re.compile(r":\d+$")
LOCAL_HOSTS = ("127.0.0.1", "localhost", "[::1]", "::1")
GUARD = {
    # The page may contact only this server, and no other page may frame it.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def make_app(model: Model, name: str, limits: Limits | None = None, *, hosts: tuple[str, ...] = LOCAL_HOSTS) -> FastAPI:
    """The application, for any ASGI server.

    Args:
        model: The model that answers.
        name: The model's name.
        limits: For each photo and for all at once.
        hosts: Host names that are accepted: a page elsewhere cannot reach the server by a name of its own.
    """
    limits = limits or Limits()
    app = FastAPI(title="fgbg", version=fgbg.__version__, docs_url=None, redoc_url=None)  # those pages load from other hosts
    workshop = Workshop(limits.computing)

    @app.head(HEALTH, include_in_schema=False)
    @app.get(HEALTH)
    async def health() -> dict[str, str]:
        """Whether it answers at all."""
        return {"status": "ok"}

    @app.get("/metadata")
    async def metadata() -> dict[str, Any]:
        """What the model is, and what is refused."""
        return describe_server(model, name, limits)

    @app.post("/predict", response_class=Response, responses=ANSWERS)
    async def predict(
        request: Request,
        file: Annotated[UploadFile, File(description="A photo: JPEG, PNG, WebP, TIFF, BMP or GIF.")],
        kind: Annotated[AnswerKind, Query(description="A PNG of this kind, or JSON with the mask's runs.")] = "json",
        threshold: Annotated[float | None, Query(ge=0, le=1, description="In place of the model's own.")] = None,
    ) -> Response:
        """Separate a photo's object from its ground."""
        _refuse_other_names(request.query_params, await request.form())
        if kind == "soft":
            try:
                require_matting()
            except UserError as error:
                raise RefusedError(422, str(error)) from None
        # The folder is not the thread's own: of a request that is given up no photo stays while the thread works on.
        with tempfile.TemporaryDirectory(prefix="fgbg-", ignore_cleanup_errors=True) as folder:
            return await workshop.run(_work_on, model, file, Path(folder) / "photo", kind, threshold, limits)

    for address, (content, media_type) in PAGE.items():
        route = _serve_text(HERE / content, media_type)
        app.add_api_route(address, route, methods=["GET", "HEAD"], include_in_schema=False)
    app.add_exception_handler(RefusedError, _say_refusal)
    app.add_exception_handler(RequestValidationError, _say_what_is_missing)
    app.add_middleware(UploadLimits, limits=limits)
    app.add_middleware(KnownNames, allowed_hosts=list(hosts))
    app.add_middleware(Guard)
    return app


class KnownNames(TrustedHostMiddleware):
    """Middleware that refuses host names other than the server's, except from probes, which may know only an address.

    What pages of other sites make their reader's browser send is refused too, unless it can only look.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD"):
            headers = datastructures.Headers(scope=scope)
            origin = headers.get("origin")  # browsers tell it; programs need not
            if origin and not self._is_own(origin, headers.get("host", "")):
                await _refuse_origin(origin).respond()(scope, receive, send)
                return
        ask = self.app if scope.get("path") == HEALTH else super().__call__
        await ask(scope, receive, send)

    def _is_own(self, origin: str, host: str) -> bool:
        """Whether it is the server that was asked, or a name that was given to it: a proxy may change name and port."""
        place = origin.lower().partition("://")[2]
        name = PORT.sub("", place)
        given = [each for each in self.allowed_hosts if each not in LOCAL_HOSTS]  # this machine's other ports are others'
        return host.lower() in (place, name) or any(
            name == each or (each.startswith("*") and name.endswith(each[1:])) for each in given
        )


def _refuse_origin(origin: str) -> RefusedError:
    return RefusedError(
        403,
        f"Origin {origin} is not this server's, and pages of other sites may send it nothing: open its own page, and if a "
        "proxy shows that under another name, start the server with --names and that name",
    )


class Guard:
    """Middleware that adds the headers of `GUARD` to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""

        async def guard(message: Message) -> None:
            if message["type"] == "http.response.start":
                datastructures.MutableHeaders(scope=message).update(GUARD)
            await send(message)

        await self.app(scope, receive, guard)


ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/json": {}, "image/png": {}}, "description": "The answer."},
    400: {"description": "A form that cannot be read, or a name that is not this machine's."},
    403: {"description": "Sent by a page of another site."},
    408: {"description": "The upload took too long."},
    413: {"description": "The file or the photo is too large."},
    415: {"description": "Not a photo that can be read."},
    422: {"description": "A value that cannot be used."},
    429: {"description": "Too many at once."},
    503: {"description": "The server is being stopped."},
}


def describe_server(model: Model, name: str, limits: Limits) -> dict[str, Any]:
    """Which model answers, with fields of its header, and the limits."""
    header = model.header
    told = ("network", "encoder", "width", "size", "fit", "border", "data", "data_fingerprint", "validation_dice")
    return {
        "model": name,
        "threshold": model.threshold,
        "refinement": list(model.steps) if isinstance(model, Refined) else [],
        **{field: getattr(header, field) for field in (*told, "arithmetic", "pretrained_license", "fgbg_version")},
        "soft_edges": not list_absent(),
        "limits": {"megabytes": limits.megabytes, "megapixels": limits.megapixels},
    }


def _work_on(
    model: Model, upload: datastructures.UploadFile, path: Path, kind: AnswerKind, threshold: float | None, limits: Limits
) -> Response:
    """Keep the upload in a file while it is worked on, so that it is read as by `fgbg predict`."""
    with path.open("wb") as file:
        shutil.copyfileobj(upload.file, file)
    shown = Path(upload.filename or "the file").name
    try:
        refuse_photo_like(Path(shown))
        height, width = read_photo_size(path)
        if height * width > limits.megapixels * MEGA:
            raise RefusedError(
                413, f"{width}x{height} pixels are more than {limits.megapixels:g} megapixels: reduce the photo first"
            )
        return _respond(answer_photo(model, path, threshold), kind)
    except UserError as error:
        status = 413 if isinstance(error.__context__, Image.DecompressionBombError) else 415
        raise RefusedError(status, str(error).replace(str(path), shown)) from None


def _refuse_other_names(query: datastructures.QueryParams, form: datastructures.FormData) -> None:
    """Refuse what would otherwise be ignored."""
    _refuse_others("query parameter", [name for name, _ in query.multi_items()], ("kind", "threshold"))
    _refuse_others(
        "form field",
        [name for name, _ in form.multi_items()],
        ("file",),
        cure="; the rest stands in the address, as in /predict?kind=mask",
    )


def _refuse_others(what: str, given: Sequence[str], known: Sequence[str], cure: str = "") -> None:
    for name, count in Counter(given).items():
        if name not in known:
            raise RefusedError(422, f"{unknown_name(what, name, known)}{cure}")
        if count > 1:
            raise RefusedError(422, f"{name} is given {count} times: once is enough")


def _respond(answer: Answer, kind: AnswerKind) -> Response:
    if kind == "json":
        return JSONResponse(answer.describe())
    return Response(answer.draw(kind), media_type="image/png")


def _serve_text(path: Path, media_type: str) -> Callable[[], Response]:
    text = path.read_text(encoding="utf-8")

    def serve() -> Response:
        return Response(text, media_type=f"{media_type}; charset=utf-8")

    return serve


async def _say_refusal(_: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    return error.respond()


async def _say_what_is_missing(_: Request, error: Exception) -> Response:
    """One clause per mistake, with the values that are allowed."""
    assert isinstance(error, RequestValidationError)
    told = "; ".join(f"{each['loc'][-1]}: {_word(each)}" for each in error.errors())
    return JSONResponse({"detail": told}, 422)


def _word(mistake: dict[str, Any]) -> str:
    if mistake["type"] == "value_error":  # FastAPI's own, which names a Python class
        return "text, where a photo is expected: for curl, -F file=@photo.jpg"
    sentence: str = mistake["msg"]
    return sentence[0].lower() + sentence[1:]
