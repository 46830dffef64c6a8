"""How long the dashboard takes with 100,000 conversations, 200,000 readings and 20,000 hand-overs in the period shown.

python -m bench.insights [--conversations 100000] [--explain]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from bench import common
from duomo import store
from duomo.store.postgres import Database, Tx, statement
from duomo.support import insights

RUNS = 5
FILL = """
INSERT INTO conversations (id, workspace_id, contact_id, channel, language, status, created_at, asked_at, bot_at,
    opened_at, agent_at, resolved_at, reopened_at, confirmed_at, opened_reason, csat_score, sent, intent, team)
SELECT md5('c' || i)::uuid, %(w)s, %(contact)s, CASE WHEN i %% 5 = 0 THEN 'app' ELSE 'web' END,
    CASE WHEN i %% 3 = 0 THEN 'en' ELSE 'zh' END, CASE WHEN i %% 4 = 0 THEN 'resolved' ELSE 'pending' END, t, t,
    t + make_interval(secs => i %% 9), CASE WHEN i %% 5 = 0 THEN t + interval '1 minute' END,
    CASE WHEN i %% 5 = 0 THEN t + make_interval(secs => 60 + i %% 900) END,
    CASE WHEN i %% 4 = 0 THEN t + make_interval(secs => 300 + i %% 9000) END, NULL,
    CASE WHEN i %% 7 = 0 THEN t + interval '2 hours' END, CASE WHEN i %% 5 = 0 THEN 'low_confidence' END,
    CASE WHEN i %% 6 = 0 THEN 1 + i %% 5 END,
    CASE i %% 4 WHEN 0 THEN ARRAY['text'] WHEN 1 THEN ARRAY['text', 'picture'] WHEN 2 THEN ARRAY['voice']
        ELSE ARRAY['document', 'text'] END,
    'intent_' || i %% 25, (ARRAY['orders', 'returns', 'technical', 'repair', 'billing'])[1 + i %% 5]
FROM (SELECT i, now() - make_interval(secs => i::float8 * 365 * 86400 / %(n)s) AS t
      FROM generate_series(1, %(n)s) AS i) AS rows;

INSERT INTO messages (id, workspace_id, conversation_id, seq, author, kind, text, decision, created_at)
SELECT md5('m' || i || j)::uuid, %(w)s, c.id, 2 * j, CASE WHEN j %% 2 = 1 THEN 'customer' ELSE 'bot' END,
    CASE WHEN j %% 2 = 1 THEN 'text' WHEN j = 4 AND i %% 5 = 0 THEN 'handoff' ELSE 'answer' END,
    'What shall I do about number ' || i, jsonb_build_object('outcome', 'handoff', 'searched', repeat('x', 600),
        'understood', jsonb_build_object('message_id', md5('m' || i || j - 1)::uuid, 'heads', jsonb_build_object(
            'intent', jsonb_build_object('label', c.intent)))), c.created_at + make_interval(mins => j)
FROM (SELECT md5('c' || i)::uuid AS id, i FROM generate_series(1, %(n)s) AS i) AS g
JOIN conversations c USING (id) CROSS JOIN generate_series(1, 4) AS j;

INSERT INTO models (id, workspace_id, fingerprint, name, origin, manifest)
VALUES (md5('model')::uuid, %(w)s, 'f', 'bench', 'shipped', '{}');
INSERT INTO deployments (workspace_id, model_id, role, began_at, began_by)
VALUES (%(w)s, md5('model')::uuid, 'active', now() - interval '90 days', 'agent');

INSERT INTO predictions (workspace_id, conversation_id, message_id, model_id, role, heads, pattern, language, text,
    duration_ms, created_at)
SELECT %(w)s, m.conversation_id, m.id, md5('model')::uuid, 'active', jsonb_build_object('intent', jsonb_build_object(
    'label', 'intent_' || m.seq %% 25, 'top', repeat('x', 800))), 'text', 'en', m.text, 3, m.created_at
FROM messages m WHERE m.author = 'customer';

