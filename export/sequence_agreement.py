"""Agreement of a sequence bundle with the PyTorch model on held-out histories: vectors, probabilities, rankings."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from runtime.models.sequence_model import History, SequenceModel, UserNow
from runtime.personalization.sequence_features import event_date_us, features, query_contexts, seconds
from training.checkpoint import Checkpoint
from training.model import History as TorchHistory
from training.model import QueryContext, UserState

LENGTHS = (0, 1, 5, 64, 200, 512)
CANDIDATES = 16  # per history, for the probabilities
TOP = 10

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class SequenceGate:
    """The limits of a bundle, measured against PyTorch. p5: the 5th percentile over histories."""

    min_user_cosine_p5: float = 0.99
    max_probability_difference: float = 0.02
    max_ndcg_loss: float = 0.01  # share of PyTorch's NDCG@10


@dataclass(frozen=True)
class Agreement:
    """Over some histories: cosine of the user vectors (5th percentile, minimum), the largest difference of a
    probability, and NDCG@10 of the held-out item among the sample's items, None where no item was held out."""

    histories: int
    user_cosine_p5: float
    user_cosine_min: float
    probability_difference: float
    ndcg_torch: float | None = None
    ndcg: float | None = None

    def quality(self) -> dict[str, Any]:
        """The figures for the manifest."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def misses(self, what: str, gate: SequenceGate) -> list[str]:
        """One sentence per missed limit; empty when it passes. A NaN misses."""
        found = []
        if not self.user_cosine_p5 >= gate.min_user_cosine_p5:
            found.append(
                f"{what}: the user vectors' cosine to PyTorch is {self.user_cosine_p5:.5f} at the 5th percentile, the "
                f"gate is {gate.min_user_cosine_p5}"
            )
        if not self.probability_difference <= gate.max_probability_difference:
            found.append(
                f"{what}: probabilities differ from PyTorch's by up to {self.probability_difference:.5f}, the gate is "
                f"{gate.max_probability_difference}"
            )
        if self.ndcg is not None and self.ndcg_torch is not None:
            loss = (self.ndcg_torch - self.ndcg) / max(self.ndcg_torch, 1e-9)
            if not loss <= gate.max_ndcg_loss:
                found.append(
                    f"{what}: NDCG@{TOP} is {self.ndcg:.4f}, PyTorch has {self.ndcg_torch:.4f}: {loss:.2%} lost, the "
                    f"gate is {gate.max_ndcg_loss:.0%}"
                )
        return found


@dataclass(frozen=True, eq=False)
class Sample:
    """The held-out histories of a checkpoint and the items in them. metadata float32 [items, 384]: unit rows; rows
    int64 [items] of the id embedding; arrays: see `training.held_out.held_out_sample`."""

    ids: list[str]
    rows: NDArray[np.int64]
    metadata: Floats
    arrays: dict[str, NDArray[Any]]

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> "Sample":
        """The sample stored with a checkpoint."""
        arrays = {name: tensor.numpy() for name, tensor in checkpoint.sample.items()}
        metadata = arrays["vectors"].astype(np.float32)
        length = np.linalg.norm(metadata, axis=1, keepdims=True)
        rows = arrays["row"]
        return cls([checkpoint.ids[row] for row in rows], rows, metadata / np.maximum(length, 1e-9), arrays)

    def __len__(self) -> int:
        return len(self.arrays["now_us"])

    def history(self, number: int, learned: Floats, items: Floats) -> History:
        """One held-out history. learned, items: vectors of the sample's items, [items, 384] and [items, 128]."""
        start, end = self.arrays["starts"][number : number + 2]
        return self._history(np.arange(start, end), learned, items, 0)

    def of_length(self, events: int, learned: Floats, items: Floats) -> History:
        """A history of exactly `events` events, taken from all histories in turn, with increasing times."""
        total = len(self.arrays["item"])
        rows = np.arange(events) % max(total, 1)
        return self._history(rows, learned, items, 3_600_000_000)

    def preference_embedding(self, number: int) -> Floats:
        """float32 [384], zeros for none."""
        vector: Floats = self.arrays["preference_embedding"][number].astype(np.float32)
        return vector

    def _history(self, rows: NDArray[np.intp], learned: Floats, items: Floats, most_apart_us: int) -> History:
        arrays = self.arrays
        time_us = arrays["time_us"][rows]
        if most_apart_us and len(rows):
            gaps = np.abs(np.diff(time_us, prepend=time_us[:1])) % (30 * 24 * most_apart_us)
            time_us = time_us[0] + gaps.cumsum()
        return History(
            content=learned[arrays["item"][rows]],
            item=items[arrays["item"][rows]],
            action=arrays["action"][rows],
            device=arrays["device"][rows],
            time_us=time_us,
            duration_ms=arrays["duration_ms"][rows],
            days_to_event=arrays["days_to_event"][rows],
        )


