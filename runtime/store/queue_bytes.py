"""What a write holds in memory while it waits for its turn: every store bounds its queue by it."""

from collections.abc import Iterable

from runtime.store.experiment_records import ExperimentChange, Exposure, FailedRankings
from runtime.store.records import ContentItem, Interaction, Preferences

ROW_BYTES = 512  # what a record holds besides its texts and vectors, rounded up

Queued = ContentItem | Interaction | Preferences | Exposure | ExperimentChange | FailedRankings


def queued_bytes(records: Iterable[Queued]) -> int:
    """Bytes of records that wait to be written, rounded up."""
    return sum(ROW_BYTES + _texts_and_vectors(record) for record in records)


def _texts_and_vectors(record: Queued) -> int:
    match record:
        case ContentItem():
            return len(record.fields) + record.embedding.nbytes
        case Interaction():
            return len(record.context or b"")
        case Preferences():
            return record.embedding.nbytes + sum(len(text) for text in record.preferences)
        case Exposure():
            return len(record.items)
        case ExperimentChange():
            return len(record.details)
        case FailedRankings():
            return 0
