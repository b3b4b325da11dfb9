"""The frozen records of the configuration.

The loader passes these to the rest of the program, never dicts. They are the only place with defaults. Durations are
seconds, sizes bytes. `files/*.schema.json` describe the keys; a test proves that both have the same keys and defaults.
"""

from collections.abc import Mapping
from typing import NamedTuple

from schemas.mirror_record import NO_ENTRIES
from schemas.mirror_record import FreshnessFile as FreshnessFile
from schemas.mirror_record import Mirror as Mirror
from schemas.mirror_record import Secret as Secret
from schemas.mirror_record import SyncWindows as SyncWindows


class Site(NamedTuple):
    """The site as its visitors see it."""

    title: str
    url: str = ""
    description: str = ""
    contact: str = ""
    time_zone: str = "UTC"
    categories: Mapping[str, str] = NO_ENTRIES


class Worker(NamedTuple):
    """One machine that carries mirrors."""

    name: str
    description: str = ""
    slots: int = 4
    silent_after: int = 30 * 60
    sync_windows: SyncWindows | None = None


FIRST_PARENT, HEAD = "first-parent", "head"
"""Which commits must be signed: each new one on the line of first parents, or only the newest one."""


class SignatureRules(NamedTuple):
    """Who must have signed a revision: files of the machine, of which one is for SSH, one for OpenPGP.

    `owner` is the owner of the settings, who beside root may own the files.
    """

    allowed_signers: str | None = None
    keyring: str | None = None
    revoked: str | None = None
    require: str = FIRST_PARENT
    owner: int = 0


class Repository(NamedTuple):
    """The git repository with the configuration, and the branch and folder in it."""

    url: str
    branch: str = "main"
    path: str = "."
    timeout: int = 120
    verify_signatures: SignatureRules | None = None


class ManagerAddress(NamedTuple):
    """The manager that a worker reports to; only a manager of tunasync needs no token."""

    url: str
    token: Secret | None = None
    ca_cert: str | None = None
    protocol: str = "skipjack"


DEFAULT = "default"
"""An entry of a policy's allow-list that stands for all default entries."""

PLAIN_ENV = (
    "LANG", "LANGUAGE", "LC_*", "TZ", "TMPDIR=/tmp", "TMPDIR=/var/tmp",
    "http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy", "rsync_proxy",
    "HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY", "RSYNC_PROXY",
    "APT_SYNC_USER_AGENT", "CONCURRENT_JOBS", "CONDA_REPO_URL", "DEBMIRROR_HOST", "DEBUG", "DOWNLOAD_TIMEOUT",
    "DRY_RUN", "INIT", "MAX_RETRY", "MIRROR_BASE_URL",
    "NIX_MIRROR_*", "PYPI_EXCLUDE", "PYPI_MASTER", "RECURSIVE", "RUSTUP_GC", "SHADOWMIRE_*", "SYNC_FLUTTER_ENGINES",
    "SYNC_USER_AGENT", "TUNASYNC_LFTP_CONCURRENT", "TUNASYNC_S3_ENDPOINT", "TUNASYNC_TSUMUGU_MAXDELETE",
    "TUNASYNC_TSUMUGU_PARSER", "TUNASYNC_TSUMUGU_THREADS", "TUNASYNC_TSUMUGU_TIMEZONEFILE",
    "TUNASYNC_TSUMUGU_USERAGENT", "UPSTREAM_BRANCH", "USE_ADDR_FAMILY", "USE_BITMAP_INDEX",
    "USE_IPV6", "USE_PYPI_INDEX",
)  # fmt: skip
"""Variables of the locale, of proxies, and those that public mirror scripts read as a number, a switch or an address.
None names a program, a file to read, or options, and the runner sets none of them."""

