"""What a user did → the vector of what they want now, and the probabilities of what they do with a candidate."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from runtime.models.bundle import GOLDEN, Bundle, BundleError
from runtime.models.id_table import IdTable
from runtime.models.session import create_session
from runtime.personalization.ranking import normalised
from runtime.personalization.sequence_features import (
    DAYS_TO_EVENT_KEY,
    event_date_us,
    features,
    query_contexts,
    seconds,
)

Floats = NDArray[np.float32]

GRAPHS = ("user", "item", "action")
CONTENT = 384  # numbers of a content vector
READ_OUT = "read_out"  # not in bundles made before there was such a graph

# Agreement with what was recorded at export: the graph is the same, only the CPU's rounding may differ.
MIN_COSINE_TO_RECORDED = 0.9999
MAX_PROBABILITY_DIFFERENCE = 0.001

# Scratch of one run over the most events and candidates, kept for the next one in the arena that the sessions share:
# 7.5 MiB, measured by `python -m bench.memory_parts sequence_scratch`; 12.6 with an arena each. One run at a time.
SCRATCH_BYTES = 8 << 20

# What one request holds beside it, the vectors of its candidates and their copies: 6.7 MiB for 2,000, by the same
# command. Or what loading another bundle takes: 8.5 MiB, by `python -m bench.memory_parts switch`.
REQUEST_BYTES = 7 << 20
LOADING_BYTES = 9 << 20


class Golden(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the graphs made of `golden_history(events)` at export; probabilities in the order of the log's types."""

    events: int
    user: list[float]
    item: list[float]
    probabilities: list[float]


@dataclass(frozen=True, eq=False)
class History:
    """A user's events, oldest first, n ≥ 0.

    content: learned vectors float32 [n, 384]; item: the same model's vectors of the items, float32 [n, 128]; the others
    [n], as in the log: codes int8, microseconds int64, milliseconds and days float32 with NaN for unknown.
    """

    content: Floats
    item: Floats
    action: NDArray[np.int8]
    device: NDArray[np.int8]
    time_us: NDArray[np.int64]
    duration_ms: Floats
    days_to_event: Floats

    def __len__(self) -> int:
        return len(self.time_us)


class UserNow(NamedTuple):
    """`vector`: unit float32 [128] of what the user wants at the requested time. The rest is what `actions` needs."""

    vector: Floats
    hidden: Floats
    seconds: NDArray[np.int32]
    now: dict[str, NDArray[Any]]


class EncodedUser(NamedTuple):
    """All that `SequenceModel.read_out` needs of a history, whenever it is asked. state: float32 [1, s]. last_us,
    device: time and device code of the last event. event_us: the date of the user's own event, NaN where unknown."""

    state: Floats
    last_us: int
    device: int
    event_us: float


