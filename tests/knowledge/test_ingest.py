"""Ingestion into a real PostgreSQL: what is stored, what is passed over, what is left after a failure or a kill."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import textwrap
import wave
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import openpyxl
import psycopg
from PIL import Image

from duomo.knowledge.index import terms
from duomo.knowledge.ingest import Models, remove, run_import
from duomo.media.text import pinyin_tokens
from duomo.store.blobs import Blobs
from duomo.store.postgres import Database, Workspace
from duomo.testing import FakeReader, FakeSpeech

from .conftest import CountingEmbedder, Take, rows

DELIVERY = "---\nid: delivery\ntitle: How long delivery takes\n---\n\n# How long delivery takes\n\nTwo days.\n"


def png(colour: str = "red") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(out, "PNG")
    return out.getvalue()


async def state(db: Database, workspace: Workspace) -> dict[str, list[str]]:
    found = await rows(db, workspace.id, "SELECT article_id, text FROM chunks ORDER BY article_id, position")
    articles: dict[str, list[str]] = {}
    for row in found:
        articles.setdefault(str(row["article_id"]), []).append(str(row["text"]))
    return articles


async def counted(db: Database, workspace: Workspace) -> dict[str, int]:
    return {
        str(r["token"]): int(str(r["df"]))
        for r in await rows(db, workspace.id, "SELECT token, df FROM terms WHERE df <> 0")
    }


async def recounted(db: Database, workspace: Workspace) -> dict[str, int]:
    """Document frequencies counted anew from the stored texts."""
    found: Counter[str] = Counter()
    for row in await rows(db, workspace.id, "SELECT a.title, c.* FROM chunks c JOIN articles a ON a.id = c.article_id"):
        context = f"{row['title']}\n{row['heading']}"
        words = set(terms(context)) | set(terms(str(row["text"])))
        found.update(words)
        found.update({f"~{token}" for token in pinyin_tokens(f"{context}\n{row['text']}")})
        found.update({"": 1, " ": len(words)})
    return dict(found)


async def test_front_matter_gives_title_topic_and_language_comes_from_the_folder(
    take: Take, db: Database, workspace: Workspace
):
    report = await take({"en/delivery-times.md": DELIVERY, "zh/pairing.md": "# 配对\n\n长按三秒。"})
    assert (report.added, report.failed) == (2, [])
    found = await rows(db, workspace.id, "SELECT id, topic, title, language, uri, text FROM articles ORDER BY id")
    assert found == [
        {"id": "en/delivery-times", "topic": "delivery", "title": "How long delivery takes", "language": "en",
         "uri": "en/delivery-times.md", "text": "# How long delivery takes\n\nTwo days."},
        {"id": "zh/pairing", "topic": "pairing", "title": "配对", "language": "zh", "uri": "zh/pairing.md",
         "text": "# 配对\n\n长按三秒。"},
    ]  # fmt: skip


async def test_what_did_not_change_is_not_encoded_again(take: Take, encoder: CountingEmbedder):
    files: dict[str, str | bytes] = {
        "a.md": "# A\n\nalpha",
        "b.md": "# B\n\nbeta",
        "c.jsonl": '{"id": "c", "text": "gamma"}',
    }
    assert (await take(files)).added == 3
    encoder.encoded.clear()
    report = await take(files | {"b.md": "# B\n\nnew beta"})
    assert (report.added, report.unchanged, report.updated) == (0, 2, 1)
    assert encoder.encoded
    assert all("beta" in text for text in encoder.encoded)


async def test_a_changed_article_holds_only_its_new_chunks(take: Take, db: Database, workspace: Workspace):
    await take({"a.md": "# One\n\nold one\n\n# Two\n\nold two"})
    await take({"a.md": "# One\n\nnew"})
    assert await state(db, workspace) == {"a": ["new"]}


async def test_another_encoder_encodes_everything_anew(take: Take, models: Models, encoder: CountingEmbedder):
    await take({"a.md": "alpha"})
    newer = CountingEmbedder()
    newer.version = "2"
    assert (await take({"a.md": "alpha"}, models=replace(models, text=newer))).updated == 1


async def test_document_frequencies_are_right_after_adding_changing_and_removing(
    take: Take, db: Database, workspace: Workspace
):
    await take(
        {"a.md": "# 收货地址\n\n如何修改收货地址", "b.md": "# Address\n\nchange the address, the address of LT-H3"}
    )
    assert await counted(db, workspace) == await recounted(db, workspace)
    await take({"a.md": "# 收货地址\n\n打电话修改"})
    assert await counted(db, workspace) == await recounted(db, workspace)
    assert await remove(db, workspace.id, "b") is True
    assert await counted(db, workspace) == await recounted(db, workspace)
    assert await remove(db, workspace.id, "b") is False


async def test_files_that_cannot_be_read_are_listed_and_stop_nothing(take: Take, db: Database, workspace: Workspace):
    report = await take(
        {
            "a.pdf": b"%PDF-1.7 not really",
            "b.docx": b"PK\x03\x04 broken",
            "c.exe": b"MZ",
            "d.md": "fine",
            "e.jsonl": '{"id": "ok", "text": "fine"}\n{broken\n{"id": "no text"}\n{"text": "no id"}\n',
            "f.png": b"\x89PNG\r\n\x1a\nbroken",
            "g.md": "   ",
            "h.txt": b"",
        }
    )
    assert report.added == 2
    assert [name for name, _ in report.failed] == [
        "a.pdf", "b.docx", "c.exe", "e.jsonl: line 2", "e.jsonl: line 3", "e.jsonl: line 4", "g.md", "h.txt", "f.png",
    ]  # fmt: skip
    assert all(reason for _, reason in report.failed)
    assert sorted(await state(db, workspace)) == ["d", "ok"]


async def test_two_files_with_one_id_are_told_apart(take: Take, db: Database, workspace: Workspace):
    report = await take({"a.md": "first", "a.txt": "second"})
    assert report.failed == [("a.txt", "a.md has the same id, 'a'. Rename one.")]
    assert await state(db, workspace) == {"a": ["first"]}


async def test_question_answer_pairs_are_an_article_each_and_rows_may_move(
    take: Take, db: Database, workspace: Workspace
):
    await take({"faq.csv": "question,answer\nWhere is my parcel?,Look at the tracking page.\nDo you ship?,Yes."})
    found = await rows(db, workspace.id, "SELECT title, text FROM articles ORDER BY title")
    assert found == [
        {"title": "Do you ship?", "text": "Yes."},
        {"title": "Where is my parcel?", "text": "Look at the tracking page."},
    ]
    moved = await take({"faq.csv": "question,answer\nDo you ship?,Yes.\nWhere is my parcel?,In the app."})
    assert (moved.added, moved.unchanged, moved.updated) == (0, 1, 1)


async def test_a_workbook_gives_its_pairs(take: Take, db: Database, workspace: Workspace):
    book = openpyxl.Workbook()
    for row in (("问题", "答案"), ("怎么开发票", "在订单里申请"), ("能退货吗", "七天内可以")):
        book.active.append(row)  # type: ignore[union-attr]
    out = io.BytesIO()
    book.save(out)
    await take({"faq.xlsx": out.getvalue()})
    found = await rows(db, workspace.id, "SELECT title, text, language FROM articles ORDER BY title")
    assert [tuple(row.values()) for row in found] == [
        ("怎么开发票", "在订单里申请", "zh"),
        ("能退货吗", "七天内可以", "zh"),
    ]


async def test_a_web_page_is_read_without_its_navigation(take: Take, db: Database, workspace: Workspace):
    page = "<title>Refunds</title><nav>Home</nav><main><h1>Refunds</h1><p>Three days.</p><script>x()</script></main>"
    await take({"refunds.html": page})
    assert await state(db, workspace) == {"refunds": ["Three days."]}


async def test_thousands_of_records_are_read_in_batches_and_again_without_encoding(
    take: Take, encoder: CountingEmbedder, db: Database, workspace: Workspace
):
    data = "\n".join(json.dumps({"id": f"r{n}", "text": f"record {n}"}) for n in range(300))
    assert (await take({"r.jsonl": data})).added == 300
    encoder.encoded.clear()
    assert (await take({"r.jsonl": data})).unchanged == 300
    assert encoder.encoded == []


async def test_a_picture_is_stored_read_and_shown_beside_its_text_but_is_no_article_of_its_own(
    take: Take, models: Models, db: Database, workspace: Workspace, blobs: Blobs
):
    files: dict[str, str | bytes] = {
        "pairing.md": "# Pairing\n\nHold the button.\n\n![the lamp](lamp.png)\n\n# Care\n\nWipe it.",
        "lamp.png": png(),
    }
    report = await take(files, models=replace(models, reader=FakeReader("BLINK THREE TIMES")))
    assert (report.added, report.failed) == (1, [])
    (picture,) = await rows(db, workspace.id, "SELECT blob, alt FROM article_pictures")
    assert picture["alt"] == "the lamp"
    with Image.open(io.BytesIO(blobs.get(workspace.id, str(picture["blob"])))) as stored:
        assert stored.size == (64, 64)
    found = await rows(db, workspace.id, "SELECT origin, heading, text, picture FROM chunks ORDER BY position")
    key = picture["blob"]
    assert [tuple(row.values()) for row in found] == [
        ("text", "Pairing", "Hold the button.", key),
        ("ocr", "Pairing", "BLINK THREE TIMES", key),
        ("text", "Care", "Wipe it.", None),
    ]
    (article,) = await rows(db, workspace.id, "SELECT text FROM articles")
    assert f"![the lamp](blob:{key})" in str(article["text"])


async def test_the_picture_in_front_matter_belongs_to_every_chunk(take: Take, db: Database, workspace: Workspace):
    await take({"a.md": "---\npicture: p.png\n---\n# A\n\none\n\n# B\n\ntwo", "p.png": png()})
    found = await rows(db, workspace.id, "SELECT DISTINCT picture FROM chunks")
    assert found == await rows(db, workspace.id, "SELECT blob AS picture FROM article_pictures")


async def test_an_article_whose_picture_changed_is_updated(take: Take):
    files: dict[str, str | bytes] = {"a.md": "text ![p](p.png)", "p.png": png("red")}
    await take(files)
    assert (await take(files)).unchanged == 1
    assert (await take(files | {"p.png": png("blue")})).updated == 1


async def test_a_picture_alone_is_an_article_found_by_what_it_says(
    take: Take, models: Models, db: Database, workspace: Workspace
):
    await take({"error-screen.png": png()}, models=replace(models, reader=FakeReader("E21 drain blocked")))
    found = await rows(db, workspace.id, "SELECT origin, text FROM chunks ORDER BY position")
    assert [tuple(row.values()) for row in found] == [("text", "error screen"), ("ocr", "E21 drain blocked")]


async def test_a_recording_becomes_its_transcript(take: Take, models: Models, db: Database, workspace: Workspace):
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes((np.sin(np.arange(16000) / 20) * 8000).astype("<i2").tobytes())
    speech = FakeSpeech("退货需要七天")
    assert (await take({"note.wav": out.getvalue()}, models=replace(models, speech=speech))).added == 1
    found = await rows(db, workspace.id, "SELECT origin, language, text FROM chunks")
    assert [tuple(row.values()) for row in found] == [("transcript", "zh", "退货需要七天")]


async def test_an_archive_is_read_and_its_hostile_members_are_listed(take: Take, db: Database, workspace: Workspace):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("zh/a.md", "好的内容")
        file.writestr("../../evil.md", "evil")
    report = await take({"in.zip": out.getvalue()})
    assert report.added == 1
    assert [name for name, _ in report.failed] == ["in.zip/../../evil.md"]
    assert await state(db, workspace) == {"zh/a": ["好的内容"]}


async def test_vanished_files_stay_until_pruning(take: Take, db: Database, workspace: Workspace):
    await take({"a.md": "alpha", "b.md": "beta"})
    await take({"a.md": "alpha"})
    assert sorted(await state(db, workspace)) == ["a", "b"]
    report = await take({"a.md": "alpha"}, prune=True)
    assert report.removed == 1
    assert sorted(await state(db, workspace)) == ["a"]
    assert await counted(db, workspace) == await recounted(db, workspace)


async def test_workspaces_with_the_same_article_ids_do_not_touch_each_other(
    take: Take, db: Database, workspace: Workspace
):
    other = await db.create_workspace(f"{workspace.name}-other", {})
    await take({"a.md": "ours"})
    await take({"a.md": "theirs"}, workspace_id=other.id)
    await remove(db, other.id, "a")
    assert await state(db, workspace) == {"a": ["ours"]}
    assert await state(db, other) == {}
    assert await counted(db, other) == {}


async def test_two_ingestions_at_once_leave_right_frequencies(take: Take, db: Database, workspace: Workspace):
    await asyncio.gather(
        *(take({f"{n}-{m}.md": f"# shared {m}\n\nshared words {n} and {m}" for m in range(10)}) for n in range(3))
    )
    assert len(await state(db, workspace)) == 30
    assert await counted(db, workspace) == await recounted(db, workspace)


async def test_killed_half_way_it_leaves_whole_articles_and_goes_on_from_there(
    dsn: str, db: Database, workspace: Workspace, take: Take, tmp_path: Path
):
    text = "\n\n".join(f"# Part {n}\n\n{'sentence about it. ' * 20}" for n in range(8))
    for n in range(60):
        (tmp_path / f"{n:02}.md").write_text(text)
    script = """
        import asyncio, sys
        from pathlib import Path
        from duomo.knowledge.ingest import Models, ingest
        from duomo.knowledge.sources import sources_from_paths
        from duomo.store.blobs import Blobs
        from duomo.store.postgres import Database
        from duomo.testing import FakeEmbedder, FakeImageEmbedder

        async def main():
            async def progress(report):
                print(report.done, flush=True)
            async with await Database.open(sys.argv[1]) as db:
                folder = Path(sys.argv[3])
                models = Models(FakeEmbedder(), pictures=FakeImageEmbedder())
                await ingest(db, sys.argv[2], sources_from_paths([folder]), models=models, blobs=Blobs(folder),
                             progress=progress)

        asyncio.run(main())
    """
    command = [sys.executable, "-c", textwrap.dedent(script), dsn, workspace.id, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) == 5:
                os.kill(process.pid, signal.SIGKILL)
                break
    before = await state(db, workspace)
    assert 5 <= len(before) < 60
    assert {len(chunks) for chunks in before.values()} == {8}
    assert await counted(db, workspace) == await recounted(db, workspace)
    report = await take({path.name: path.read_text() for path in sorted(tmp_path.glob("*.md"))})
    assert (report.unchanged + report.added, report.updated) == (60, 0)
    assert report.unchanged >= 5
    assert await counted(db, workspace) == await recounted(db, workspace)


async def start_import(db: Database, workspace: Workspace, blobs: Blobs, files: dict[str, bytes]) -> str:
    stored = [{"name": name, "blob": blobs.put(workspace.id, data)} for name, data in files.items()]
    async with db.transaction(workspace.id) as tx:
        for file in stored:
            await tx.run("insert_blob", key=file["blob"], mime="application/octet-stream", size=1)
        return str(await tx.value("start_import", total=len(files), files=stored))


async def test_an_import_notes_what_it_did_and_forgets_the_uploaded_files(
    db: Database, workspace: Workspace, blobs: Blobs, models: Models
):
    identity = await start_import(
        db, workspace, blobs, {"a.md": b"alpha", "b.jsonl": b'{"id": 1, "text": "x"}\nbroken'}
    )
    await run_import(db, workspace.id, identity, models=models, blobs=blobs)
    await run_import(db, workspace.id, identity, models=models, blobs=blobs)  # delivered twice
    async with db.transaction(workspace.id) as tx:
        found = await tx.one("import_state", id=identity)
    assert found is not None
    (failure,) = found.pop("failed")
    assert found == {"state": "done", "done": 3, "total": 3, "added": 2, "unchanged": 0, "updated": 0}
    assert failure["name"] == "b.jsonl: line 2"
    assert list(blobs.keys(workspace.id)) == []
    assert await rows(db, workspace.id, "SELECT key FROM blobs") == []


async def test_an_upload_that_is_also_a_message_s_file_is_kept(
    db: Database, workspace: Workspace, blobs: Blobs, models: Models
):
    first = await start_import(db, workspace, blobs, {"a.md": b"alpha"})
    await start_import(db, workspace, blobs, {"copy.md": b"alpha"})
    await run_import(db, workspace.id, first, models=models, blobs=blobs)
    assert len(list(blobs.keys(workspace.id))) == 1


async def test_without_a_workspace_the_search_functions_find_nothing(take: Take, db: Database):
    await take({"a.md": "alpha"})
    async with db.transaction(None) as tx:
        cursor = await tx.connection.execute(
            "SELECT * FROM chunks_with_tokens(ARRAY['''alpha'''], ARRAY[1]::real[], 10, 10)"
        )
        assert await cursor.fetchall() == []


async def test_the_search_functions_are_for_the_application_alone(dsn: str):
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        cursor = await connection.execute(
            "SELECT has_function_privilege('duomo_app', oid, 'EXECUTE') AS app, "
            "has_function_privilege('public', oid, 'EXECUTE') AS everybody "
            "FROM pg_proc WHERE proname LIKE 'chunks\\_with\\_%'"
        )
        assert await cursor.fetchall() == [(True, False)] * 2
