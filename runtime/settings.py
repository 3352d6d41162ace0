"""The settings of the server: one frozen dataclass, documented as it is declared. See `environment` for reading it."""

import re
from dataclasses import dataclass, fields
from pathlib import Path
from urllib.parse import urlsplit

from runtime.http.api_keys import ApiKeys
from runtime.personalization.actions import event_types
from runtime.personalization.popularity import HALF_LIVES_HOURS
from runtime.setting_fields import (
    AUTO,
    MiB,
    SettingsError,
    automatic,
    check_choice,
    choice,
    setting,
)


@dataclass(frozen=True)
class Settings:
    """Settings of one server. Field `name` is read from `VOWS_NAME`; `PORT` is honoured where VOWS_PORT is not set."""

    host: str = setting("127.0.0.1", "address", "Address to listen on.")
    port: int = setting(8080, "port", "Port to listen on; 0 takes a free one.", low=0, high=65535)
    metrics_port: int = setting(
        0,
        "port",
        "Another port, which serves /metrics alone and asks for no key: keep it private. 0: none.",
        low=0,
        high=65535,
    )
    data_dir: Path = setting(Path("data"), "folder", "Folder of the database; created if it does not exist.")
    database_url: str = setting(
        "",
        "URL",
        "A Postgres database that several machines share: postgresql://user:password@host:5432/name. none: the "
        "data is in one SQLite file in VOWS_DATA_DIR.",
    )
    database_pooler: str = choice(
        "none",
        "none, transaction",
        "transaction: VOWS_DATABASE_URL is that of a pooler (PgBouncer, Supavisor) which passes each transaction to "
        "another session.",
    )
    database_connections: int = setting(
        4, "connections", "Most connections to Postgres at once, and one that listens.", low=2, high=64
    )
    database_timeout_s: float = setting(
        10.0, "seconds", "Longest wait for one statement of Postgres; beyond it: 503.", low=0.1, high=300
    )
    models_dir: Path | None = setting(
        None,
        "folder",
        "Folder of the model bundles (`minilm/`, `sequence/`, `ranker/`); without it `models/`, else the package's.",
        kind=Path,
    )
    model_cache_dir: Path | None = setting(
        None,
        "folder",
        "Folder for weights that are packed for this CPU (34 MB, made at the first start), and for its encoding if the "
        "bundle lacks it, where the bundle's own folder is read-only; without it `model-cache/` in the data folder.",
        kind=Path,
    )
    encoding: str = choice(
        "auto",
        "auto, s8, u8, fp32",
        "Encoding of the weights: s8 is int8 for CPUs with VNNI, u8 is uint8 for AVX2; auto picks by the CPU.",
    )
    threads: int = setting(
        0,
        "threads",
        "Worker threads, one text each; 0 takes the usable cores (affinity and cgroup quota).",
        low=0,
        high=64,
    )
    queue_tokens: int = setting(
        131_072, "tokens", "Most tokens that wait for a worker; bulk work may fill half. Beyond it: 503.", low=1024
    )
    request_timeout_s: float = setting(10.0, "seconds", "Deadline of one request's model work.", low=0.1, high=300)
    batch_timeout_s: float = setting(120.0, "seconds", "Deadline of one batch's model work.", low=0.1, high=3600)
    max_body_bytes: int = setting(4 * MiB, "bytes", "Largest request body; beyond it: 413.", low=1024, high=64 * MiB)
    body_budget_bytes: int = automatic(
        "bytes",
        "Request bodies and large answers held at once, all clients together; beyond it: 503.",
        low=1024,
        high=256 * MiB,
    )
    max_requests: int = automatic("requests", "Requests served at once; beyond it: 503.", low=1, high=10_000)
    max_connections: int = automatic(
        "connections",
        "Connections open at once; beyond it the one that idles longest is closed, and where none idles: 503.",
        low=8,
        high=20_000,
    )
    max_head_bytes: int = setting(
        32 * 1024,
        "bytes",
        "Longest request line with headers, and longest trailers; beyond it: 431.",
        low=1024,
        high=MiB,
    )
    header_timeout_s: float = setting(
        10.0, "seconds", "Time for a request's headers, and for a connection's first request.", low=0.1, high=600
    )
    keep_alive_s: float = setting(
        75.0, "seconds", "Time that a connection may idle after an answer; longer than a proxy's.", low=0.1, high=3600
    )
    body_timeout_s: float = setting(
        20.0, "seconds", "How far a body may fall behind VOWS_MIN_BYTES_PER_S; beyond it: 408.", low=0.1, high=3600
    )
    write_timeout_s: float = setting(
        20.0,
        "seconds",
        "How far a client may fall behind VOWS_MIN_BYTES_PER_S with reading its answer; then it is cut off.",
        low=0.1,
        high=3600,
    )
    min_bytes_per_s: int = setting(
        4096, "bytes/s", "Slowest rate at which clients may send bodies and read answers.", low=1, high=MiB
    )
    catalog_bytes: int = automatic(
        "bytes",
        "Memory for the vectors of the catalogue; an item takes 1,536 as float32, 392 as int8, 52 on disk.",
        low=MiB,
    )
    catalog_vectors: str = choice(
        "auto",
        "auto, float32, int8, disk",
        "How they are held. float32 and int8 give the same answers. disk, for up to a million items, finds the best by "
        "estimates of one bit a dimension, then two, and scores these exactly. auto: the first in which the stored "
        "items fit into the memory found at start, but int8 where float32 would have room for fewer than 20,000.",
    )
    cache_bytes: int = automatic("bytes", "Memory for vectors of texts seen lately; 0 keeps none.", low=0)
    kept_users_bytes: int = automatic(
        "bytes",
        "Memory for what the sequence model made of users' histories, about 3 KB each, so that ranking again reads no "
        "history; 0 keeps none.",
        low=0,
    )
    api_keys: str = setting(
        "",
        "name:scopes:digest, …",
        "Keys that clients must send, as their SHA-256; `vows-edge key` makes entries. Several between commas.",
    )
    auth: str = choice(
        "loopback",
        "required, loopback, disabled",
        "Who may call. required: clients with a key, and without keys the server does not start. loopback: the same "
        "where there are keys; without any, it listens on a loopback address only. disabled: anyone.",
    )
    rate_per_s: float = setting(
        0.0,
        "requests/s",
        "Requests that one key (without keys, one address) may make in the long run; beyond it: 429. 0: no limit.",
        low=0,
        high=100_000,
    )
    rate_burst: int = setting(100, "requests", "Requests that one key may make at once.", low=1, high=100_000)
    cors_origins: str = setting(
        "", "origins", "Web pages that may call from a browser, such as https://app.example; several between commas."
    )
    allowed_hosts: str = setting(
        "",
        "names",
        "Names that clients may call the server by (the Host header), beside addresses and localhost; several between "
        "commas, * for any. none: any, but without keys a loopback address takes no other names.",
    )
    decay_per_day: float = setting(0.01, "1/day", "λ: an interaction's weight falls by exp(−λ·age).", low=0, high=10)
    allow_at: int = setting(
        0,
        "0, 1",
        "1: rankings as of another time (`at`) are allowed, to evaluate by replaying a log.",
        low=0,
        high=1,
    )
    hybrid_sequence: int = setting(
        1,
        "0, 1",
        "1: where a sequence model is served that the ranker was fitted beside, its score is a feature of the hybrid "
        "ranking.",
        low=0,
        high=1,
    )
    exposure_bytes: int = setting(
        256 * MiB,
        "bytes",
        "Disk for rankings that experiments showed, 400 to 4,000 bytes each; beyond it the oldest are deleted.",
        low=0,
    )
    exposure_days: int = setting(90, "days", "How long rankings that experiments showed are kept.", low=1, high=3650)
    event_types: str = setting(
        "",
        "name=action:strength, …",
        "Types of events beside view, save, share and skip: the action that each is for the models, and its strength "
        "(view 1, save 3, share 5, skip 0 where it is not given), such as purchase=share:10, like=save, hide=skip.",
    )
    popularity_half_life_hours: float = setting(
        720.0,
        "1, 24, 720, 8760",
        "Half-life of what is popular, from which users without a history and preferences start.",
    )
    max_clock_skew_s: float = setting(
        300.0,
        "seconds",
        "How far ahead of this machine's clock an interaction's timestamp may be.",
        low=0,
        high=86_400,
    )
    tombstone_s: float = setting(
        604_800.0,
        "seconds",
        "How long a late retry of a deleted event (taken back, or deleted with its user) is refused, by a keyed hash "
        "of its id; 0: not at all.",
        low=0,
        high=366 * 86_400,
    )
    max_tombstones: int = setting(
        100_000,
        "rows",
        "Most such hashes that are kept, about 100 bytes each on disk; beyond it the oldest are deleted.",
        low=1,
        high=100_000_000,
    )
    check_rows_per_s: float = setting(
        100.0,
        "rows/s",
        "How fast a background check reads all rows of the SQLite file for damage, over and over; 0: no such check.",
        low=0,
        high=100_000,
    )
    shutdown_s: int = setting(
        3,
        "seconds",
        "Time for requests in flight to finish after SIGTERM; the rest get 503, and the process ends a second later.",
        low=0,
        high=300,
    )
    log_level: str = choice("info", "debug, info, warning, error", "Least severe log line that is written.")
    log_format: str = choice("auto", "auto, json, text", "How log lines look; auto is text for a terminal, else json.")

    def __post_init__(self) -> None:
        for one in fields(self):
            check_choice(one, getattr(self, one.name))
        if self.database_url:
            _check_database(self.database_url)
        if self.auth == "required" and not self.api_keys:
            raise SettingsError("VOWS_AUTH=required, and VOWS_API_KEYS has no key: `vows-edge key` makes one")
        if self.auth == "disabled" and self.api_keys:
            raise SettingsError("VOWS_AUTH=disabled contradicts VOWS_API_KEYS: unset one of them")
        if self.popularity_half_life_hours not in HALF_LIVES_HOURS:
            among = ", ".join(f"{hours:g}" for hours in HALF_LIVES_HOURS)
            raise SettingsError(
                f"VOWS_POPULARITY_HALF_LIFE_HOURS={self.popularity_half_life_hours:g} is not one of {among}"
            )
        try:
            event_types(self.event_types)
        except ValueError as error:
            raise SettingsError(f"VOWS_EVENT_TYPES: {error}") from None
        try:
            ApiKeys.parse(self.api_keys)
        except ValueError as error:
            raise SettingsError(f"VOWS_API_KEYS: {error}") from None
        for origin in self.allowed_origins:
            if not re.fullmatch(r"https?://[^\s/*,]+", origin):
                raise SettingsError(
                    f"VOWS_CORS_ORIGINS has {origin!r}: an origin is https://host or https://host:port, in full"
                )
        for name in self.host_names:
            if not re.fullmatch(r"\*|[A-Za-z0-9._-]+", name):
                raise SettingsError(
                    f"VOWS_ALLOWED_HOSTS has {name!r}: a name is app.example, without scheme, port and path"
                )
        if self.body_budget_bytes != AUTO and self.body_budget_bytes < self.max_body_bytes:
            raise SettingsError(
                f"VOWS_BODY_BUDGET_BYTES={self.body_budget_bytes} is less than "
                f"VOWS_MAX_BODY_BYTES={self.max_body_bytes}: one large request could never be served"
            )

    @property
    def derived_dir(self) -> Path:
        """The folder for encodings that are made on this machine."""
        return self.data_dir / "model-cache" if self.model_cache_dir is None else self.model_cache_dir

    @property
    def allowed_origins(self) -> list[str]:
        """`cors_origins` one by one."""
        return _between_commas(self.cors_origins)

    @property
    def host_names(self) -> list[str]:
        """`allowed_hosts` one by one."""
        return _between_commas(self.allowed_hosts)


def _between_commas(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _check_database(url: str) -> None:
    """Raises SettingsError, whose message has nothing of the address: it holds a password."""
    if not url.startswith(("postgresql://", "postgres://")):
        raise SettingsError("VOWS_DATABASE_URL does not begin with postgresql://; unset it to use SQLite")
    try:
        whole = not urlsplit(url).fragment
    except ValueError:
        whole = False
    if not whole:
        raise SettingsError(
            "VOWS_DATABASE_URL is not postgresql://user:password@host:5432/database: in a password write [ ] # / ? @ "
            "as %5B %5D %23 %2F %3F %40"
        )