class SequenceModel:
    """The model of one bundle. Safe to call from several threads at once.

    Raises BundleError when the bundle was compiled by another onnxruntime, cannot be loaded, or does not reproduce
    what was recorded when it was made.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.dimensions = bundle.manifest.dimensions
        self.max_events = bundle.manifest.max_tokens
        self.model_version = bundle.manifest.model_version
        self.min_events = int(bundle.manifest.recipe["min_events"])
        # Runs of training that made the weights, the last one last; empty in bundles made before this was recorded
        self.lineage = tuple(map(str, bundle.manifest.recipe.get("lineage", ())))
        self.content_model_version = str(bundle.manifest.recipe["content_model_version"])
        # Under which name interactions carried the days to the user's event when the model was trained.
        self.days_to_event_key = str(bundle.manifest.recipe.get("days_to_event_key", DAYS_TO_EVENT_KEY))
        try:
            # Weights packed for the kernel again would double a model that is small beside what it saves of time.
            self._user, self._item, self._action = (
                create_session(bundle.file(bundle.manifest.graphs[graph]), shared_arena=True, prepacking=False)
                for graph in GRAPHS
            )
            graphs = bundle.manifest.graphs
            self._read_out = (
                create_session(bundle.file(graphs[READ_OUT]), shared_arena=True, prepacking=False)
                if READ_OUT in graphs
                else None
            )
            # A model without candidate blocks does not read the events again: its graph has no input for their times
            self._read_by_action = frozenset(one.name for one in self._action.get_inputs())
            self._ids = IdTable(bundle)
        except Exception as error:  # onnxruntime raises its own unexported types, some straight from Exception
            raise BundleError(
                f"onnxruntime cannot load {bundle.path} (compiled by {bundle.manifest.onnxruntime}): {error}. "
                "Export the bundle again with the installed onnxruntime"
            ) from error

    def learned(self, ids: Sequence[str], metadata: Floats) -> Floats:
        """The learned content vectors, unit float32 [k, 384]: metadata, blended with what training saw of the id."""
        return self._ids.learned(ids, metadata)

    @property
    def trained_items(self) -> int:
        """How many items of the training log the model knows by their id."""
        return len(self._ids)

    def places(self, ids: Sequence[str]) -> NDArray[np.intp]:
        """See `IdTable.places`: which of `trained_items` each id is, −1 for none of them."""
        return self._ids.places(ids)

    def items(self, learned: Floats) -> Floats:
        """Unit item vectors float32 [k, 128] of learned content vectors [k, 384]."""
        vectors: Floats = self._item.run(None, {"content": learned})[0]
        return vectors

    def user(self, history: History, now_us: int, device: int, preference_embedding: Floats | None = None) -> UserNow:
        """The user at a time, on a device (a code). preference_embedding: unit float32 [384], of the onboarding.

        Scratch grows with the square of the events, see SCRATCH_BYTES. Callers keep to `max_events`.
        """
        n = len(history)
        first = np.arange(n) == 0
        origin_us = int(history.time_us[0]) if n else now_us
        since = seconds(history.time_us, origin_us)
        last_us, event_us = (int(history.time_us[-1]), _event_us(history)) if n else (-1, np.nan)
        now = _query(now_us, device, preference_embedding, last_us, event_us)
        vector, hidden = self._user.run(
            None,
            {
                "content": history.content,
                "item": history.item,
                "action": history.action.astype(np.int32),
                "device": history.device.astype(np.int32),
                "events": features(history.time_us, history.duration_ms, history.days_to_event, first).events,
                "seconds": since,
                **now,
            },
        )
        user = UserNow(vector, hidden, since, now | {"now_s": seconds(np.array([now_us], np.int64), origin_us)})
        if (encoded := self.encoded(history, user)) is None:
            return user
        # By the same graph as later from what is kept: the same to the last bit
        return user._replace(vector=self.read_out(encoded, now_us, device, preference_embedding))

    def encoded(self, history: History, user: UserNow) -> EncodedUser | None:
        """What of the user's history is worth keeping; None without events, and where the bundle has no `read_out`."""
        if self._read_out is None or not len(history):
            return None
        size = self._read_out.get_inputs()[0].shape[1]
        state = user.hidden[-1:, :size].copy()  # or all of `hidden` would be kept
        return EncodedUser(state, int(history.time_us[-1]), int(history.device[-1]), _event_us(history))

    def read_out(
        self, encoded: EncodedUser, now_us: int, device: int, preference_embedding: Floats | None = None
    ) -> Floats:
        """The `vector` that `user` makes of the history that was encoded, at any time and on any device."""
        assert self._read_out is not None
        now = _query(now_us, device, preference_embedding, encoded.last_us, encoded.event_us)
        vector: Floats = self._read_out.run(None, {"state": encoded.state, **now})[0]
        return vector

    def actions(self, user: UserNow, learned: Floats) -> Floats:
        """Probabilities float32 [k, 4] of skip, view, save, share for candidates' learned content vectors [k, 384]."""
        feed = {"hidden": user.hidden, "seconds": user.seconds, "content": learned, **user.now}
        read = {name: values for name, values in feed.items() if name in self._read_by_action}
        probabilities: Floats = self._action.run(None, read)[0]
        return probabilities

    def self_test(self) -> float:
        """Run the recorded histories and compare: the lowest cosine. Raises BundleError when they came out otherwise.

        Also what warms the sessions: the first request finds every page mapped.
        """
        lowest = 1.0
        for golden in msgspec.json.decode(self.bundle.file(GOLDEN).read_bytes(), type=list[Golden]):
            found = recorded(self, golden.events)
            cosine = min(
                float(np.dot(found.user, np.array(golden.user))), float(np.dot(found.item, np.array(golden.item)))
            )
            apart = float(np.abs(np.subtract(found.probabilities, golden.probabilities)).max())
            if not (cosine >= MIN_COSINE_TO_RECORDED and apart <= MAX_PROBABILITY_DIFFERENCE):
                raise BundleError(
                    f"bundle {self.bundle.path}: over a history of {golden.events} events the lowest cosine to what "
                    f"was recorded is {cosine:.6f} (at least {MIN_COSINE_TO_RECORDED}), probabilities are {apart:.6f} "
                    f"apart (at most {MAX_PROBABILITY_DIFFERENCE}): export the bundle again on this kind of CPU"
                )
            lowest = min(lowest, cosine)
        return lowest