class TorchModel:
    """The checkpoint's model with the interface of the runtime's: the reference implementation."""

    def __init__(self, checkpoint: Checkpoint, sample: Sample) -> None:
        torch.set_num_threads(1)  # a fixed order of summation, and no time lost where two threads share a core
        self._model = checkpoint.model.eval()
        self._rows = torch.from_numpy(sample.rows)
        self._metadata = torch.from_numpy(sample.metadata)

    @torch.inference_mode()
    def learned(self) -> Floats:
        """Learned content vectors of the sample's items, [items, 384]."""
        vectors: Floats = self._model.content_vector(self._metadata, self._rows).numpy()
        return vectors

    @torch.inference_mode()
    def items(self, learned: Floats) -> Floats:
        """Item vectors of learned content vectors, [k, 384] → [k, 128]."""
        vectors: Floats = self._model.item(torch.from_numpy(learned)).numpy()
        return vectors

    @torch.inference_mode()
    def user_and_actions(
        self, history: History, now_us: int, device: int, preference_embedding: Floats, candidates: Floats
    ) -> tuple[Floats, Floats]:
        """The vector of `SequenceModel.user`, float32 [128], and the result of `.actions`, float32 [k, 4]."""
        model, n, k = self._model, len(history), len(candidates)
        first = np.arange(n) == 0
        event_features = features(history.time_us, history.duration_ms, history.days_to_event, first).events
        origin_us = int(history.time_us[0]) if n else now_us
        since = torch.from_numpy(seconds(history.time_us, origin_us))[None]
        event_us = event_date_us(history.time_us, history.days_to_event, first)
        previous, last = (history.time_us[-1:], event_us[-1:]) if n else (np.array([-1]), np.array([np.nan]))
        action, device_codes = (torch.from_numpy(a.astype(np.int64))[None] for a in (history.action, history.device))
        content, item, known = (torch.from_numpy(a)[None] for a in (history.content, history.item, event_features))
        encoded = model.encode(TorchHistory(model.project(content), item, action, device_codes, known, since))
        state = model.states(encoded).at(slice(None), -1)  # (1, …)
        context = QueryContext(
            torch.from_numpy(query_contexts(np.array([now_us]), previous, last)),
            torch.tensor([device]),
            torch.from_numpy(preference_embedding)[None],
        )
        user = model.user(state, context)  # (1, D)
        shown = model.candidates(
            model.project(torch.from_numpy(candidates)[None]),
            UserState(*(part[:, None] for part in state)),
            user[:, None],
            QueryContext(*(part[:, None] for part in context)),
        )  # (1, k, …)
        now_s = torch.from_numpy(seconds(np.full(k, now_us), origin_us))[None]
        logits = model.action(encoded, shown, torch.full((1, k), n), now_s)
        return user[0].numpy(), torch.softmax(logits[0], dim=-1).numpy()


def held_out_agreement(torch_model: TorchModel, model: SequenceModel, sample: Sample) -> Agreement:
    """Agreement over the checkpoint's held-out histories."""
    reference = torch_model.learned()
    learned = model.learned(sample.ids, sample.metadata)
    items, reference_items = model.items(learned), torch_model.items(reference)
    cosines, differences, ndcg, reference_ndcg = [], [], [], []
    for number in range(len(sample)):
        now_us, device = int(sample.arrays["now_us"][number]), int(sample.arrays["now_device"][number])
        target = int(sample.arrays["target"][number])
        some = np.r_[target, np.arange(number, number + CANDIDATES - 1) % len(reference)]
        preferences = sample.preference_embedding(number)
        user = model.user(sample.history(number, learned, items), now_us, device, preferences)
        expected, probabilities = torch_model.user_and_actions(
            sample.history(number, reference, reference_items), now_us, device, preferences, reference[some]
        )
        cosines.append(float(user.vector @ expected))
        differences.append(float(np.abs(model.actions(user, learned[some]) - probabilities).max()))
        ndcg.append(_ndcg(items @ user.vector, target))
        reference_ndcg.append(_ndcg(reference_items @ expected, target))
    return Agreement(
        histories=len(sample),
        user_cosine_p5=float(np.percentile(cosines, 5)),
        user_cosine_min=min(cosines),
        probability_difference=max(differences),
        ndcg_torch=float(np.mean(reference_ndcg)),
        ndcg=float(np.mean(ndcg)),
    )


def length_agreement(torch_model: TorchModel, model: SequenceModel, sample: Sample, events: int) -> Agreement:
    """Agreement on one history of so many events."""
    learned = torch_model.learned()
    history = sample.of_length(events, learned, torch_model.items(learned))
    now_us = int(history.time_us[-1]) + 60_000_000 if events else int(sample.arrays["now_us"][0])
    preferences = sample.preference_embedding(0)
    some = learned[:CANDIDATES]
    user: UserNow = model.user(history, now_us, 1, preferences)
    expected, probabilities = torch_model.user_and_actions(history, now_us, 1, preferences, some)
    cosine = float(user.vector @ expected)
    return Agreement(1, cosine, cosine, float(np.abs(model.actions(user, some) - probabilities).max()))


def _ndcg(scores: Floats, target: int) -> float:
    rank = int((scores > scores[target]).sum())
    return 1 / np.log2(rank + 2) if rank < TOP else 0.0
