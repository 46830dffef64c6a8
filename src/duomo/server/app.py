"""The web application: routes, one shape for every refusal, headers, one log line a request."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from psycopg.errors import InsufficientPrivilege, UniqueViolation
from starlette.exceptions import HTTPException

from duomo import errors
from duomo.errors import DuomoError
from duomo.server import admin, agent, customer, docs, improvements, insights, learning, models, pages, policy, why
from duomo.server.edge import Edge
from duomo.server.incoming import first_problem
from duomo.server.shapes import Refused
from duomo.server.site import open_site
from duomo.settings import Settings

STATUS: tuple[tuple[type[DuomoError], int], ...] = (
    (errors.TooLarge, 413),
    (errors.MediaError, 415),
    (errors.InputError, 422),
    (errors.NotFound, 404),
    (errors.Conflict, 409),
    (errors.TooMany, 429),
    (errors.Unavailable, 503),
)
_HTTP_CODES = {400: "bad_input", 404: "not_found", 405: "bad_input", 413: "too_large", 415: "unsupported_type"}


def create_app(settings: Settings) -> FastAPI:
    """The application; starting it starts or joins the database."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_site(settings) as site:
            app.state.site = site
            yield

    app = FastAPI(
        title="Duomo",
        version=admin.VERSION,
        description="Customer service that understands what people write, say and photograph.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        openapi_url="/openapi.json",
        responses={"4XX": {"model": Refused}, "5XX": {"model": Refused}},
    )
    api = APIRouter(prefix="/api/v1")
    own = (agent, learning, why, insights, models, improvements, policy, admin)
    for router in (customer.router, *(module.router for module in own), pages.media_router):
        api.include_router(router)
    app.include_router(api)
    app.include_router(admin.health)
    app.include_router(docs.router)
    app.include_router(pages.router)
    app.add_middleware(Edge)
    app.add_exception_handler(DuomoError, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse_input)
    app.add_exception_handler(HTTPException, _refuse_http)
    app.add_exception_handler(UniqueViolation, _refuse_clash)
    app.add_exception_handler(InsufficientPrivilege, _refuse_clash)  # the row with this id is another workspace's
    return app


def refusal(status: int, code: str, message: str, *, retry_after: float | None = None) -> JSONResponse:
    headers = {"Retry-After": str(int(retry_after))} if retry_after else None
    body = {"error": {"code": code, "message": message, "retry_after": retry_after}}
    return JSONResponse(body, status_code=status, headers=headers)


async def _refuse(_: Request, error: Exception) -> Response:
    assert isinstance(error, DuomoError)
    if isinstance(error, errors.Denied):
        return refusal(403 if error.signed_in else 401, error.code, str(error))
    if isinstance(error, errors.StoreUnavailable):  # what the database said may name hosts or hold values
        return refusal(503, error.code, "the database does not answer. Try again in a moment.", retry_after=2)
    if isinstance(error, errors.TooMany):
        return refusal(429, error.code, str(error), retry_after=error.retry_after)
    status = next((status for kind, status in STATUS if isinstance(error, kind)), 500)
    return refusal(status, error.code, str(error), retry_after=5 if status == 503 else None)


async def _refuse_input(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return refusal(422, "bad_input", first_problem(error.errors()))


async def _refuse_http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    response = refusal(error.status_code, _HTTP_CODES.get(error.status_code, "bad_input"), str(error.detail))
    response.headers.update(_text_headers(error.headers))
    return response


async def _refuse_clash(_: Request, __: Exception) -> Response:
    return refusal(409, "conflict", "this id or name is taken. Choose another.")


def _text_headers(headers: Any) -> dict[str, str]:
    return {str(name): str(value) for name, value in (headers or {}).items()}