def load_sequence_model(bundle: Bundle, content_model_version: str) -> SequenceModel:
    """A model that passed its self-test. Raises BundleError, also when it reads other content vectors than these."""
    model = SequenceModel(bundle)
    if model.content_model_version != content_model_version:
        raise BundleError(
            f"bundle {bundle.path} reads vectors of {model.content_model_version}, this server makes those of "
            f"{content_model_version}: train and export the sequence model with the same text encoder"
        )
    model.self_test()
    return model


def golden_history(events: int) -> History:
    """A history that needs no recording: its vectors and times are a formula of its length."""
    number = np.arange(1, events + 1)
    content, item = (
        np.sin(0.7548776662 * np.outer(number, np.arange(1, 1 + size))).astype(np.float32) for size in (384, 128)
    )
    return History(
        content=normalised(content) if events else content,
        item=normalised(item) if events else item,
        action=(number % 4).astype(np.int8),
        device=(number % 3).astype(np.int8),
        time_us=1_750_000_000_000_000 + number**2 * 60_000_000,
        duration_ms=np.where(number % 2, number * 700.0, np.nan).astype(np.float32),
        days_to_event=np.where(number % 5, np.nan, 200.0).astype(np.float32),
    )


def recorded(model: SequenceModel, events: int) -> Golden:
    """What this model makes of the golden history, an hour after its last event, with one candidate."""
    history = golden_history(events + 1)
    candidate = model.learned(["golden"], history.content[-1:])
    before = History(**{name: values[:-1] for name, values in vars(history).items()})
    user = model.user(before, int(history.time_us[-1]) + 3_600_000_000, 1)
    return Golden(
        events=events,
        user=_shortest(user.vector),
        item=_shortest(model.items(candidate)[0]),
        probabilities=_shortest(model.actions(user, candidate)[0]),
    )


def _query(
    now_us: int, device: int, preference_embedding: Floats | None, last_us: int, event_us: float
) -> dict[str, NDArray[Any]]:
    """Inputs of the graphs. last_us: of the last event, −1 for none. event_us: NaN for none."""
    context = query_contexts(np.array([now_us], np.int64), np.array([last_us], np.int64), np.array([event_us]))
    stated = np.zeros(CONTENT, np.float32) if preference_embedding is None else preference_embedding
    return {
        "moment": context,  # [1, QUERY_CONTEXT]
        "now_device": np.array([device], np.int32),
        "stated": stated[np.newaxis],  # [1, 384]
    }


def _event_us(history: History) -> float:
    """The date of the user's event as they last gave it, NaN before they gave any."""
    return float(event_date_us(history.time_us, history.days_to_event, np.arange(len(history)) == 0)[-1])


def _shortest(values: Floats) -> list[float]:
    # The shortest decimals that give the same float32 back: half the bytes of the float64 that JSON would print.
    return [float(str(value)) for value in values]
