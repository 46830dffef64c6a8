"""Promise 17: passwords, sessions, CSRF, origins and signed visitors."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from duomo.server import auth
from duomo.server.auth import COOKIE, Keys, MediaGrant
from duomo.server.site import Rates
from duomo.settings import Settings
from duomo.store.postgres import Database, Workspace
from tests.server.conftest import PASSWORD, Person, Running, add_agent, become_agent

WRONG = {"email": "lin@example.com", "password": "wrong"}


@pytest.fixture
async def browser(web: Running, db: Database, workspace: Workspace) -> AsyncIterator[httpx2.AsyncClient]:
    await add_agent(db, workspace, "lin@example.com", "Lin")
    async with httpx2.AsyncClient(base_url=web.url, timeout=30) as client:
        yield client


def enter(workspace: Workspace, /, **other: str) -> dict[str, str]:
    return {"workspace": workspace.name, "email": "lin@example.com", "password": PASSWORD} | other


async def test_a_password_is_kept_as_argon2id(browser: httpx2.AsyncClient, db: Database, workspace: Workspace) -> None:
    async with db.transaction(workspace.id) as tx:
        row = await tx.one("agent_by_email", email="LIN@example.com")
    assert row
    assert row["password_hash"].startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert PASSWORD not in row["password_hash"]


async def test_the_cookie_cannot_be_read_by_scripts_nor_sent_by_other_sites(
    browser: httpx2.AsyncClient, workspace: Workspace
) -> None:
    answer = await browser.post("/api/v1/agent/session", json=enter(workspace))
    attributes = {part.strip().lower() for part in answer.headers["set-cookie"].split(";")[1:]}
    assert attributes == {"httponly", "samesite=lax", "path=/api/v1", "max-age=43200"}
    assert answer.json().keys() == {"agent", "workspace", "csrf"}
    assert answer.json()["agent"].keys() == {"id", "name", "email", "role"}


async def test_over_https_the_cookie_is_secure(browser: httpx2.AsyncClient, workspace: Workspace) -> None:
    answer = await browser.post("/api/v1/agent/session", json=enter(workspace), headers={"X-Forwarded-Proto": "https"})
    assert "secure" in answer.headers["set-cookie"].lower()


async def test_only_the_hash_of_a_session_is_stored(
    browser: httpx2.AsyncClient, db: Database, workspace: Workspace
) -> None:
    await browser.post("/api/v1/agent/session", json=enter(workspace))
    token = browser.cookies[COOKIE].split(".")[1]
    async with db.transaction(workspace.id) as tx:
        cursor = await tx.connection.execute("SELECT token_hash FROM agent_sessions")
        [row] = await cursor.fetchall()
    assert row["token_hash"] == hashlib.sha256(token.encode()).digest()


@pytest.mark.parametrize(
    "wrong", [{"password": "wrong"}, {"email": "nobody@example.com"}, {"workspace": "no-such-place"}]
)
async def test_whatever_is_wrong_at_the_door_the_answer_is_the_same(
    browser: httpx2.AsyncClient, workspace: Workspace, wrong: dict[str, str]
) -> None:
    answer = await browser.post("/api/v1/agent/session", json=enter(workspace, **wrong))
    sentence = "email, workspace or password is wrong."
    assert answer.status_code == 401
    assert answer.json() == {"error": {"code": "denied", "message": sentence, "retry_after": None}}


@pytest.mark.parametrize(
    "unknown", [{"email": "nobody@example.com"}, {"workspace": "no-such-place"}, {"password": "wrong"}]
)
async def test_an_unknown_email_costs_as_much_work_as_a_wrong_password(
    browser: httpx2.AsyncClient, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, unknown: dict[str, str]
) -> None:
    checked: list[str] = []
    verify = auth._verify
    monkeypatch.setattr(auth, "_verify", lambda known, given: checked.append(known) or verify(known, given))
    await browser.post("/api/v1/agent/session", json=enter(workspace, **unknown))
    assert [known.split("$")[1:4] for known in checked] == [["argon2id", "v=19", "m=19456,t=2,p=1"]]


async def test_signing_in_again_ends_the_session_before(browser: httpx2.AsyncClient, workspace: Workspace) -> None:
    await browser.post("/api/v1/agent/session", json=enter(workspace))
    before = browser.cookies[COOKIE]
    await browser.post("/api/v1/agent/session", json=enter(workspace))
    assert browser.cookies[COOKIE] != before
    stolen = await browser.get("/api/v1/agent/session", headers={"Cookie": f"{COOKIE}={before}"})
    assert stolen.status_code == 401


async def test_signing_out_ends_the_session_on_the_server(agent: Person) -> None:
    cookie = agent.http.cookies[COOKIE]
    assert (await agent.call("DELETE", "session")).status_code == 204
    answer = await agent.get("session", headers={"Cookie": f"{COOKIE}={cookie}"})
    assert answer.status_code == 401


async def test_a_disabled_agent_is_out_at_once(agent: Person, db: Database, workspace: Workspace) -> None:
    async with db.transaction(workspace.id) as tx:
        await tx.connection.execute("UPDATE agents SET disabled = true WHERE id = %s", (agent.id,))
    assert (await agent.get("session")).status_code == 401


async def test_a_session_expires(agent: Person, db: Database, workspace: Workspace) -> None:
    async with db.transaction(workspace.id) as tx:
        await tx.connection.execute("UPDATE agent_sessions SET expires_at = now()")
    assert (await agent.get("session")).status_code == 401


CHANGES = [
    ("DELETE", "session", None),
    ("PUT", "conversations/{id}/messages/{id}", {"text": "x"}),
    ("POST", "conversations/{id}/actions", {"action": "resolve"}),
    ("POST", "conversations/{id}/presence", {"typing": True}),
    ("POST", "conversations/{id}/read", {"seq": 1}),
    ("POST", "conversations/{id}/artifacts/{id}", {"text": "x"}),
    ("PUT", "canned/{id}", {"shortcut": "a", "title": "a", "text": {}}),
    ("DELETE", "canned/{id}", None),
    ("POST", "knowledge", None),
    ("DELETE", "knowledge/x", None),
    ("POST", "../ask", {"text": "x"}),
    ("POST", "../retrieve", {"text": "x"}),
]


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
@pytest.mark.parametrize(
    "headers",
    [
        {"X-CSRF-Token": ""},
        {"X-CSRF-Token": "wrong"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
async def test_a_change_needs_the_csrf_token_and_a_page_of_ours(
    agent: Person, method: str, path: str, body: Any, headers: dict[str, str]
) -> None:
    answer = await agent.call(method, path.format(id=uuid.uuid4()), json=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "denied")


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
async def test_a_change_needs_a_session(web: Running, method: str, path: str, body: Any) -> None:
    async with httpx2.AsyncClient(base_url=web.url) as http:
        answer = await http.request(method, f"/api/v1/agent/{path.format(id=uuid.uuid4())}", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "denied")


async def test_our_own_page_may_change_things(agent: Person, web: Running) -> None:
    answer = await agent.put(
        f"canned/{uuid.uuid4()}", {"shortcut": "a", "title": "a", "text": {}}, headers={"Origin": web.url}
    )
    assert answer.status_code == 200


async def test_another_site_cannot_sign_somebody_in(browser: httpx2.AsyncClient, workspace: Workspace) -> None:
    answer = await browser.post(
        "/api/v1/agent/session", json=enter(workspace), headers={"Origin": "https://evil.example"}
    )
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


async def test_guessing_passwords_is_slowed_down_and_success_costs_nothing(
    browser: httpx2.AsyncClient, web: Running, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web.site, "rates", Rates.of(Settings(sign_ins_per_minute=3)))
    for _ in range(5):
        assert (await browser.post("/api/v1/agent/session", json=enter(workspace))).status_code == 200
    wrong = enter(workspace, password="wrong")
    answers = [await browser.post("/api/v1/agent/session", json=wrong) for _ in range(4)]
    assert [a.status_code for a in answers] == [401, 401, 401, 429]
    assert int(answers[3].headers["Retry-After"]) == answers[3].json()["error"]["retry_after"] > 0
    right = await browser.post("/api/v1/agent/session", json=enter(workspace))
    assert right.status_code == 429


FORGED = [
    {},
    {"Authorization": "Bearer"},
    {"Authorization": "Bearer x.y"},
    {"Authorization": "Basic eDp5"},
    {"Authorization": "Bearer " + Keys("another secret", media_seconds=60).visitor_token(*[str(uuid.uuid4())] * 2)},
]


@pytest.mark.parametrize("headers", FORGED)
async def test_a_forged_visitor_is_asked_for_a_token(http: httpx2.AsyncClient, headers: dict[str, str]) -> None:
    answer = await http.get("/api/v1/conversations", headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "denied")


async def test_a_token_of_a_visitor_cannot_be_altered(visitor: Person) -> None:
    token = visitor.headers["Authorization"]
    for at in range(8, len(token) - 1, 7):
        altered = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        answer = await visitor.get("conversations", headers={"Authorization": altered})
        assert answer.status_code == 401


async def test_any_page_may_carry_the_widget_until_the_workspace_names_some(
    http: httpx2.AsyncClient, db: Database, web: Running
) -> None:
    named = await db.create_workspace(f"test-{uuid.uuid4().hex[:12]}", {"allowed_origins": ["https://shop.example"]})
    open_to_all = await db.create_workspace(f"test-{uuid.uuid4().hex[:12]}", {})
    statuses = {}
    for workspace in (named, open_to_all):
        for origin in ("https://shop.example", "https://evil.example", web.url):
            answer = await http.post("/api/v1/visitors", json={"workspace": workspace.name}, headers={"Origin": origin})
            statuses[workspace.name == named.name, origin] = answer.status_code
    assert statuses == {
        (True, "https://shop.example"): 201,
        (True, "https://evil.example"): 403,
        (True, web.url): 201,
        (False, "https://shop.example"): 201,
        (False, "https://evil.example"): 201,
        (False, web.url): 201,
    }


async def test_a_token_does_not_help_a_page_that_the_workspace_excludes(http: httpx2.AsyncClient, db: Database) -> None:
    named = await db.create_workspace(f"test-{uuid.uuid4().hex[:12]}", {"allowed_origins": ["https://shop.example"]})
    token = (await http.post("/api/v1/visitors", json={"workspace": named.name})).json()["token"]
    answer = await http.get(
        "/api/v1/conversations", headers={"Authorization": f"Bearer {token}", "Origin": "https://evil.example"}
    )
    assert answer.status_code == 403


async def test_other_sites_may_read_the_visitors_calls_and_never_the_agents(
    http: httpx2.AsyncClient, agent: Person, workspace: Workspace
) -> None:
    origin = {"Origin": "https://shop.example"}
    asked = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization"}
    answers = {
        "preflight": await http.options(f"/api/v1/conversations/{uuid.uuid4()}", headers=origin | asked),
        "workspace": await http.get("/api/v1/workspace", params={"name": workspace.name}, headers=origin),
        "agent preflight": await http.options("/api/v1/agent/session", headers=origin | asked),
        "agent": await agent.get("conversations", headers=origin),
        "ask": await http.options("/api/v1/ask", headers=origin | asked),
    }
    allowed = {name: answer.headers.get("access-control-allow-origin") for name, answer in answers.items()}
    assert allowed == {"preflight": "*", "workspace": "*", "agent preflight": None, "agent": None, "ask": None}
    assert all("access-control-allow-credentials" not in answer.headers for answer in answers.values())


def test_a_media_address_is_the_same_for_a_while_and_then_expires() -> None:
    keys = Keys("secret", media_seconds=3600)
    grant = MediaGrant(str(uuid.uuid4()), str(uuid.uuid4()), "ab" * 32)
    url = keys.media_url(grant, now=7200.0)
    assert keys.media_url(grant, now=10799.0) == url
    assert keys.media_url(grant, now=10801.0) != url
    signed = url.removeprefix("/api/v1/media/")
    assert keys.media(signed, now=10800.0 + 3599) == grant
    with pytest.raises(auth.NotFound, match="expired"):
        keys.media(signed, now=14401.0)


async def test_agents_who_share_an_email_in_two_workspaces_are_two(
    web: Running, db: Database, workspace: Workspace, agent: Person
) -> None:
    other = await db.create_workspace(f"test-{uuid.uuid4().hex[:12]}", {})
    await add_agent(db, other, "lin@example.com", "Another Lin")
    twin = await become_agent(web.url, other, "lin@example.com")
    assert (await twin.get("session")).json()["agent"]["name"] == "Another Lin"
    assert (await agent.get("session")).json()["agent"]["name"] == "Lin"
    await twin.http.aclose()
