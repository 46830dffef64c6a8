"""The embedded server: many starters make one, the last user stops it, a killed one loses nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from duomo.errors import StoreUnavailable
from duomo.store import embedded
from tests.conftest import reachable

USE = """
import sys, psycopg
from pathlib import Path
from duomo.store import embedded
with embedded.server(Path(sys.argv[1])) as dsn, psycopg.connect(dsn, autocommit=True) as connection:
    print(connection.execute("SELECT pg_postmaster_start_time()").fetchone()[0], flush=True)
    sys.stdin.read()
"""

WRITE = """
import sys, psycopg
from pathlib import Path
from duomo.store import embedded
with embedded.server(Path(sys.argv[1])) as dsn, psycopg.connect(dsn, autocommit=True) as connection:
    connection.execute("CREATE TABLE IF NOT EXISTS acknowledged (n int PRIMARY KEY)")
    for n in range(1_000_000):
        connection.execute("INSERT INTO acknowledged VALUES (%s)", (n,))
        print(n, flush=True)
"""


def user(home: Path, program: str = USE) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def postmaster(home: Path) -> int:
    return int((home / "postgres" / "data" / "postmaster.pid").read_text().splitlines()[0])


def runs(home: Path) -> bool:
    return (home / "postgres" / "data" / "postmaster.pid").exists()  # a server that stops in order takes it away


@pytest.fixture
def fresh_home(tmp_path: Path) -> Path:
    return reachable(tmp_path) / "home"


def test_processes_that_start_at_once_share_one_server_and_the_last_one_stops_it(fresh_home: Path) -> None:
    users = [user(fresh_home) for _ in range(4)]
    started = {process.stdout.readline() for process in users}  # type: ignore[union-attr]
    assert len(started) == 1
    for process in users[:3]:
        process.communicate("")
    assert runs(fresh_home)  # one user is left
    users[3].communicate("")
    assert not runs(fresh_home)


def test_a_user_killed_with_sigkill_does_not_keep_the_server_running_for_ever(fresh_home: Path) -> None:
    killed, last = user(fresh_home), user(fresh_home)
    for process in (killed, last):
        process.stdout.readline()  # type: ignore[union-attr]
    killed.kill()
    killed.communicate()
    assert runs(fresh_home)
    last.communicate("")
    assert not runs(fresh_home)


def test_commits_acknowledged_before_the_server_is_killed_are_there_after_it(fresh_home: Path) -> None:
    writer = user(fresh_home, WRITE)
    acknowledged = [int(writer.stdout.readline()) for _ in range(200)]  # type: ignore[union-attr]
    os.kill(postmaster(fresh_home), signal.SIGKILL)
    rest = writer.stdout.read()  # type: ignore[union-attr]  # `communicate` would pass over what is buffered here
    writer.communicate()
    acknowledged += [int(line) for line in rest.split()]
    with embedded.server(fresh_home) as dsn, psycopg.connect(dsn) as connection:
        stored = [row[0] for row in connection.execute("SELECT n FROM acknowledged ORDER BY n")]
    assert stored[: len(acknowledged)] == acknowledged
    assert len(stored) <= len(acknowledged) + 1  # the one in flight may have been committed


def test_a_cluster_of_another_version_is_refused_with_the_upgrade_command(fresh_home: Path) -> None:
    with embedded.server(fresh_home):
        pass
    version = fresh_home / "postgres" / "data" / "PG_VERSION"
    version.write_text("16\n")
    with pytest.raises(StoreUnavailable, match=r"belongs to PostgreSQL 16.*duomo upgrade"), embedded.server(fresh_home):
        pass


def test_a_cluster_of_postgresql_16_is_upgraded_with_its_rows_and_vectors(
    fresh_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = embedded.binaries
    with monkeypatch.context() as earlier:  # what a Duomo on PostgreSQL 16 would have left
        earlier.setattr(embedded, "MAJOR", "16")
        earlier.setattr(embedded, "binaries", lambda *, user: ours(major="16", user=user))
        earlier.setattr(embedded, "SETTINGS", {"listen_addresses": "", "unix_socket_permissions": "0700"})
        earlier.setattr(embedded, "LOCALE", ("--locale", "C.UTF-8"))
        with embedded.server(fresh_home) as dsn, psycopg.connect(dsn) as connection:
            connection.execute("CREATE EXTENSION vector")
            connection.execute("CREATE TABLE kept (t text, v halfvec(3))")
            connection.execute("INSERT INTO kept VALUES ('蓝汀', '[1,2,3]')")
    assert embedded.upgrade(fresh_home) == "16"
    assert embedded.upgrade(fresh_home) is None
    with embedded.server(fresh_home) as dsn, psycopg.connect(dsn) as connection:
        assert connection.info.server_version // 10000 == 18
        assert connection.execute("SELECT t, v::text FROM kept").fetchall() == [("蓝汀", "[1,2,3]")]


def test_the_data_and_the_socket_are_closed_to_other_users(fresh_home: Path) -> None:
    with embedded.server(fresh_home) as dsn:
        socket = Path(psycopg.conninfo.conninfo_to_dict(dsn)["host"])  # type: ignore[arg-type]
        for directory in (fresh_home / "postgres" / "data", socket):
            assert directory.stat().st_mode & 0o077 == 0
        with psycopg.connect(dsn) as connection:
            assert connection.execute("SHOW listen_addresses").fetchone() == ("",)


def test_a_start_interrupted_in_the_middle_is_begun_again(fresh_home: Path) -> None:
    half = fresh_home / "postgres" / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    with embedded.server(fresh_home) as dsn, psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_killed_server_is_started_again_by_whoever_watches_it(fresh_home: Path) -> None:
    with embedded.server(fresh_home) as dsn:
        assert embedded.revive(fresh_home) is False
        os.kill(postmaster(fresh_home), signal.SIGKILL)
        while not embedded.revive(fresh_home):  # the kernel takes a moment to close the socket
            time.sleep(0.05)
        with psycopg.connect(dsn) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
