"""The journal's tables, as one migration for each version."""

# AUTOINCREMENT, since numbers of runs and reports must not begin again when all rows are deleted. `run_of_mirror` finds
# the newest runs of a mirror, `run_end` those whose ends a manager does not know.
MIGRATIONS = (
    """
    CREATE TABLE identity (journal TEXT NOT NULL, acknowledged INTEGER NOT NULL);
    CREATE TABLE mirror (
        name TEXT PRIMARY KEY, upstream TEXT NOT NULL, is_master INTEGER NOT NULL, status TEXT NOT NULL, run INTEGER,
        last_started_at REAL, last_ended_at REAL, last_success_at REAL, next_run_at REAL, size INTEGER
    ) WITHOUT ROWID;
    CREATE TABLE run (
        id INTEGER PRIMARY KEY AUTOINCREMENT, mirror TEXT NOT NULL, status TEXT NOT NULL,
        launched_at REAL, started_at REAL, ended_at REAL, attempts INTEGER NOT NULL DEFAULT 0, exit_code INTEGER,
        reason TEXT NOT NULL DEFAULT '', duration REAL, bytes INTEGER, files INTEGER, size INTEGER,
        log_tail TEXT NOT NULL DEFAULT '', revision TEXT, end_number INTEGER
    );
    CREATE INDEX run_of_mirror ON run (mirror, id);
    CREATE INDEX run_end ON run (end_number);
    CREATE TABLE outbox (
        number INTEGER PRIMARY KEY AUTOINCREMENT, made_at REAL NOT NULL, kind TEXT NOT NULL, content TEXT NOT NULL
    );
    """,
    """
    ALTER TABLE mirror ADD COLUMN measured_at REAL;
    """,
    # `passing` is the mirror of a report that the end of its run makes obsolete. Few reports have one, so the index has
    # only those.
    """
    ALTER TABLE outbox ADD COLUMN passing TEXT;
    CREATE INDEX outbox_passing ON outbox (passing) WHERE passing IS NOT NULL;
    """,
    # `told` is the reason that was given to an active run which has to end, empty otherwise.
    """
    ALTER TABLE mirror ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE mirror ADD COLUMN forced INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE mirror ADD COLUMN told TEXT NOT NULL DEFAULT '';
    CREATE TABLE override (
        mirror TEXT PRIMARY KEY, kind TEXT NOT NULL, made_at REAL NOT NULL, made_by TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE request (
        mirror TEXT PRIMARY KEY, force INTEGER NOT NULL, made_at REAL NOT NULL, made_by TEXT NOT NULL
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE told_by_manager (commands INTEGER NOT NULL, revision TEXT NOT NULL);
    INSERT INTO told_by_manager VALUES (0, '');
    CREATE TABLE command (
        number INTEGER PRIMARY KEY, kind TEXT NOT NULL, mirrors TEXT NOT NULL, force INTEGER NOT NULL,
        issued_by TEXT NOT NULL, outcome TEXT NOT NULL DEFAULT '', reason TEXT NOT NULL DEFAULT ''
    );
    """,
    """
    ALTER TABLE mirror ADD COLUMN probe TEXT;
    ALTER TABLE mirror ADD COLUMN probed_at REAL;
    """,
    # While a manager is away all its runs are kept, and each tick and each transaction looks for the active ones.
    """
    CREATE INDEX run_status ON run (status);
    """,
    """
    ALTER TABLE mirror ADD COLUMN files_in TEXT;
    ALTER TABLE mirror ADD COLUMN emptied INTEGER;
    ALTER TABLE mirror ADD COLUMN accepted_files INTEGER;
    ALTER TABLE mirror ADD COLUMN accepted_bytes INTEGER;
    """,
    """
    ALTER TABLE run ADD COLUMN by_request INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE released (at REAL NOT NULL, made_by TEXT NOT NULL);
    """,
    """
    ALTER TABLE identity ADD COLUMN renewed_at REAL NOT NULL DEFAULT 0;
    """,
    """
    ALTER TABLE mirror ADD COLUMN loss_refused INTEGER NOT NULL DEFAULT 0;
    """,
    """
    ALTER TABLE mirror ADD COLUMN deleted_files INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE mirror ADD COLUMN deleted_bytes INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE mirror ADD COLUMN deleting TEXT NOT NULL DEFAULT '';
    """,
    """
    ALTER TABLE override ADD COLUMN reason TEXT NOT NULL DEFAULT '';
    ALTER TABLE command ADD COLUMN note TEXT NOT NULL DEFAULT '';
    """,
    # The size in the log of the last success, its difference to the size on disk, and whether files have changed since
    # that was measured: see `sizes`.
    """
    ALTER TABLE mirror ADD COLUMN told_size INTEGER;
    ALTER TABLE mirror ADD COLUMN correction INTEGER;
    ALTER TABLE mirror ADD COLUMN altered INTEGER NOT NULL DEFAULT 1;
    """,
    """
    ALTER TABLE mirror ADD COLUMN unreached INTEGER NOT NULL DEFAULT 0;
    """,
    """
    ALTER TABLE mirror ADD COLUMN next_attempt_at REAL;
    """,
    """
    ALTER TABLE mirror ADD COLUMN first_look TEXT NOT NULL DEFAULT '';
    ALTER TABLE mirror ADD COLUMN counted INTEGER NOT NULL DEFAULT 0;
    """,
    """
    ALTER TABLE mirror ADD COLUMN accepted_on_disk INTEGER;
    """,
    """
    ALTER TABLE mirror ADD COLUMN uncounted_since REAL;
    """,
    """
    ALTER TABLE run ADD COLUMN free_space INTEGER;
    """,
    """
    CREATE TABLE in_force (
        number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, since REAL NOT NULL, until REAL,
        signer TEXT NOT NULL, signing_key TEXT NOT NULL
    );
    CREATE TABLE pin (
        name TEXT NOT NULL, until REAL NOT NULL, made_at REAL NOT NULL, made_by TEXT NOT NULL, reason TEXT NOT NULL
    );
    """,
)
"""Steps from each version of the tables to the next. Never change one: append. Active runs of the release before must
be able to write the changed tables."""
