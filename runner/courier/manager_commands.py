"""What the manager has told this worker, in the journal: commands, each taken once and answered once, and the newest
revision that it named.

A command stays until the manager has its answer; its number is remembered for ever, so that one which comes again
does nothing.
"""

import json
from collections.abc import Iterable, Sequence

from runner.courier.client import Command, Commands, Result
from runner.journal.journal import Journal

_INSERT = "INSERT INTO command (number, kind, mirrors, force, issued_by, note) VALUES (?, ?, ?, ?, ?, ?)"


class Inbox:
    """The tables for it in an open journal; every method that writes is one durable transaction."""

    def __init__(self, book: Journal) -> None:
        self._book = book

    def taken(self) -> int:
        """The number up to which all commands were taken."""
        with self._book.together() as db:
            return int(db.execute("SELECT commands FROM told_by_manager").fetchone()[0])

    def take(self, found: Commands) -> bool:
        """Keep the commands that are new; False when the manager has fewer than were taken, since it lost its memory.

        Its numbers then begin again after the newest that it knows, and it is owed no answers beyond that.
        """
        with self._book.together() as db:
            taken = self.taken()
            if found.newest < taken:
                db.execute("DELETE FROM command WHERE number > ?", (found.newest,))
                db.execute("UPDATE told_by_manager SET commands = ?", (found.newest,))
                return False
            new = [_row(command) for command in found.commands if command.number > taken]
            db.executemany(_INSERT, new)
            newest = max([taken, *(command.number for command in found.commands)])
            db.execute("UPDATE told_by_manager SET commands = ?", (newest,))
        return True

    def waiting(self) -> list[Command]:
        """The commands that nothing has become of yet, in order."""
        query = "SELECT number, kind, mirrors, force, issued_by, note FROM command WHERE outcome = '' ORDER BY number"
        with self._book.together() as db:
            return [
                Command(row[0], row[1], tuple(json.loads(row[2])), bool(row[3]), row[4], row[5])
                for row in db.execute(query)
            ]

    def close(self, result: Result) -> None:
        """Record what became of a command."""
        with self._book.together() as db:
            db.execute("UPDATE command SET outcome = ?2, reason = ?3 WHERE number = ?1", result)

    def results(self) -> list[Result]:
        """What the manager is yet to be told, in order."""
        query = "SELECT number, outcome, reason FROM command WHERE outcome <> '' ORDER BY number"
        with self._book.together() as db:
            return [Result(*row) for row in db.execute(query)]

    def forget(self, results: Iterable[Result]) -> None:
        """Remove commands of which the manager knows what became of them."""
        with self._book.together() as db:
            db.executemany("DELETE FROM command WHERE number = ?", [(result.number,) for result in results])

    def is_new(self, revision: str) -> bool:
        """Remember the revision that the manager named; True when it is another than the one before."""
        with self._book.together() as db:
            return bool(
                db.execute("UPDATE told_by_manager SET revision = ?1 WHERE revision <> ?1", (revision,)).rowcount
            )


def _row(command: Command) -> Sequence[object]:
    return command.number, command.kind, json.dumps(command.mirrors), command.force, command.issued_by, command.note
