"""How the fake servers refuse."""

from __future__ import annotations

from fastapi import Response
from fastapi.responses import JSONResponse


class Refused(Exception):
    """A refusal in the protocol's one shape."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code

    def response(self) -> Response:
        body = {"error": {"code": self.code, "message": str(self), "retry_after": None}}
        return JSONResponse(body, status_code=self.status)
