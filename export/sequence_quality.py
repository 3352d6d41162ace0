"""How far a sequence bundle is from the PyTorch model, on held-out histories: vectors, probabilities, rankings."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from runtime.models.sequence_model import History, SequenceModel, UserNow
from runtime.personalization.sequence_features import features, moments, seconds, wedding_us
from training.checkpoint import Checkpoint

LENGTHS = (0, 1, 5, 64, 200, 512)
CANDIDATES = 16  # of each history, for the probabilities
TOP = 10

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class SequenceGate:
    """What a bundle must reach to be written, measured against PyTorch. p5: the 5th percentile over histories."""

    min_user_cosine_p5: float = 0.99
    max_probability_difference: float = 0.02
    max_ndcg_loss: float = 0.01  # share of PyTorch's NDCG@10


@dataclass(frozen=True)
class Agreement:
    """Over some histories: cosine of the user vectors (5th percentile, minimum), the largest difference of a
    probability, NDCG@10 of the held-out item among the sample's items; None where nothing was held out."""

    histories: int
    user_cosine_p5: float
    user_cosine_min: float
    probability_difference: float
    ndcg_torch: float | None = None
    ndcg: float | None = None

    def quality(self) -> dict[str, Any]:
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
    """The held-out histories of a checkpoint, with metadata vectors as content, and the items around them."""

    ids: list[str]
    rows: NDArray[np.int64]
    metadata: Floats
    arrays: dict[str, NDArray[Any]]

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> "Sample":
        arrays = {name: tensor.numpy() for name, tensor in checkpoint.sample.items()}
        metadata = arrays["vectors"].astype(np.float32)
        length = np.linalg.norm(metadata, axis=1, keepdims=True)
        rows = arrays["row"]
        return cls([checkpoint.ids[row] for row in rows], rows, metadata / np.maximum(length, 1e-9), arrays)

    def __len__(self) -> int:
        return len(self.arrays["now_us"])

    def history(self, number: int, learned: Floats, items: Floats) -> History:
        """learned, items: vectors of the sample's items, [items, 384] and [items, 128]."""
        start, end = self.arrays["starts"][number : number + 2]
        return self._history(np.arange(start, end), learned, items, 0)

    def of_length(self, events: int, learned: Floats, items: Floats) -> History:
        """So many events of all histories one after another, from the first again where they end, in rising time."""
        total = len(self.arrays["item"])
        rows = np.arange(events) % max(total, 1)
        return self._history(rows, learned, items, 3_600_000_000)

    def stated(self, number: int) -> Floats:
        vector: Floats = self.arrays["stated"][number].astype(np.float32)
        return vector

    def _history(self, rows: NDArray[np.intp], learned: Floats, items: Floats, apart_us: int) -> History:
        arrays = self.arrays
        time_us = arrays["time_us"][rows]
        if apart_us and len(rows):
            gaps = np.abs(np.diff(time_us, prepend=time_us[:1])) % (30 * 24 * apart_us)
            time_us = time_us[0] + gaps.cumsum()
        return History(
            content=learned[arrays["item"][rows]],
            item=items[arrays["item"][rows]],
            action=arrays["action"][rows],
            device=arrays["device"][rows],
            time_us=time_us,
            duration_ms=arrays["duration_ms"][rows],
            days_to_wedding=arrays["days_to_wedding"][rows],
        )


