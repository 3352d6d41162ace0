"""Read events from Parquet and NDJSON files, and write them to Parquet.

Columns: user_id, content_id, action, timestamp; optional duration_ms, device, session_id, days_to_event. A
timestamp is a Parquet timestamp, RFC 3339 text, or whole microseconds since 1970. A file of items has content_id and
optionally text, category, created.

The lines of `GET /events/export` are such a file: there `type` says the action where `action` does not, and lines of
the kind `exposure` are rankings that experiments showed.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from runtime.personalization.sequence_features import DEVICES, device_code
from training.data.columns import codes, rows_of, sessions
from training.data.events import ACTIONS, Catalogue, Dataset, Events
from training.data.exposures import Exposure, Exposures, rows_by_key
from training.data.vectors import text_vectors

_NEEDED = ("user_id", "content_id", "action", "timestamp")


class DataError(Exception):
    """A source cannot be read. The message has the file, what was found, what was expected and what to do."""


def read_files(events: Path, items: Path | None = None) -> Dataset:
    """A data set from a file of events and an optional file of items. Rows of one microsecond keep their order.

    Raises DataError, naming the file and the row, for a missing column or a value that cannot be used.
    """
    columns, exposures = _by_kind(read_columns(events), str(events))
    for name in _NEEDED:
        if name not in columns:
            raise DataError(f"{events} has columns {sorted(columns)}, {name} is missing; it needs {', '.join(_NEEDED)}")
    n = len(columns["user_id"])
    described = read_columns(items) if items else {"content_id": []}
    ids, item = rows_of([str(id) for id in columns["content_id"]], [str(id) for id in described["content_id"]])
    ids, _ = rows_of([id for one in exposures for id in one.ids], ids)
    users, user = rows_of([str(id) for id in columns["user_id"]])
    users, _ = rows_of([one.user_id for one in exposures], users)
    missing: list[Any] = [None] * (len(ids) - len(described["content_id"]))
    none: list[Any] = [None] * len(described["content_id"])
    texts = [str(text or "") for text in [*described.get("text", none), *missing]]
    time_us = np.array([_microseconds(value, f"{events}, row {row}") for row, value in enumerate(columns["timestamp"])])
    created = [0 if value is None else _microseconds(value, f"{items}") for value in described.get("created", none)]
    unknown: list[Any] = [None] * n
    session = columns.get("session_id")
    return Dataset(
        name=events.stem,
        users=users,
        catalogue=Catalogue(
            ids=ids,
            texts=texts,
            vectors=text_vectors(texts) if any(texts) else np.zeros((len(ids), 384), np.float32),
            created_us=np.array([*created, *[0] * len(missing)], np.int64),
            category=codes([*described.get("category", none), *missing]),
        ),
        events=Events.of(
            user=user,
            item=item,
            action=[_action(value, f"{events}, row {row}") for row, value in enumerate(columns["action"])],
            time_us=time_us,
            duration_ms=[np.nan if v is None else v for v in columns.get("duration_ms", unknown)],
            device=[device_code(value) for value in columns.get("device", unknown)],
            session=sessions(user, time_us) if session is None else codes32(session),
            days_to_event=[np.nan if v is None else v for v in columns.get("days_to_event", unknown)],
            exposure=rows_by_key(exposures, columns.get("ranking_id", unknown)),
        ),
        licence="yours",
        mapping="actions as given; sessions as given, else by 30 minutes of inactivity",
        exposures=None
        if not exposures
        else Exposures.of(exposures, *({id: row for row, id in enumerate(all)} for all in (users, ids))),
    )


def read_columns(file: Path) -> dict[str, list[Any]]:
    """The columns of a .parquet, .ndjson or .jsonl file by name. Raises DataError."""
    if not file.is_file():
        raise DataError(f"there is no file {file}")
    if file.suffix == ".parquet":
        table = pq.read_table(file)
        return {name: _values(table.column(name)) for name in table.column_names}
    if file.suffix not in (".ndjson", ".jsonl"):
        raise DataError(f"{file} ends in {file.suffix!r}; .parquet, .ndjson and .jsonl can be read")
    columns: dict[str, list[Any]] = {}
    with file.open("rb") as lines:
        for number, line in enumerate(lines):
            try:
                fields = msgspec.json.decode(line, type=dict[str, Any])
            except msgspec.DecodeError as error:
                raise DataError(f"{file}, line {number + 1} is not a JSON object: {error}") from error
            for name in fields.keys() - columns.keys():
                columns[name] = [None] * number
            for name, values in columns.items():
                values.append(fields.get(name))
    return columns


def write_parquet(dataset: Dataset, folder: Path) -> None:
    """Write `events.parquet` and `items.parquet` to `folder`; `read_files` returns the data set again."""
    folder.mkdir(parents=True, exist_ok=True)
    events, catalogue = dataset.events, dataset.catalogue
    session = [None if number < 0 else str(number) for number in events.session]
    pq.write_table(
        pa.table(
            {
                "user_id": [dataset.users[row] for row in events.user],
                "content_id": [catalogue.ids[row] for row in events.item],
                "action": [ACTIONS[code] for code in events.action],
                "timestamp": pa.array(events.time_us, pa.timestamp("us", tz="UTC")),
                "duration_ms": pa.array(events.duration_ms, from_pandas=True),
                "device": [DEVICES[code] if code else None for code in events.device],
                "session_id": pa.array(session, pa.string()),
                "days_to_event": pa.array(events.days_to_event, from_pandas=True),
            }
        ),
        folder / "events.parquet",
    )
    created = pa.array(catalogue.created_us, pa.timestamp("us", tz="UTC"), mask=catalogue.created_us == 0)
    category = [None if code < 0 else f"category-{code}" for code in catalogue.category]
    pq.write_table(
        pa.table(
            {
                "content_id": catalogue.ids,
                "text": catalogue.texts,
                "category": pa.array(category, pa.string()),
                "created": created,
            }
        ),
        folder / "items.parquet",
    )


def codes32(names: Sequence[Any]) -> NDArray[np.int32]:
    """As `codes`, for more names than an int16 can number; only None has −1."""
    code: dict[Any, int] = {}
    return np.fromiter(
        (-1 if name is None else code.setdefault(name, len(code)) for name in names), np.int32, len(names)
    )


def _by_kind(columns: dict[str, list[Any]], file: str) -> tuple[dict[str, list[Any]], list[Exposure]]:
    """The columns of the events alone, and the exposures that stood between them."""
    if "action" not in columns and "type" in columns:
        columns["action"] = columns["type"]
    elif "type" in columns:
        columns["action"] = [action or type for action, type in zip(columns["action"], columns["type"], strict=True)]
    kinds = columns.get("kind", [])
    if "exposure" not in kinds:
        return columns, []
    kept = [row for row, kind in enumerate(kinds) if kind != "exposure"]
    shown = [row for row, kind in enumerate(kinds) if kind == "exposure"]
    exposures = [
        _exposure({name: values[row] for name, values in columns.items()}, f"{file}, row {row}") for row in shown
    ]
    return {name: [values[row] for row in kept] for name, values in columns.items()}, exposures


def _exposure(line: dict[str, Any], where: str) -> Exposure:
    try:
        return Exposure(
            key=line["ranking_id"],
            user_id=line["user_id"],
            time_us=_microseconds(line["timestamp"], where),
            group=f"{line['experiment']}, period {line['period']}, {line['arm']}",
            shown=[(one["id"], float(one["propensity"])) for one in line["items"]],
            not_shown=line.get("not_shown") or (),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{where} is no exposure as GET /events/export gives it: {error!r}") from error


def _values(column: pa.ChunkedArray) -> list[Any]:
    if pa.types.is_timestamp(column.type):
        found: list[Any] = column.cast(pa.timestamp("us", column.type.tz)).cast(pa.int64()).to_pylist()
        return found
    return list(column.to_pylist())


def _action(value: Any, where: str) -> int:
    if value not in ACTIONS:
        raise DataError(f"{where}: action is {value!r}, expected one of {', '.join(ACTIONS)}")
    return ACTIONS.index(value)


def _microseconds(value: Any, where: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        try:
            time = datetime.fromisoformat(value)
        except ValueError:
            time = None
        if time is not None and time.tzinfo is not None:
            delta = time - datetime(1970, 1, 1, tzinfo=UTC)
            return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
    raise DataError(
        f"{where}: timestamp is {value!r}, expected RFC 3339 text with a time zone or microseconds since 1970"
    )
