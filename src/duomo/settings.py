"""What an operator can set, read once from the environment and the command line."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from duomo.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Settings:
    """Each field `name` is the variable DUOMO_NAME; `database_url` alone is DATABASE_URL."""

    home: Path = Path("~/.duomo")  # all state: database, files, secrets
    database_url: str | None = None  # None: the embedded PostgreSQL below `home`
    host: str = "127.0.0.1"
    port: int = 8080
    public_url: str | None = None  # e.g. https://help.example.com, behind a proxy that changes the Host header
    pool_size: int = 8  # database connections of this process
    session_hours: int = 12  # an agent stays signed in
    media_minutes: int = 60  # a media URL stays valid
    max_import_bytes: int = 200 * 2**20  # of one knowledge file
    visitors_per_minute: int = 120  # new visitors from one address
    messages_per_minute: int = 60  # from one visitor; an address may send 40 times as many
    uploads_per_minute: int = 30  # files from one visitor; an address may send 40 times as many
    sign_ins_per_minute: int = 5  # failed ones, for one account from one address; 4 times as many for either alone
    llm_url: str | None = None  # an OpenAI-compatible server; None: answers quote the knowledge
    llm_model: str | None = None
    llm_key: str | None = None
    llm_capabilities: str = "text"  # of: text, image, audio, joined by commas


def variable(name: str) -> str:
    """The environment variable of a field."""
    return "DATABASE_URL" if name == "database_url" else f"DUOMO_{name.upper()}"


def load(environment: Mapping[str, str], **arguments: Any) -> Settings:
    """Arguments that are not None win over the environment, which wins over the defaults.

    Raises:
        ConfigError: a value of the wrong kind.
    """
    values: dict[str, Any] = {}
    for field in fields(Settings):
        raw = arguments.get(field.name)
        source = f"--{field.name.replace('_', '-')}"
        if raw is None:
            raw, source = environment.get(variable(field.name)) or None, variable(field.name)
        if raw is not None:
            values[field.name] = _convert(raw, str(field.type), source=source)
    settings = Settings(**values)
    return replace(settings, home=settings.home.expanduser())


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """A sentence for each DUOMO_ variable that nothing reads, with the nearest name that something does."""
    known = [*(variable(field.name) for field in fields(Settings)), "DUOMO_VENV"]  # the last is bootstrap.py's
    sentences = []
    for name in sorted(environment):
        if name.startswith("DUOMO_") and name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
            sentences.append(f"{name} is set but nothing reads it. Did you mean {near[0]}?")
    return sentences


def _convert(raw: Any, kind: str, *, source: str) -> Any:
    if kind == "Path":
        return Path(raw)
    if kind == "int":
        try:
            number = int(raw)
        except ValueError:
            raise ConfigError(f"{source} is {raw!r}, expected a whole number.", code="bad_config") from None
        if number < 0:
            raise ConfigError(f"{source} is {number}, expected 0 or more.", code="bad_config")
        return number
    return str(raw)
