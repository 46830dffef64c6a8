"""Every error Duomo raises on purpose, as one tree.

    DuomoError
    ├── InputError             what the caller sent cannot be used        HTTP 422, exit code 2
    │   ├── MediaError         a file, picture, sound or document         HTTP 415
    │   │   └── TooLarge       more bytes, pixels or seconds than allowed HTTP 413
    │   └── ConfigError        a setting or a configuration file
    ├── NotFound               no such row in this workspace              HTTP 404
    ├── Conflict               the state does not allow it                HTTP 409
    ├── Denied                 not signed in, or not yours                HTTP 401 / 403
    ├── TooMany                a limit was reached; try later             HTTP 429
    └── Unavailable            something we depend on is not there        HTTP 503, exit code 3
        ├── ModelUnavailable   weights missing or with another hash
        ├── StoreUnavailable   PostgreSQL does not answer
        └── LLMUnavailable     the language model server failed or cut its answer

A message says what came, what was wanted and what to do next. An error outside this tree is a bug.
"""

from __future__ import annotations


class DuomoError(Exception):
    """Base of the tree.

    Attributes:
        code: a stable machine-readable name; user interfaces translate it.
    """

    code = "error"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class InputError(DuomoError):
    code = "bad_input"


class MediaError(InputError):
    code = "bad_media"


class TooLarge(MediaError):
    code = "too_large"


class ConfigError(InputError):
    code = "bad_config"


class NotFound(DuomoError):
    code = "not_found"


class Conflict(DuomoError):
    code = "conflict"


class Denied(DuomoError):
    """
    Attributes:
        signed_in: False answers 401 (sign in first), True answers 403 (not yours).
    """

    code = "denied"

    def __init__(self, message: str, *, signed_in: bool = True, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.signed_in = signed_in


class TooMany(DuomoError):
    """
    Attributes:
        retry_after: seconds to wait before the next try.
    """

    code = "too_many"

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(DuomoError):
    code = "unavailable"


class ModelUnavailable(Unavailable):
    code = "model_unavailable"


class StoreUnavailable(Unavailable):
    code = "store_unavailable"


class LLMUnavailable(Unavailable):
    code = "llm_unavailable"
