"""Who is asking. Visitors carry a signed token, agents a session cookie, media URLs their own signature."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
import struct
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError
from fastapi import Depends, Request, Response
from itsdangerous import BadSignature, Signer, URLSafeSerializer

from duomo.errors import Denied, NotFound
from duomo.server.limits import address
from duomo.store.postgres import Database, Tx, Workspace

if TYPE_CHECKING:
    from duomo.server.site import Site

COOKIE = "duomo_agent"
_READING = {"GET", "HEAD", "OPTIONS"}

# 19 MiB, 2 passes, 1 lane: the second choice of the OWASP password storage cheat sheet; a sign-in must not double the
# memory of the web process. At most two at once (Site.hashing) for the same reason.
_hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
_NOBODY = _hasher.hash(secrets.token_urlsafe(16))  # checked for unknown emails, so that they take as long as known ones


@dataclass(frozen=True, slots=True)
class Visitor:
    contact_id: str
    workspace: Workspace


@dataclass(frozen=True, slots=True)
class Agent:
    id: str
    name: str
    email: str
    role: str
    workspace: Workspace
    csrf: str
    token_hash: bytes


@dataclass(frozen=True, slots=True)
class MediaGrant:
    """What a media URL allows: one file of one conversation, or (conversation None) of the knowledge."""

    workspace_id: str
    conversation_id: str | None
    key: str


class Keys:
    """Everything the instance signs, from one secret; each use has its own salt."""

    _MEDIA = struct.Struct(">16s16s32sI")

    def __init__(self, secret: str, *, media_seconds: int) -> None:
        kinds: dict[str, Any] = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
        self._visitors = URLSafeSerializer(secret, salt="visitor", signer_kwargs=kinds)
        self._media = Signer(secret, salt="media", **kinds)
        self._media_seconds = media_seconds

    def visitor_token(self, workspace_id: str, contact_id: str) -> str:
        return str(self._visitors.dumps([workspace_id, contact_id]))

    def visitor(self, token: str) -> tuple[str, str]:
        """
        Raises:
            Denied: not signed by this instance.
        """
        try:
            workspace_id, contact_id = self._visitors.loads(token)
            return str(uuid.UUID(workspace_id)), str(uuid.UUID(contact_id))
        except (BadSignature, ValueError, TypeError, AttributeError):
            raise Denied(
                "the visitor token is not valid. Ask for another with POST visitors.", signed_in=False
            ) from None

    def media_url(self, grant: MediaGrant, *, now: float | None = None) -> str:
        """A path that works for at least `media_seconds`, and is the same for as long again: browsers cache by it."""
        half = self._media_seconds
        until = int((time.time() if now is None else now) // half + 2) * half
        conversation = uuid.UUID(grant.conversation_id) if grant.conversation_id else uuid.UUID(int=0)
        packed = self._MEDIA.pack(
            uuid.UUID(grant.workspace_id).bytes, conversation.bytes, bytes.fromhex(grant.key), until
        )
        signed = self._media.sign(base64.urlsafe_b64encode(packed).rstrip(b"=")).decode()
        return f"/api/v1/media/{signed}"

    def media(self, signed: str, *, now: float | None = None) -> MediaGrant:
        """
        Raises:
            NotFound: not signed by this instance, or too old.
        """
        try:
            text = self._media.unsign(signed.encode("utf-8", "replace"))
            workspace, conversation, key, until = self._MEDIA.unpack(base64.urlsafe_b64decode(text + b"=="))
        except (BadSignature, ValueError, struct.error):
            raise NotFound("there is no such file.") from None
        if until < (time.time() if now is None else now):
            raise NotFound("the address of this file has expired. Load the conversation again.")
        whose = uuid.UUID(bytes=conversation)
        return MediaGrant(str(uuid.UUID(bytes=workspace)), str(whose) if whose.int else None, key.hex())


# Visitors ---------------------------------------------------------------------------------------------------------


async def visitor(request: Request) -> Visitor:
    """
    Raises:
        Denied: no token, a forged one, one of a removed workspace, or a page on an origin that the workspace excludes.
    """
    site: Site = request.app.state.site
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Denied("send `Authorization: Bearer TOKEN`; a token comes from POST visitors.", signed_in=False)
    workspace_id, contact_id = site.keys.visitor(token.strip())
    try:
        workspace = await site.workspace(workspace_id)
    except NotFound as error:
        raise Denied("the token belongs to a workspace that was removed.", signed_in=False) from error
    check_page(request, workspace.settings)
    request.state.who = f"visitor={contact_id}"
    return Visitor(contact_id, workspace)


def check_page(request: Request, settings: Mapping[str, Any]) -> None:
    """A workspace may name the origins whose pages may carry its widget; without the list any may.

    Raises:
        Denied: the page is on another origin.
    """
    origin = request.headers.get("origin")
    allowed = settings.get("allowed_origins")
    if origin and allowed and origin not in allowed and not same_origin(request):
        raise Denied(f"pages of {origin[:100]} may not use this workspace. Add it to allowed_origins.")


# Agents -----------------------------------------------------------------------------------------------------------


def same_origin(request: Request) -> bool:
    """Whether a page of ours sent this. Browsers name the origin in every change; other programs name none."""
    origin = request.headers.get("origin")
    if origin is None:
        return request.headers.get("sec-fetch-site", "none") in {"same-origin", "none"}
    public_url = request.app.state.site.settings.public_url
    if public_url and origin == public_url.rstrip("/"):
        return True
    return urlsplit(origin).netloc == request.headers.get("host") and origin != "null"


async def agent(request: Request) -> Agent:
    """
    Raises:
        Denied: not signed in; or a change without the CSRF header, or from a page of another origin.
    """
    found = await read_session(request.app.state.site, request.cookies.get(COOKIE))
    if found is None:
        raise Denied("sign in first.", signed_in=False)
    if request.method not in _READING:
        if not same_origin(request):
            raise Denied("this change comes from a page of another site.")
        if not hmac.compare_digest(request.headers.get("x-csrf-token", "").encode(), found.csrf.encode()):
            raise Denied("the header X-CSRF-Token is missing or wrong. Load the page again.")
    request.state.who = f"agent={found.id}"
    return found


async def read_session(site: Site, cookie: str | None) -> Agent | None:
    workspace_id, _, token = (cookie or "").partition(".")
    try:
        workspace = await site.workspace(str(uuid.UUID(workspace_id)))
    except (ValueError, NotFound):
        return None
    token_hash = hashlib.sha256(token.encode()).digest()
    async with site.db.transaction(workspace.id) as tx:
        row = await tx.one("session", token_hash=token_hash)
    if row is None:
        return None
    return Agent(str(row["id"]), row["name"], row["email"], row["role"], workspace, row["csrf"], token_hash)


async def sign_in(request: Request, response: Response, *, workspace: str, email: str, password: str) -> Agent:
    """Check the password, end the session the browser had, begin another.

    Raises:
        Denied: wrong; the sentence and the time it takes do not say what was wrong.
        TooMany: too many failures of this account or this address.
    """
    site: Site = request.app.state.site
    if not same_origin(request):
        raise Denied("this sign-in comes from a page of another site.")
    account = f"{workspace}\0{email.lower()}"
    caller = address(request)
    counted = (
        (site.rates.sign_ins, f"{account}\0{caller}"),
        (site.rates.sign_ins_by_account, account),
        (site.rates.sign_ins_by_address, caller),
    )
    for rate, key in counted:
        rate.take(key)
    home, row = await _account(site.db, workspace, email)
    known = str(row["password_hash"]) if row else _NOBODY
    async with site.hashing:
        right = await asyncio.to_thread(_verify, known, password)
    if home is None or row is None or not right:
        raise Denied("email, workspace or password is wrong.", signed_in=False)
    for rate, key in counted:
        rate.give_back(key)
    token, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    token_hash = hashlib.sha256(token.encode()).digest()
    await sign_out(site, request.cookies.get(COOKIE))
    async with site.db.transaction(home.id) as tx:
        await tx.run("delete_expired_sessions")
        if _hasher.check_needs_rehash(known):
            await tx.run(
                "set_password_hash", id=row["id"], password_hash=await asyncio.to_thread(_hasher.hash, password)
            )
        await tx.run(
            "insert_session",
            token_hash=token_hash,
            agent_id=row["id"],
            csrf=csrf,
            hours=site.settings.session_hours,
        )
    response.set_cookie(
        COOKIE,
        f"{home.id}.{token}",
        max_age=site.settings.session_hours * 3600,
        path="/api/v1",
        httponly=True,
        samesite="lax",
        secure=_is_https(request),
    )
    return Agent(str(row["id"]), row["name"], row["email"], row["role"], home, csrf, token_hash)


async def sign_out(site: Site, cookie: str | None) -> None:
    found = await read_session(site, cookie)
    if found is not None:
        async with site.db.transaction(found.workspace.id) as tx:
            await tx.run("delete_session", token_hash=found.token_hash)


def forget_cookie(request: Request, response: Response) -> None:
    response.delete_cookie(COOKIE, path="/api/v1", httponly=True, samesite="lax", secure=_is_https(request))


def hash_password(password: str) -> str:
    """argon2id, with its parameters and salt in the text."""
    return _hasher.hash(password)


async def save_agent(tx: Tx, *, email: str, name: str, password: str, role: str = "agent") -> str:
    """Add an agent, or give the one with this email another name, role and password.

    Returns:
        The agent's id.
    """
    hashed = await asyncio.to_thread(hash_password, password)
    return str(await tx.value("upsert_agent", email=email, name=name, role=role, password_hash=hashed))


async def _account(db: Database, workspace: str, email: str) -> tuple[Workspace | None, dict[str, Any] | None]:
    try:
        found = await db.workspace(workspace)
    except NotFound:
        return None, None
    async with db.transaction(found.id) as tx:
        return found, await tx.one("agent_by_email", email=email)


def _verify(known: str, password: str) -> bool:
    try:
        return _hasher.verify(known, password)
    except (VerifyMismatchError, InvalidHashError):
        return False


def _is_https(request: Request) -> bool:
    public_url = request.app.state.site.settings.public_url
    return request.url.scheme == "https" or bool(public_url and public_url.startswith("https://"))


async def writing_visitor(request: Request) -> Visitor:
    """A visitor who changes something, which counts as a message.

    Raises:
        TooMany: of this visitor, or from this address.
    """
    found = await visitor(request)
    rates = request.app.state.site.rates
    rates.messages_by_address.take(address(request))
    rates.messages.take(found.contact_id)
    return found


VisitorDep = Annotated[Visitor, Depends(visitor)]
WritingVisitorDep = Annotated[Visitor, Depends(writing_visitor)]
AgentDep = Annotated[Agent, Depends(agent)]


async def reader(request: Request) -> Visitor | Agent:
    """Whoever of the two is asking."""
    return await visitor(request) if "authorization" in request.headers else await agent(request)


ReaderDep = Annotated[Visitor | Agent, Depends(reader)]
