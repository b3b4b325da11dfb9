"""The tables of the store, and the migrations from older releases.

Times are Unix seconds, sizes bytes, durations seconds; `codec` encodes JSON text.
"""

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, MetaData, Table, Text

# Written out, not generated from the tables, which change with each release. Both databases know these types.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "ALTER TABLE workers ADD COLUMN progress TEXT NOT NULL DEFAULT '[]'",
        "ALTER TABLE workers ADD COLUMN replaced BIGINT NOT NULL DEFAULT 0",
        "ALTER TABLE mirror_state ADD COLUMN changed BIGINT NOT NULL DEFAULT 0",
        "ALTER TABLE catalogue ADD COLUMN changed BIGINT NOT NULL DEFAULT 0",
    ),
    (
        "ALTER TABLE tokens ADD COLUMN scope TEXT NOT NULL DEFAULT 'worker'",
        "ALTER TABLE tokens ADD COLUMN expires_at FLOAT",
        "CREATE TABLE commands (worker TEXT NOT NULL, number BIGINT NOT NULL, kind TEXT NOT NULL, "
        "mirrors TEXT NOT NULL, force BOOLEAN NOT NULL, issued_at FLOAT NOT NULL, issued_by TEXT NOT NULL, "
        "state TEXT NOT NULL, reason TEXT NOT NULL, delivered_at FLOAT, ended_at FLOAT, PRIMARY KEY (worker, number))",
        "CREATE TABLE command_numbers (worker TEXT NOT NULL, newest BIGINT NOT NULL, PRIMARY KEY (worker))",
        "CREATE TABLE audit (id TEXT NOT NULL, at FLOAT NOT NULL, who TEXT NOT NULL, action TEXT NOT NULL, "
        "subject TEXT NOT NULL, origin TEXT NOT NULL, details TEXT NOT NULL, PRIMARY KEY (id))",
        "CREATE INDEX audit_at ON audit (at)",
        "CREATE INDEX runs_by_end ON runs (ended_at)",
        "CREATE TABLE tunasync_workers (name TEXT NOT NULL, url TEXT NOT NULL, last_online TEXT NOT NULL, "
        "last_register TEXT NOT NULL, PRIMARY KEY (name))",
        "CREATE TABLE tunasync_jobs (worker TEXT NOT NULL, mirror TEXT NOT NULL, document TEXT NOT NULL, "
        "PRIMARY KEY (worker, mirror))",
    ),
    ("ALTER TABLE mirror_state ADD COLUMN probe TEXT",),
    ("ALTER TABLE workers ADD COLUMN held BOOLEAN NOT NULL DEFAULT FALSE",),
    (
        "ALTER TABLE mirror_state ADD COLUMN override TEXT",
        "ALTER TABLE commands ADD COLUMN note TEXT NOT NULL DEFAULT ''",
    ),
    (
        "CREATE TABLE clocks (worker TEXT NOT NULL, ahead FLOAT NOT NULL, at FLOAT NOT NULL, PRIMARY KEY (worker))",
        "CREATE TABLE tunasync_rejected (worker TEXT NOT NULL, name TEXT NOT NULL, status TEXT NOT NULL, "
        "PRIMARY KEY (worker, name))",
    ),
    (
        "CREATE TABLE limited_times (worker TEXT NOT NULL, mirror TEXT NOT NULL, name TEXT NOT NULL, "
        "told FLOAT NOT NULL, at FLOAT NOT NULL, PRIMARY KEY (worker, mirror, name))",
        # an older release stored neither which of the two it was nor since when
        "DELETE FROM refusal",
        "ALTER TABLE refusal ADD COLUMN since FLOAT NOT NULL DEFAULT 0",
        "ALTER TABLE refusal ADD COLUMN revision TEXT",
    ),
    (
        "CREATE TABLE policies (worker TEXT NOT NULL, digest TEXT NOT NULL, document TEXT NOT NULL, "
        "reported_at FLOAT NOT NULL, PRIMARY KEY (worker))",
        "ALTER TABLE catalogue ADD COLUMN policies TEXT NOT NULL DEFAULT '{}'",
    ),
    ("ALTER TABLE runs ADD COLUMN free_space BIGINT",),
    ("ALTER TABLE workers ADD COLUMN leftovers INTEGER",),
    (
        "ALTER TABLE workers ADD COLUMN rejected TEXT",
        "ALTER TABLE workers ADD COLUMN signer TEXT",
        "ALTER TABLE workers ADD COLUMN signing_key TEXT",
    ),
    (
        "ALTER TABLE workers ADD COLUMN pinned_until FLOAT",
        "ALTER TABLE workers ADD COLUMN pinned_by TEXT",
        "ALTER TABLE workers ADD COLUMN pin_reason TEXT",
    ),
)
"""Statements that migrate from version 1 to 2, from 2 to 3, and so on. Never change one that was released."""