class TorchModel:
    """The checkpoint's model, asked as the runtime's is."""

    def __init__(self, checkpoint: Checkpoint, sample: Sample) -> None:
        torch.set_num_threads(1)  # sums in one order, and none of the time that two threads wait for each other
        self._model = checkpoint.model.eval()
        self._rows = torch.from_numpy(sample.rows)
        self._metadata = torch.from_numpy(sample.metadata)

    @torch.inference_mode()
    def learned(self) -> Floats:
        vectors: Floats = self._model.learned(self._metadata, self._rows).numpy()
        return vectors

    @torch.inference_mode()
    def items(self, learned: Floats) -> Floats:
        vectors: Floats = self._model.item(torch.from_numpy(learned)).numpy()
        return vectors

    @torch.inference_mode()
    def user_and_actions(
        self, history: History, now_us: int, device: int, stated: Floats, candidates: Floats
    ) -> tuple[Floats, Floats]:
        """As SequenceModel.user, its vector, and .actions."""
        model, n, k = self._model, len(history), len(candidates)
        first = np.arange(n) == 0
        events = features(history.time_us, history.duration_ms, history.days_to_wedding, first).events
        origin_us = int(history.time_us[0]) if n else now_us
        since = torch.from_numpy(seconds(history.time_us, origin_us))[None]
        told = wedding_us(history.time_us, history.days_to_wedding, first)
        previous, wedding = (history.time_us[-1:], told[-1:]) if n else (np.array([-1]), np.array([np.nan]))
        moment = torch.from_numpy(moments(np.array([now_us]), previous, wedding))
        action, device_codes = (torch.from_numpy(a.astype(np.int64))[None] for a in (history.action, history.device))
        content, items, known = (torch.from_numpy(a)[None] for a in (history.content, history.item, events))
        hidden = model.encode(content, items, action, device_codes, known, since)
        state, told_once = model.states(hidden)[:, -1], torch.from_numpy(stated)[None]
        user = model.user(state, moment, torch.tensor([device]), told_once)
        candidate = model.candidate(
            torch.from_numpy(candidates)[None],
            state[:, None],
            user[:, None],
            moment[:, None],
            torch.full((1, 1), device),
        )
        now_s = torch.from_numpy(seconds(np.full(k, now_us), origin_us))[None]
        logits = model.action(hidden, since, candidate, torch.full((1, k), n), now_s)
        return user[0].numpy(), torch.softmax(logits[0], dim=-1).numpy()


def held_out_agreement(torch_model: TorchModel, model: SequenceModel, sample: Sample) -> Agreement:
    """Over the checkpoint's held-out histories."""
    reference = torch_model.learned()
    learned = model.learned(sample.ids, sample.metadata)
    items, reference_items = model.items(learned), torch_model.items(reference)
    cosines, apart, gains, reference_gains = [], [], [], []
    for number in range(len(sample)):
        now_us, device = int(sample.arrays["now_us"][number]), int(sample.arrays["now_device"][number])
        target = int(sample.arrays["target"][number])
        some = np.r_[target, np.arange(number, number + CANDIDATES - 1) % len(reference)]
        stated = sample.stated(number)
        user = model.user(sample.history(number, learned, items), now_us, device, stated)
        expected, probabilities = torch_model.user_and_actions(
            sample.history(number, reference, reference_items), now_us, device, stated, reference[some]
        )
        cosines.append(float(user.vector @ expected))
        apart.append(float(np.abs(model.actions(user, learned[some]) - probabilities).max()))
        gains.append(_gain(items @ user.vector, target))
        reference_gains.append(_gain(reference_items @ expected, target))
    return Agreement(
        histories=len(sample),
        user_cosine_p5=float(np.percentile(cosines, 5)),
        user_cosine_min=min(cosines),
        probability_difference=max(apart),
        ndcg_torch=float(np.mean(reference_gains)),
        ndcg=float(np.mean(gains)),
    )


def length_agreement(torch_model: TorchModel, model: SequenceModel, sample: Sample, events: int) -> Agreement:
    """Of one history of so many events."""
    learned = torch_model.learned()
    history = sample.of_length(events, learned, torch_model.items(learned))
    now_us = int(history.time_us[-1]) + 60_000_000 if events else int(sample.arrays["now_us"][0])
    stated = sample.stated(0)
    some = learned[:CANDIDATES]
    user: UserNow = model.user(history, now_us, 1, stated)
    expected, probabilities = torch_model.user_and_actions(history, now_us, 1, stated, some)
    cosine = float(user.vector @ expected)
    return Agreement(1, cosine, cosine, float(np.abs(model.actions(user, some) - probabilities).max()))


def _gain(scores: Floats, target: int) -> float:
    rank = int((scores > scores[target]).sum())
    return 1 / np.log2(rank + 2) if rank < TOP else 0.0
