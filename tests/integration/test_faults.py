"""Processes die at random while customers write: nothing acknowledged is lost, doubled, reordered or left waiting."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import uuid
from pathlib import Path

import httpx2
import psycopg
from psycopg.rows import dict_row

from duomo.client import Customer
from duomo.demo import SCENARIO
from tests.integration.conftest import Running

CUSTOMERS, MESSAGES = 20, 10
BOUND_S = 240.0  # after the last acknowledgement; the media worker reads one voice note a second


def kill_one(running: Running, name: str) -> bool:
    """SIGKILL to one process of the service. Returns: whether it lived."""
    victim = next((process for process in running.service.processes if process.name == name), None)
    pid_file = (running.home / "postgres" / "data" / "postmaster.pid").resolve()
    try:
        pid = int(pid_file.read_text().split()[0]) if victim is None else victim.pid
        if pid is None:
            return False
        os.kill(pid, signal.SIGKILL)
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return False
    return True


def messages(seed: int) -> list[tuple[str, str, list[Path]]]:
    """(id, text, files): most write, some speak, some show a picture."""
    chance = random.Random(seed)
    media = SCENARIO / "media"
    notes = [media / json.loads(line)["file"] for line in (media / "speech.jsonl").read_text("utf-8").splitlines()][:4]
    photos = sorted((media / "photos").glob("*.jpg"))[:4]
    texts = ["多久能收到货？", "How long does delivery take?", "怎么开发票？", "Can I change my address?", "你好"]
    made = []
    for _ in range(MESSAGES):
        kind = chance.choices(["text", "voice", "picture"], [14, 2, 4])[0]
        files = {"text": [], "voice": [chance.choice(notes)], "picture": [chance.choice(photos)]}[kind]
        made.append((str(uuid.UUID(int=chance.getrandbits(128), version=4)), chance.choice(texts), files))
    return made


async def talk(http: httpx2.AsyncClient, seed: int) -> tuple[Customer, list[str]]:
    customer = await Customer.arrive(http, language="zh", patience_s=120)
    sent = []
    for id, text, files in messages(seed):
        await customer.say(text, files=files, id=id)
        sent.append(id)  # acknowledged
        await asyncio.sleep(random.random())
    return customer, sent


def waiting(dsn: str) -> list[dict[str, object]]:
    """Conversations in which a customer waits for an answer and no person was called, and files not yet looked at."""
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        return connection.execute(
            "SELECT c.id, c.status, c.answered_seq, max(m.seq) AS asked, "
            "       (SELECT count(*) FROM parts p JOIN messages x ON x.id = p.message_id "
            "        WHERE x.conversation_id = c.id AND p.state = 'received') AS unread "
            "FROM conversations c JOIN messages m ON m.conversation_id = c.id AND m.author = 'customer' GROUP BY c.id "
            "HAVING (c.status = 'pending' AND c.answered_seq < max(m.seq)) OR EXISTS (SELECT 1 FROM parts p "
            "  JOIN messages x ON x.id = p.message_id WHERE x.conversation_id = c.id AND p.state = 'received')"
        ).fetchall()


async def test_each_acknowledged_message_is_stored_once_in_order_and_answered_or_handed_over(
    running: Running, http: httpx2.AsyncClient
) -> None:
    random.seed(20261123)
    conversations = asyncio.gather(*(talk(http, seed) for seed in range(CUSTOMERS)))
    killed: list[str] = []
    victims = 3 * ["web", "turns", "media", "postgres"]
    random.shuffle(victims)
    while victims and not conversations.done():
        await asyncio.sleep(random.uniform(0.5, 1.5))
        if kill_one(running, victims[-1]):
            killed.append(victims.pop())
    results = await conversations
    assert set(killed) == {"web", "turns", "media", "postgres"}, killed

    deadline = asyncio.get_running_loop().time() + BOUND_S
    left: list[dict[str, object]] = [{}]
    while left and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(1)
        try:
            left = await asyncio.to_thread(waiting, running.dsn)
        except psycopg.OperationalError:
            continue  # the last one killed was the database
    assert left == []

    with psycopg.connect(running.dsn) as connection:
        for customer, sent in results:
            stored = connection.execute(
                "SELECT id::text FROM messages WHERE conversation_id = %s AND author = 'customer' ORDER BY seq",
                (customer.conversation,),
            ).fetchall()
            assert [row[0] for row in stored] == sent
            sequence = connection.execute(
                "SELECT seq FROM events WHERE conversation_id = %s ORDER BY seq", (customer.conversation,)
            ).fetchall()
            numbers = [row[0] for row in sequence]
            assert numbers == sorted(set(numbers))
            said = connection.execute(
                "SELECT count(*) FROM messages WHERE conversation_id = %s AND author = 'bot' "
                "AND kind IN ('answer', 'clarify', 'handoff')",
                (customer.conversation,),
            ).fetchone()
            assert said is not None
            assert 1 <= said[0] <= len(sent)  # an answer may serve several messages, never the reverse
