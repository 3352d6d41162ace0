"""API keys: a setting holds their SHA-256, a request brings the key itself."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Scope = Literal["metrics", "read", "write", "admin"]

MAX_KEYS = 64  # every request that brings a key is compared with all of them

SCOPES: dict[str, frozenset[Scope]] = {
    "metrics": frozenset({"metrics"}),
    "read": frozenset({"metrics", "read"}),
    "write": frozenset({"write"}),
    "read+write": frozenset({"metrics", "read", "write"}),
    "admin": frozenset({"metrics", "read", "write", "admin"}),
}
_ENTRY = re.compile(rf"([A-Za-z0-9_.-]{{1,64}}):({'|'.join(map(re.escape, SCOPES))}):([0-9a-f]{{64}})")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """`name` is for logs, metrics and the rate limit; while a client changes its key, the old and the new one share it.

    `digest`: SHA-256 of the key, 32 bytes. No salt and no slow hash: a key is 256 random bits, which cannot be
    guessed or listed.
    """

    name: str
    scopes: frozenset[Scope]
    digest: bytes


class ApiKeys:
    """The keys that are accepted."""

    def __init__(self, keys: Sequence[ApiKey]) -> None:
        self._keys = tuple(keys)

    @classmethod
    def parse(cls, text: str) -> "ApiKeys":
        """Entries `name:scopes:digest` between commas. Raises ValueError, which names an entry by its place alone:
        a key that was pasted instead of its digest must not end up in a log."""
        keys: list[ApiKey] = []
        for number, entry in enumerate(filter(None, (part.strip() for part in text.split(","))), 1):
            match = _ENTRY.fullmatch(entry)
            if match is None:
                raise ValueError(
                    f"entry {number} is not name:scopes:digest with the scopes metrics, read, write, read+write or "
                    "admin and a SHA-256 in hex; `vows-edge key` makes one"
                )
            name, scopes, digest = match.groups()
            keys.append(ApiKey(name, SCOPES[scopes], bytes.fromhex(digest)))
        if len(keys) > MAX_KEYS:
            raise ValueError(f"there are {len(keys)} entries, the limit is {MAX_KEYS}")
        if len({key.digest for key in keys}) < len(keys):
            raise ValueError("a digest is there twice; give each key one entry, with all its scopes")
        return cls(keys)

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, presented: str) -> ApiKey | None:
        """The key that `presented` is. The time this takes says nothing about which ones are close."""
        digest = hashlib.sha256(presented.encode("utf-8", "surrogateescape")).digest()
        found = None
        for key in self._keys:  # all of them, whichever matches
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found


def make_key() -> str:
    """A new key: 256 random bits in letters that need no quoting anywhere."""
    return f"vows_{secrets.token_urlsafe(32)}"


def entry(name: str, scopes: str, key: str) -> str:
    """What VOWS_API_KEYS says about a key. Raises ValueError for a name or scopes that it cannot hold."""
    made = f"{name}:{scopes}:{hashlib.sha256(key.encode()).hexdigest()}"
    if not _ENTRY.fullmatch(made):
        raise ValueError(f"the name {name!r} is not 1 to 64 letters, digits, dots, dashes and underscores")
    return made
