"""A PostgreSQL server of one's own, in a folder and on a port of 127.0.0.1."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg

from schemas.records import DatabaseAddress, Secret
from sitegen.storage.store import Store
from tests.sitegen.kit import Manager, free_port

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
PASSWORD = "correct horse"


class Server:
    """A running server; it does not run as root, so the user `postgres` starts it."""

    def __init__(self) -> None:
        # not below pytest's folder, to which each of its runs removes the others' access again
        self._folder = Path(tempfile.mkdtemp(prefix="skipjack-postgresql-"))
        shutil.chown(self._folder, "postgres")
        self.port = free_port()
        self.data = self._folder / "data"
        self.password_file = self._folder / "password"
        self.password_file.write_text(f"{PASSWORD}\n")
        self._do("initdb", "-D", self.data, "-A", "trust", "-U", "postgres", "--no-sync", "--locale=C.UTF-8")
        (self.data / "pg_hba.conf").write_text(
            "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        )

    def __enter__(self) -> Self:
        self.start()
        self.execute(f"CREATE ROLE skipjack LOGIN PASSWORD '{PASSWORD}'")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        # 13 and older hash passwords with MD5 otherwise.
        options = f"-k '' -c listen_addresses=127.0.0.1 -p {self.port} -c fsync=off -c max_connections=200"
        options += " -c password_encryption=scram-sha-256"
        self._do("pg_ctl", "-D", self.data, "-w", "-l", self._folder / "log", "-o", options, "start")

    def stop(self) -> None:
        """Break all connections and end."""
        self._do("pg_ctl", "-D", self.data, "-w", "-m", "immediate", "stop")

    def freeze(self, frozen: bool) -> None:
        """Stop every process of the server with SIGSTOP, or let it continue."""
        postmaster = int((self.data / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text()
        for pid in (postmaster, *map(int, children.split())):
            os.kill(pid, signal.SIGSTOP if frozen else signal.SIGCONT)

    def database(self, name: str) -> DatabaseAddress:
        """A new, empty database."""
        self.execute(f'DROP DATABASE IF EXISTS "{name}"')
        self.execute(f'CREATE DATABASE "{name}" OWNER skipjack')
        url = f"postgresql://skipjack@127.0.0.1:{self.port}/{name}"
        return DatabaseAddress(url, Secret(file=str(self.password_file)))

    def execute(self, statement: str, values: Sequence[object] = (), database: str = "postgres") -> list[Any]:
        """Do something as the server's administrator."""
        where = {"host": "127.0.0.1", "port": self.port, "user": "postgres", "dbname": database}
        with psycopg.connect(**where, autocommit=True) as connection:  # type: ignore[arg-type]
            found = connection.execute(statement.encode(), values or None)
            return found.fetchall() if found.description else []

    def _do(self, program: str, *words: object) -> None:
        user = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--init-groups"]
        command = [*user, str(BINARIES[-1] / program), *map(str, words)]
        subprocess.run(command, check=True, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=300)


class Sharing(Manager):
    """A manager in a new folder, whose things are in PostgreSQL."""

    def __init__(self, folder: Path, address: DatabaseAddress, **settings: Any) -> None:
        assert address.password is not None
        folder.mkdir()
        super().__init__(folder, database={"url": address.url, "password": {"file": address.password.file}}, **settings)
        self.database = address

    def store(self) -> Store:
        """Its database."""
        return Store("", self.database)
