"""The application state: what `create_app` builds once and every request handler receives."""

from dataclasses import dataclass

from runtime.http.auth import Gate
from runtime.http.body import BodyBudget
from runtime.http.connections import Connections
from runtime.models.text_encoder import SelfTest
from runtime.serving.resources import Resources
from runtime.system.metrics import RequestMetrics
from runtime.system.throttle import Throttled


@dataclass(frozen=True, slots=True, kw_only=True)
class State(Resources):
    """The resources of `serving`, and what belongs to HTTP: keys, limits, metrics. `metrics_page`: the metrics as
    text."""

    bodies: BodyBudget
    connections: Connections
    gate: Gate
    metrics: RequestMetrics
    metrics_page: Throttled[bytes]
    self_test: SelfTest