CONTAINER_ENV = (
    *PLAIN_ENV, "APTSYNC_*", "BANDERSNATCH_*", "BIND_ADDRESS", "BREW_SH_BIND_ADDRESS", "CHECKIN_*", "CRATES_*",
    "CUSTOM_ENDPOINTS", "DOWNLOAD_LINKS", "EXCLUDE", "FAST_SKIP", "FBSD_*", "FILTEREXP", "GC", "GEOMETRIC_REPACK",
    "GET_ALL", "GITSYNC_*", "GS_*", "HACKAGE_BASE_URL", "HOMEBREW_*", "IGNORE_LOCK", "INDEX_ONLY", "JOBS",
    "LFTPSYNC_*", "LOGDIR", "LOG_ROTATE_CYCLE", "MODULE", "NO_NIGHTLY", "OWNER", "RCLONE_*", "REGISTRY*",
    "REPO", "REPOS", "RETRY", "RSYNC_*", "SYNC_*", "TARGETS", "TIMEOUT", "TMPDIR", "TO", "TSUMUGU_*", "TUNASYNC_*",
    "UPSTREAM*", "URL", "URLBASE", "USER_AGENT", "VERBOSE", "WINGET_*", "WORKERS", "YUKINA_*", "YUMSYNC_*",
)  # fmt: skip
"""Variables that public container images for mirrors read as well."""

RSYNC_OPTIONS = (
    "--8-bit-output", "--address", "--append", "--append-verify", "--archive", "--atimes", "--block-size",
    "--blocking-io", "--bwlimit", "--checksum", "--checksum-choice", "--checksum-seed", "--chmod", "--chown",
    "--compress", "--compress-choice", "--compress-level", "--compress-threads", "--contimeout", "--copy-dirlinks",
    "--copy-links", "--copy-unsafe-links", "--crtimes", "--debug", "--delay-updates", "--delete", "--delete-after",
    "--delete-before", "--delete-delay", "--delete-during", "--delete-excluded", "--devices", "--dirs", "--drop-D",
    "--exclude", "--exclude-from", "--executability", "--existing", "--filter", "--force", "--from0", "--fsync",
    "--fuzzy", "--group", "--groupmap", "--hard-links", "--human-readable", "--ignore-errors", "--ignore-existing",
    "--ignore-times", "--inc-recursive", "--include", "--include-from", "--info", "--inplace", "--ipv4", "--ipv6",
    "--itemize-changes", "--links", "--max-alloc", "--max-delete", "--max-size", "--min-size", "--mkpath",
    "--modify-window", "--motd", "--msgs2stderr", "--munge-links", "--new-compress", "--no-8-bit-output", "--no-D",
    "--no-acls", "--no-append", "--no-atimes", "--no-backup", "--no-blocking-io", "--no-bwlimit", "--no-checksum",
    "--no-compress", "--no-contimeout", "--no-crtimes", "--no-delay-updates", "--no-devices", "--no-dirs",
    "--no-drop-D", "--no-force", "--no-from0", "--no-fuzzy", "--no-group", "--no-hard-links", "--no-human-readable",
    "--no-iconv", "--no-ignore-errors", "--no-inc-recursive", "--no-inplace", "--no-insecure-links",
    "--no-itemize-changes", "--no-links", "--no-mkpath", "--no-motd", "--no-msgs2stderr", "--no-munge-links",
    "--no-numeric-ids", "--no-old-args", "--no-omit-dir-times", "--no-omit-link-times", "--no-one-file-system",
    "--no-open-noatime", "--no-owner", "--no-partial", "--no-perms", "--no-progress", "--no-prune-empty-dirs",
    "--no-recursive", "--no-relative", "--no-secluded-args", "--no-sparse", "--no-specials", "--no-super",
    "--no-timeout", "--no-times", "--no-verbose", "--no-whole-file", "--no-write-devices", "--no-xattrs",
    "--numeric-ids", "--old-compress", "--old-dirs", "--omit-dir-times", "--omit-link-times", "--one-file-system",
    "--open-noatime", "--outbuf", "--owner", "--partial", "--perms", "--port", "--preallocate", "--progress",
    "--protocol", "--prune-empty-dirs", "--qsort", "--quiet", "--recursive", "--safe-links", "--secluded-args",
    "--size-only", "--skip-compress", "--sockopts", "--sparse", "--specials", "--stats", "--stderr", "--stop-after",
    "--stop-at", "--timeout", "--times", "--update", "--usermap", "--verbose", "--whole-file", "-D", "-P",
)  # fmt: skip
"""Options of rsync that do not run a program, leave the mirror's directory, or read a file of the machine, except
files of patterns, which have rules of their own. `--backup` is missing: rsync would rename files instead of deleting
them, which no limit on deletions counts."""