INSERT INTO embeddings (workspace_id, message_id, modality, vector)
SELECT %(w)s, q.id, 'text', array_fill(0.05::real + 0.0001::real * m.seq, ARRAY[384])::halfvec(384)
FROM messages m JOIN messages q ON q.id = (m.decision -> 'understood' ->> 'message_id')::uuid WHERE m.kind = 'handoff'
LIMIT 2000;

INSERT INTO labels (id, workspace_id, conversation_id, message_id, kind, head, value, origin)
SELECT md5('l' || m.id)::uuid, %(w)s, m.conversation_id, m.id, 'head', 'intent', '"intent_3"', 'review'
FROM messages m WHERE m.author = 'customer' AND m.seq = 2 LIMIT 5000
"""


async def measure(dsn: str, workspace_id: str, *, explain: bool) -> dict[str, Any]:
    today = datetime.now(UTC).date()
    year = insights.Period.of(today - timedelta(days=364), today, tz="Asia/Shanghai")
    month = insights.Period.of(today - timedelta(days=29), today, tz="Asia/Shanghai")
    found: dict[str, Any] = {}
    async with await Database.open(dsn) as db:
        for name, period in (("month", month), ("year", year)):
            parts: dict[str, Callable[[Tx], Awaitable[Any]]] = {
                "time zone": lambda tx, p=period: insights.check_time_zone(tx, p.tz),
                "over time": lambda tx, p=period: insights.over_time(tx, p),
                "by intent": lambda tx, p=period: insights.by_group(tx, p, "intent"),
                "by modality": lambda tx, p=period: insights.by_group(tx, p, "modality"),
                "unanswered": lambda tx, p=period: insights.unanswered(tx, p),
                "agreement": lambda tx, p=period: insights.agreement(tx, p),
                "versions": lambda tx, p=period: insights.versions(tx, p),
            }
            for part, run in parts.items():
                seconds = []
                for _ in range(RUNS):
                    async with db.transaction(workspace_id) as tx:
                        started = time.perf_counter()
                        await run(tx)
                        seconds.append(time.perf_counter() - started)
                found[f"{part}, {name}"] = round(statistics.median(seconds) * 1000)
                print(f"{name:>6} {part:<12} {found[f'{part}, {name}']:>6} ms", flush=True)
        if explain:
            await _explain(db, workspace_id, year)
    return found


async def _explain(db: Database, workspace_id: str, period: insights.Period) -> None:
    asked = {**period.bounds, "step": "week", "only_by": None, "only": None, "limit": 5000, "by": "intent"}
    for name in ("insight_figures", "insight_unanswered", "insight_agreement"):
        async with db.transaction(workspace_id) as tx:
            cursor = await tx.connection.execute(f"EXPLAIN (ANALYZE, BUFFERS) {statement(name)}", asked)  # type: ignore[arg-type]
            print(name, *(row["QUERY PLAN"] for row in await cursor.fetchall()), sep="\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--conversations", type=int, default=100_000)
    parser.add_argument("--explain", action="store_true", help="print the plans")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)  # run by root, the server is `nobody`
        with store.open_home(Path(folder), None) as dsn:
            workspace_id, seconds = asyncio.run(_fill(dsn, given.conversations))
            print(f"filled in {seconds:.0f} s", flush=True)
            figures = asyncio.run(measure(dsn, workspace_id, explain=given.explain))
    if given.conversations == 100_000:
        common.write(
            "insights", what="median milliseconds of five runs, one connection, warm",
            figures={"conversations": given.conversations, "ms": figures}, data="generated, see bench/insights.py",
        )  # fmt: skip


async def _fill(dsn: str, conversations: int) -> tuple[str, float]:
    async with await Database.open(dsn) as db:
        workspace = await db.create_workspace("bench", {})
    started = time.perf_counter()
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as owner:
        cursor = await owner.execute("INSERT INTO contacts (workspace_id) VALUES (%s) RETURNING id", (workspace.id,))
        contact = (await cursor.fetchone() or [None])[0]
        for part in FILL.split(";\n"):
            await owner.execute(
                part, {"w": workspace.id, "contact": contact, "n": conversations} if "%(" in part else None
            )  # type: ignore[arg-type]
        await owner.execute("VACUUM ANALYZE")
    return workspace.id, time.perf_counter() - started


if __name__ == "__main__":
    main()
