"""How often each client may ask: a token bucket a client, in a table of bounded size."""

from collections import OrderedDict

CLIENTS = 4096  # held at once
CLIENT_BYTES = 320  # measured: an address, its bucket, and their entry


class TokenBuckets:
    """Each client may make `burst` requests at once and `per_s` a second in the long run.

    Holds the `clients` that called last. One that was evicted starts with a full bucket again, which can only be in its
    favour. No clock of its own: `now` is in seconds, any origin.
    """

    def __init__(self, *, per_s: float, burst: int, clients: int = CLIENTS) -> None:
        self._per_s = per_s
        self._burst = float(burst)
        self._clients = clients
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens left, and when

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, client: str, now: float) -> float:
        """0.0 and a token is taken; or the seconds until there is one, and nothing is."""
        tokens, then = self._buckets.pop(client, (self._burst, now))
        tokens = min(self._burst, tokens + max(0.0, now - then) * self._per_s)
        wait_s = 0.0 if tokens >= 1 else (1 - tokens) / self._per_s
        self._buckets[client] = (tokens if wait_s else tokens - 1, now)
        if len(self._buckets) > self._clients:
            self._buckets.popitem(last=False)
        return wait_s
