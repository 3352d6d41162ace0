"""Who may call what, and how often."""

import math
import time
from typing import Literal

from starlette.types import Scope

from runtime.http.api_keys import ApiKey, ApiKeys
from runtime.http.errors import ApiError
from runtime.http.rate_limit import TokenBuckets

# health: never refused; open: pages that are the same on every server; the others are scopes of a key.
Access = Literal["health", "open", "metrics", "read", "write", "admin"]

ANYONE = "anyone"  # in logs and metrics, where no key is required


class Gate:
    """Checks each request once, before its body is read. Without keys every request is allowed.

    `rate`: None for no limit. A client is the name of a key, or else an address: behind a proxy, the proxy's.
    """

    def __init__(self, keys: ApiKeys, rate: TokenBuckets | None) -> None:
        self._keys = keys
        self._rate = rate

    def admit(self, scope: Scope, access: Access) -> str:
        """The name of the caller. Raises ApiError: 401 without a good key, 403 without the scope, 429 too soon."""
        if access == "health":
            return ANYONE
        key = self._key(scope) if self._keys else None
        if self._rate is not None:
            self._take(key.name if key else f"address {(scope.get('client') or ('unknown',))[0]}")
        if access == "open" or not self._keys:
            return key.name if key else ANYONE
        if key is None:
            raise ApiError(
                401,
                "invalid_api_key",
                "this needs a valid API key: send -H 'Authorization: Bearer KEY' or -H 'X-API-Key: "
                "KEY'; `vows-edge key` makes one",
                headers={"www-authenticate": "Bearer"},
            )
        if access not in key.scopes:
            has = " and ".join(sorted(key.scopes))
            raise ApiError(403, "insufficient_scope", f"this needs the scope {access}, the key {key.name!r} has {has}")
        return key.name

    def _key(self, scope: Scope) -> ApiKey | None:
        presented = None
        for name, value in scope["headers"]:
            if name == b"x-api-key":
                presented = presented or value
            elif name == b"authorization" and value[:7].lower() == b"bearer ":
                presented = value[7:].strip()
        return self._keys.find(presented.decode("latin-1")) if presented else None

    def _take(self, client: str) -> None:
        assert self._rate is not None
        wait_s = self._rate.take(client, time.monotonic())
        if wait_s:
            raise ApiError(
                429,
                "rate_limited",
                f"more requests than VOWS_RATE_PER_S allows; the next one is due in {wait_s:.2f} s",
                retry_after_s=max(1, math.ceil(wait_s)),
            )
