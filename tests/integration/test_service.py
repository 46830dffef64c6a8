"""The whole service: conversations through every process, the command line beside it, and no word to other hosts."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx2

from duomo.client import Customer, is_reply
from duomo.demo import SCENARIO
from tests.integration.conftest import Running, duomo

SPEECH = SCENARIO / "media" / "speech"


async def test_a_question_is_answered_with_its_source(http: httpx2.AsyncClient) -> None:
    customer = await Customer.arrive(http, language="en")
    await customer.say("How long does delivery take?", language="en")
    reply = (await customer.until(is_reply))["data"]
    assert (reply["kind"], reply["ai"]) == ("answer", True)
    assert "en/delivery-times" in [citation["article_id"] for citation in reply["citations"]]
    article = await http.get(
        f"/api/v1/articles/{reply['citations'][0]['article_id']}", headers={"Authorization": f"Bearer {customer.token}"}
    )
    assert reply["citations"][0]["quote"].split("\n")[0][:20] in article.json()["text"]


async def test_a_voice_note_is_heard_and_a_picture_read_before_the_answer(http: httpx2.AsyncClient) -> None:
    customer = await Customer.arrive(http, language="zh")
    screen = SCENARIO / "media" / "screens" / "customer-pairing-e12-zh.png"
    sent = await customer.say(files=[SPEECH / "zh-address.ogg", screen], language="zh")
    await customer.until(is_reply, timeout_s=60)
    seen = [e["data"] for e in customer.events if e["kind"] == "update" and e["data"]["id"] == sent["id"]][-1]
    kinds = {artifact["kind"]: artifact for part in seen["parts"] for artifact in part["artifacts"]}
    assert [part["state"] for part in seen["parts"]] == ["ready", "ready"]
    assert "收货地址" in kinds["transcript"]["text"]
    assert "E12" in kinds["ocr"]["text"]
    assert all(a["model"] and a["version"] and 0 <= a["confidence"] <= 1 for a in kinds.values())


async def test_no_process_speaks_to_another_host(running: Running, http: httpx2.AsyncClient) -> None:
    customer = await Customer.arrive(http, language="en")
    await customer.say("Who are you?", files=[SPEECH / "en-person.flac"], language="en")
    await customer.until(lambda e: e["kind"] == "status" or is_reply(e), timeout_s=60)
    assert duomo(running.home, "ask", "--json", "你好", **running.watched).returncode == 0
    assert running.network_log.read_text() == ""
    stray = "import socket; s = socket.socket(); s.settimeout(0.01); s.connect_ex(('192.0.2.1', 9))"
    subprocess.run([sys.executable, "-c", stray], env={**os.environ, **running.watched}, check=True)
    assert "192.0.2.1" in running.network_log.read_text()  # the watch works
    running.network_log.write_text("")


def test_ask_answers_beside_the_running_service(running: Running) -> None:
    asked = duomo(running.home, "ask", "--json", "--lang", "en", "How long does delivery take?")
    assert asked.returncode == 0, asked.stderr
    answer = json.loads(asked.stdout)
    named = {"answer", "citations", "handoff", "artifacts", "understood", "policy", "language", "timings_ms"}
    assert set(answer) == named
    assert answer["understood"] is None
    assert answer["policy"]["do"] == "answer"
    assert set(answer["citations"][0]) == {"article_id", "title", "uri", "quote", "score"}
    assert answer["citations"][0]["article_id"] == "en/delivery-times"
    assert answer["handoff"] is None


def test_ask_hears_a_voice_note_and_names_what_it_heard(running: Running) -> None:
    answer = json.loads(duomo(running.home, "ask", "--json", "--audio", SPEECH / "zh-address.ogg").stdout)
    assert answer["language"] == "zh"
    assert set(answer["artifacts"][0]) == {"part", "kind", "text", "confidence", "model"}
    assert "收货地址" in answer["artifacts"][0]["text"]


def test_a_batch_is_answered_line_by_line_in_order_and_a_bad_line_stops_nothing(
    running: Running, tmp_path: Path
) -> None:
    batch = tmp_path / "questions.jsonl"
    rows = [{"id": "b", "text": "怎么开发票？"}, {"id": "a", "audio": "nowhere.wav"}, {"id": "c", "text": "hello"}]
    batch.write_text("\n".join(json.dumps(row) for row in rows))
    answers = [json.loads(line) for line in duomo(running.home, "ask", "--batch", batch).stdout.splitlines()]
    assert [answer["id"] for answer in answers] == ["b", "a", "c"]
    assert "nowhere.wav" in answers[1]["error"]["message"]
    found = [
        json.loads(line) for line in duomo(running.home, "retrieve", "--batch", batch, "-k", "2").stdout.splitlines()
    ]
    assert [row["id"] for row in found] == ["b", "a", "c"]
    assert len(found[0]["passages"]) == 2


def test_retrieve_prints_passages_best_first(running: Running) -> None:
    passages = json.loads(duomo(running.home, "retrieve", "--json", "-k", "3", "How long does delivery take?").stdout)
    assert [set(passage) for passage in passages] == [{"article_id", "chunk_id", "title", "text", "score"}] * 3
    assert passages[0]["article_id"] == "en/delivery-times"
    assert [p["score"] for p in passages] == sorted((p["score"] for p in passages), reverse=True)


def test_ingesting_again_changes_nothing_and_a_broken_file_is_named(running: Running, tmp_path: Path) -> None:
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "note.md").write_text("# Gift wrapping\n\nGift wrapping costs 5 yuan for each item.\n")
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7\nnot really")
    first = json.loads(duomo(running.home, "ingest", "--json", folder).stdout)
    again = json.loads(duomo(running.home, "ingest", "--json", folder).stdout)
    assert (first["added"], first["updated"], [f["name"] for f in first["failed"]]) == (1, 0, ["broken.pdf"])
    assert (again["added"], again["unchanged"]) == (0, 1)


def test_bad_usage_and_missing_dependencies_have_their_exit_codes(running: Running, tmp_path: Path) -> None:
    nothing = duomo(running.home, "ask")
    assert (nothing.returncode, "nothing to ask" in nothing.stderr) == (2, True)
    assert duomo(running.home, "ask", "--workspace", "nobody", "hi").returncode == 2
    assert duomo(running.home, "ingest", tmp_path / "absent").returncode == 2
    away = duomo(tmp_path, "ask", "hi", DATABASE_URL="host=/nonexistent connect_timeout=1")
    assert (away.returncode, "PostgreSQL does not answer" in away.stderr) == (3, True)


def test_a_workspace_setting_is_checked_before_it_is_stored(running: Running) -> None:
    changed = duomo(running.home, "workspace", "demo", "--set", "max_audio_s=90")
    assert (changed.returncode, changed.stdout) == (0, "demo: max_audio_s is 90\n")
    for wrong in ("max_audio_s=true", "keep_originals=1", "max_audio=90", "title=x"):
        assert duomo(running.home, "workspace", "demo", "--set", wrong).returncode == 2, wrong


def test_a_second_service_of_the_same_home_is_refused(running: Running) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        free = taken.getsockname()[1]
    second = duomo(running.home, "run", "--no-demo", "--port", str(free))
    assert (second.returncode, "already" in second.stderr) == (2, True)


def test_ctrl_c_stops_every_process(tmp_path: Path, running: Running) -> None:
    from tests.conftest import reachable
    from tests.integration.conftest import free_port

    home = reachable(tmp_path) / "home"
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "duomo.cli", "run", "--no-demo", "--home", str(home), "--port", str(free_port())],
        stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            if "Ctrl-C" in line:
                break
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
    left = [
        command for pid in filter(str.isdigit, os.listdir("/proc")) if str(home).encode() in (command := _command(pid))
    ]
    assert left == []


def _command(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
