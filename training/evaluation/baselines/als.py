"""Implicit matrix factorisation; user factors are solved from each history."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from training.data.events import Dataset, Histories
from training.evaluation.baselines.history import FOREVER, engaged_weights, popularity, user_item_matrix
from training.evaluation.baselines.tuned import Tuned
from training.evaluation.protocol import Scores


class ImplicitALS(Tuned):
    """Alternating least squares on implicit feedback (Hu, Koren & Volinsky 2008), by the library `implicit`."""

    name = "implicit ALS"
    learned: ClassVar = {"factors": (32, 64, 128), "alpha": (10.0, 1.0, 40.0), "regularization": (0.1, 1.0, 10.0)}
    scored: ClassVar = {"half_life_events": (FOREVER, 4.0, 16.0)}

    def learn(self, data: Dataset) -> None:
        from implicit.als import AlternatingLeastSquares

        self.share = popularity(data)
        self.model = AlternatingLeastSquares(
            factors=self.choice["factors"],
            regularization=self.choice["regularization"],
            iterations=10,
            num_threads=1,
            random_state=0,
        )
        with threadpool_limits(1, "blas"):  # the library has its own threads and warns where BLAS has some, too
            self.model.fit(self.choice["alpha"] * user_item_matrix(data), show_progress=False)

    def item_scores(self, histories: Histories, now_us: NDArray[np.int64], device: NDArray[np.int8]) -> Scores:
        weights = engaged_weights(histories, len(self.share), self.choice["half_life_events"])
        users = self.model.recalculate_user(np.arange(len(histories)), self.choice["alpha"] * weights)
        scores = np.nan_to_num(users) @ self.model.item_factors.T + 1e-6 * self.share
        return np.asarray(scores, np.float32)
