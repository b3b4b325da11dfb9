"""The tables `command` and `told_by_manager`: the manager's commands, and the newest revision that it named.

No other module writes them. Each command is taken once and answered once. It stays until the manager has its result.
The number up to which commands were taken is never deleted, so that a repeated command has no effect.
"""

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from runner.journal.journal import Journal

_INSERT = "INSERT INTO command (number, kind, mirrors, force, issued_by, note) VALUES (?, ?, ?, ?, ?, ?)"


class ManagerCommand(NamedTuple):
    """A command of an operator for this worker, with its number."""

    number: int
    kind: str
    mirrors: tuple[str, ...]
    force: bool
    issued_by: str
    note: str = ""


class CommandList(NamedTuple):
    """Commands after a number, ascending, and the newest number of this worker.

    `wake` is the manager's wake number, None from one without webhooks.
    """

    commands: tuple[ManagerCommand, ...]
    newest: int
    wake: int | None = None


class CommandResult(NamedTuple):
    """The result of a command: `done`, or `refused` with a reason."""

    number: int
    outcome: str
    reason: str


class CommandTable:
    """The tables of the manager's commands in an open journal; each method that writes is one durable transaction."""

    def __init__(self, book: Journal) -> None:
        self._book = book

    def taken(self) -> int:
        """Return the number up to which all commands were taken."""
        with self._book.together() as db:
            return int(db.execute("SELECT commands FROM told_by_manager").fetchone()[0])

    def take(self, found: CommandList) -> bool:
        """Store the new commands; False when the manager has fewer than were taken, since it has lost its database.

        Its numbers then continue after the newest one that it has, and results beyond that are dropped.
        """
        with self._book.together() as db:
            taken = self.taken()
            if found.newest < taken:
                # Otherwise these results would be taken for those of new commands with the same numbers.
                db.execute("DELETE FROM command WHERE number > ?", (found.newest,))
                db.execute("UPDATE told_by_manager SET commands = ?", (found.newest,))
                return False
            new = [_row(command) for command in found.commands if command.number > taken]
            db.executemany(_INSERT, new)
            newest = max([taken, *(command.number for command in found.commands)])
            db.execute("UPDATE told_by_manager SET commands = ?", (newest,))
        return True

    def waiting(self) -> list[ManagerCommand]:
        """Return the commands without a result, in order."""
        query = "SELECT number, kind, mirrors, force, issued_by, note FROM command WHERE outcome = '' ORDER BY number"
        with self._book.together() as db:
            return [
                ManagerCommand(row[0], row[1], tuple(json.loads(row[2])), bool(row[3]), row[4], row[5])
                for row in db.execute(query)
            ]

    def close(self, result: CommandResult) -> None:
        """Record the result of a command."""
        with self._book.together() as db:
            db.execute("UPDATE command SET outcome = ?2, reason = ?3 WHERE number = ?1", result)

    def results(self) -> list[CommandResult]:
        """Return the results that the manager does not have yet, in order."""
        query = "SELECT number, outcome, reason FROM command WHERE outcome <> '' ORDER BY number"
        with self._book.together() as db:
            return [CommandResult(*row) for row in db.execute(query)]

    def forget(self, results: Iterable[CommandResult]) -> None:
        """Remove commands whose results the manager has."""
        with self._book.together() as db:
            db.executemany("DELETE FROM command WHERE number = ?", [(result.number,) for result in results])

    def is_new(self, revision: str) -> bool:
        """Store the revision that the manager named; True when it differs from the one before."""
        with self._book.together() as db:
            return bool(
                db.execute("UPDATE told_by_manager SET revision = ?1 WHERE revision <> ?1", (revision,)).rowcount
            )


def _row(command: ManagerCommand) -> Sequence[object]:
    return command.number, command.kind, json.dumps(command.mirrors), command.force, command.issued_by, command.note