class Bound(NamedTuple):
    """Passwords, in a file or folder or a credential, that may be sent only to the rsync daemons on these hosts."""

    upstreams: tuple[str, ...]
    path: str = ""
    credential: str = ""


class Policy(NamedTuple):
    """What the config repository may do on this machine; `programs` None means any.

    The keys `forbidden_*` belong to earlier releases; None if not set.
    """

    mirror_roots: tuple[str, ...] = ()
    log_roots: tuple[str, ...] = ()
    providers: tuple[str, ...] = ("rsync", "two-stage-rsync", "command")
    hooks: tuple[str, ...] = ()
    programs: tuple[str, ...] | None = None
    readable: tuple[str | Bound, ...] = ("/etc/skipjack/secrets",)
    pattern_files: tuple[str, ...] = ("/etc/skipjack/filters",)
    allowed_env: tuple[str, ...] = PLAIN_ENV
    allowed_container_env: tuple[str, ...] = CONTAINER_ENV
    allowed_rsync_options: tuple[str, ...] = RSYNC_OPTIONS
    forbidden_env: tuple[str, ...] | None = None
    forbidden_rsync_options: tuple[str, ...] | None = None
    images: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    # None of these gives a container rights on the machine, as `--privileged`, `--device` or `--user` would.
    docker_options: tuple[str, ...] = (
        "--add-host",
        "--cap-drop",
        "--cpus",
        "--dns",
        "--hostname",
        "--init",
        "--label",
        "--memory-swap",
        "--network",
        "--pids-limit",
        "--pull",
        "--read-only",
        "--shm-size",
        "--tmpfs",
        "--ulimit",
    )


class RunnerSettings(NamedTuple):
    """The settings of a worker's machine."""

    worker: str
    repository: Repository
    mirror_root: str = "/srv/mirror"
    state_dir: str = "/var/lib/skipjack"
    run_dir: str = "/run/skipjack"
    log_dir: str = "/var/log/skipjack"
    snapshot_root: str = "/srv/snapshot"
    container_program: str = "docker"
    cgroup: str | None = None
    policy: str = "/etc/skipjack/policy.yml"
    manager: ManagerAddress | None = None
    start: str = "scheduled"

    @property
    def held(self) -> bool:
        """Whether no run starts before `skipjack release`."""
        return self.start == "held"


class Tls(NamedTuple):
    """Files with the manager's certificate and its key."""

    certificate: str
    key: str


class ClientLimits(NamedTuple):
    """Limits for the manager's clients: requests per second and per burst, connections per address and in all."""

    rate: int = 50
    burst: int = 500
    connections: int = 4000
    connections_per_address: int = 256
    header_size: int = 32 * 1024
    read_timeout: int = 30


class TunasyncAccess(NamedTuple):
    """What tunasync's clients and workers may do at the manager, and which workers it calls."""

    reads: bool = True
    writes_from: tuple[str, ...] = ()
    call: tuple[str, ...] = ()
    ca_cert: str | None = None


class DatabaseAddress(NamedTuple):
    """A PostgreSQL database; without a password libpq searches for one itself."""

    url: str
    password: Secret | None = None


class Webhook(NamedTuple):
    """The secret with which a forge shows that a webhook is from it."""

    secret: Secret


class History(NamedTuple):
    """How much history the manager keeps: seconds, and runs of each mirror on each worker."""

    keep_runs: int = 90 * 86400
    keep_logs: int = 14 * 86400
    runs_per_mirror: int = 1000
    keep_audit: int = 730 * 86400


class ManagerSettings(NamedTuple):
    """The settings of the manager's machine."""

    listen: str = "127.0.0.1:8080"  # behind a web server with a certificate
    state_dir: str = "/var/lib/skipjack-manager"
    run_dir: str = "/run/skipjack-manager"
    site_dir: str = "/var/www/skipjack"
    body_limit: int = 16 * 1024**2
    protected_reads: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    tls: Tls | None = None
    limits: ClientLimits = ClientLimits()
    tunasync: TunasyncAccess = TunasyncAccess()
    repository: Repository | None = None
    database: DatabaseAddress | None = None
    history: History = History()
    commands_expire: int = 7 * 86400
    webhook: Webhook | None = None
