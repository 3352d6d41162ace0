"""What an event is beside the one that is stored under its event_id."""

import msgspec

from runtime.store.records import AddOutcome, Conflict, Interaction


def repeated(event: Interaction, stored: Interaction) -> AddOutcome:
    """`duplicate` where they are the same event, else a Conflict that names what differs."""
    same = {
        "user_id": event.user_id == stored.user_id,
        "content_id": event.content_id == stored.content_id,
        "type": event.type_name == stored.type_name,
        "timestamp": event.time_us == stored.time_us or not event.timed,
        "duration_ms": event.duration_ms == stored.duration_ms,
        "device": event.device == stored.device,
        "context": event.context == stored.context or _json(event.context) == _json(stored.context),
    }
    return "duplicate" if all(same.values()) else Conflict(tuple(name for name, is_same in same.items() if not is_same))


def _json(context: bytes | None) -> object:
    """Names in another order are the same context."""
    return None if context is None else msgspec.json.decode(context)
