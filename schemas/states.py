"""The states of a mirror, on two axes that are never mixed.

The *run status* says how the last run went; *freshness* says whether visitors can trust the data. tunasync's clients
know only seven statuses and reject a list with any other, so each status maps to one of them.
"""

NONE = "none"
QUEUED = "queued"
LAUNCHING = "launching"
PRE_SYNCING = "pre-syncing"
SYNCING = "syncing"
SUCCESS = "success"
FAILED = "failed"
TIMED_OUT = "timed-out"
STOPPED = "stopped"
INTERRUPTED = "interrupted"
REFUSED = "refused"
LAUNCH_FAILED = "launch-failed"
PAUSED = "paused"
DISABLED = "disabled"

TO_TUNASYNC = {
    NONE: "none",
    QUEUED: "pre-syncing",
    LAUNCHING: "pre-syncing",
    PRE_SYNCING: "pre-syncing",
    SYNCING: "syncing",
    SUCCESS: "success",
    FAILED: "failed",
    TIMED_OUT: "failed",
    STOPPED: "paused",  # tunasync's `stop` pauses the job
    INTERRUPTED: "failed",
    REFUSED: "failed",
    LAUNCH_FAILED: "failed",
    PAUSED: "paused",
    DISABLED: "disabled",
}
"""Each run status, with the one of tunasync's seven that tunasync's clients get instead."""

ACTIVE = frozenset({LAUNCHING, PRE_SYNCING, SYNCING})
"""States of a run that has a process, or will have one soon."""

ENDS = frozenset({SUCCESS, FAILED, TIMED_OUT, STOPPED, INTERRUPTED, REFUSED, LAUNCH_FAILED})
"""Final states of a run. Reports of an end are never merged or dropped."""

FRESH = "fresh"
STALE = "stale"
UNKNOWN = "unknown"
FRESHNESS = (FRESH, STALE, UNKNOWN)

NEVER = "never"
SILENCE = "silence"
AGE = "age"
LAG = "lag"
UPSTREAM = "upstream"
SWITCHED_OFF = "switched-off"
CLOCK = "clock"
"""Why a mirror is not fresh: no run has succeeded, its worker is offline, its last success is too old, it is behind its
upstream, the upstream does not change, it is paused or disabled, or its last success lies in the future, so that its
age is unknown. Only an upstream that does not change is a cause on the upstream's side."""

OFF = frozenset({PAUSED, DISABLED})
"""States of a mirror with an override: it is not synced."""