VERSION = 1 + len(MIGRATIONS)

metadata = MetaData()

meta = Table(
    "meta",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)
"""Numbers: `schema_version`; `changes`, which rises with every write that changes a page; and after a first webhook
`wake`, which rises with each.

A row's `changed` is the value of `changes` when the row was written, so a reader that has read everything up to a
number reads only rows with a higher one.
"""

tokens = Table(
    "tokens",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("worker", Text, nullable=False),
    # Unique, and so indexed: requests look tokens up by it.
    Column("digest", Text, nullable=False, unique=True),
    Column("created_at", Float, nullable=False),
    Column("revoked_at", Float),
    Column("scope", Text, nullable=False),
    Column("expires_at", Float),
    # A number is never used twice, not even without its row: the audit log names tokens by number.
    sqlite_autoincrement=True,
)
"""`worker` is the name of the token's holder, which is a worker only with the scope `worker`."""

workers = Table(
    "workers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("first_seen", Float, nullable=False),
    Column("last_seen", Float, nullable=False),
    Column("sent_at", Float, nullable=False),
    Column("journal", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("revision", Text),
    Column("slots_total", Integer, nullable=False),
    Column("slots_busy", Integer, nullable=False),
    Column("problems", Text, nullable=False),
    Column("progress", Text, nullable=False),
    Column("replaced", BigInteger, nullable=False),
    Column("held", Boolean, nullable=False),
    Column("leftovers", Integer),
    Column("rejected", Text),
    Column("signer", Text),
    Column("signing_key", Text),
    Column("pinned_until", Float),
    Column("pinned_by", Text),
    Column("pin_reason", Text),
)
"""`progress` is from the last envelope only; `replaced` is the change number of the last snapshot, which replaced all
states of the worker's mirrors."""

journals = Table(
    "journals",
    metadata,
    Column("worker", Text, primary_key=True),
    Column("journal", Text, primary_key=True),
    Column("acknowledged", BigInteger, nullable=False),
)

mirror_state = Table(
    "mirror_state",
    metadata,
    Column("worker", Text, primary_key=True),
    Column("mirror", Text, primary_key=True),
    Column("journal", Text, nullable=False),
    Column("run_id", BigInteger),
    Column("upstream", Text, nullable=False),
    Column("is_master", Boolean, nullable=False),
    Column("status", Text, nullable=False),
    Column("last_started_at", Float),
    Column("last_ended_at", Float),
    Column("last_success_at", Float),
    Column("next_run_at", Float),
    Column("size", BigInteger),
    Column("changed", BigInteger, nullable=False),
    Column("probe", Text),
    Column("override", Text),
)

runs = Table(
    "runs",
    metadata,
    Column("worker", Text, primary_key=True),
    Column("journal", Text, primary_key=True),
    Column("id", BigInteger, primary_key=True),
    Column("mirror", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("launched_at", Float),
    Column("started_at", Float),
    Column("ended_at", Float),
    Column("attempts", Integer, nullable=False),
    Column("exit_code", Integer),
    Column("reason", Text, nullable=False),
    Column("duration", Float),
    Column("bytes", BigInteger),
    Column("files", BigInteger),
    Column("size", BigInteger),
    Column("log_tail", Text, nullable=False),
    Column("revision", Text),
    Column("free_space", BigInteger),
    # For the runs on a mirror's page, and for the search of runs to delete, which reads this index alone.
    Index("runs_of_mirror", "mirror", "worker", "ended_at"),
    # For the history of all mirrors, and for the search of logs to delete.
    Index("runs_by_end", "ended_at"),
)

catalogue = Table(
    "catalogue",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("revision", Text, nullable=False),
    Column("committed_at", Float, nullable=False),
    Column("site", Text, nullable=False),
    Column("workers", Text, nullable=False),
    Column("mirrors", Text, nullable=False),
    Column("problems", Text, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Column("policies", Text, nullable=False),
)
"""The configuration in use: one row, none before the first revision was accepted."""

policies = Table(
    "policies",
    metadata,
    Column("worker", Text, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("document", Text, nullable=False),
    Column("reported_at", Float, nullable=False),
)
"""The exported policy that a worker reported, as JSON, with its digest. `catalogue.policies` has the digests of those
in the config repository."""

refusal = Table(
    "refusal",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("since", Float, nullable=False),
    Column("revision", Text),
)
"""Why the newest revision is not in use: a row `REFUSED` if it was rejected, and a row `UNREACHABLE` while the
repository cannot be fetched."""

REFUSED, UNREACHABLE = 1, 2

revisions = Table(
    "revisions",
    metadata,
    Column("commit", Text, primary_key=True),
    Column("accepted_at", Float, nullable=False),
)
"""Every commit that was ever in use, to distinguish a worker that is behind from one that is ahead."""

commands = Table(
    "commands",
    metadata,
    Column("worker", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("mirrors", Text, nullable=False),
    Column("force", Boolean, nullable=False),
    Column("issued_at", Float, nullable=False),
    Column("issued_by", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("delivered_at", Float),
    Column("ended_at", Float),
    Column("note", Text, nullable=False),
)

command_numbers = Table(
    "command_numbers",
    metadata,
    Column("worker", Text, primary_key=True),
    Column("newest", BigInteger, nullable=False),
)
"""The highest number that was issued to each worker. It outlives the commands."""

audit = Table(
    "audit",
    metadata,
    Column("id", Text, primary_key=True),
    Column("at", Float, nullable=False),
    Column("who", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("details", Text, nullable=False),
    # For `audit --since`, and for the search of lines to delete.
    Index("audit_at", "at"),
)
"""`id` is random, so that several programs can write at once; `details` is JSON."""

tunasync_workers = Table(
    "tunasync_workers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("url", Text, nullable=False),
    Column("last_online", Text, nullable=False),
    Column("last_register", Text, nullable=False),
)
"""Workers of tunasync, with times to the nanosecond as its clients get them."""

tunasync_jobs = Table(
    "tunasync_jobs",
    metadata,
    Column("worker", Text, primary_key=True),
    Column("mirror", Text, primary_key=True),
    Column("document", Text, nullable=False),
)
"""A Go worker's job as JSON for tunasync's clients; `mirror_state` has its status for pages."""

tunasync_rejected = Table(
    "tunasync_rejected",
    metadata,
    Column("worker", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("status", Text, nullable=False),
)
"""Names of Go workers' jobs that are not valid mirror names, with the last status, empty if there is none."""

clocks = Table(
    "clocks",
    metadata,
    Column("worker", Text, primary_key=True),
    Column("ahead", Float, nullable=False),
    Column("at", Float, nullable=False),
)
"""By how many seconds a worker's clock was last ahead (negative: behind), and when."""

limited_times = Table(
    "limited_times",
    metadata,
    Column("worker", Text, primary_key=True),
    Column("mirror", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("told", Float, nullable=False),
    Column("at", Float, nullable=False),
)
"""Times of mirrors' statuses that were in the future when first reported, and what they were limited to."""
