import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from runtime.models.vector_cache import VectorCache


def ids(n: int) -> np.ndarray:
    return np.full(1 + n % 7, n, np.int32)


def vector(n: int) -> np.ndarray:
    return np.full(16, n, np.float32)


@given(st.lists(st.tuples(st.sampled_from(["put", "get", "forget"]), st.integers(0, 30)), max_size=300))
def test_against_a_list_kept_in_order_of_use(operations):
    cache, naive = VectorCache(max_bytes=4000), []  # naive: (key, bytes), least recent first
    for operation, n in operations:
        found = next((entry for entry in naive if entry[0] == n), None)
        if operation == "forget":
            cache.evict(ids(n))
            naive = [entry for entry in naive if entry[0] != n]
        elif operation == "put":
            cache.put(ids(n), vector(n))
            if found is None:
                naive.append((n, ids(n).nbytes + 64 + 400))
                while sum(size for _, size in naive) > 4000:
                    naive.pop(0)
        else:
            hit = cache.get(ids(n))
            assert (hit is None) == (found is None)
            if found is not None:
                np.testing.assert_array_equal(hit, vector(n))
                naive.remove(found)
                naive.append(found)
        assert len(cache) == len(naive)
        assert cache.bytes == sum(size for _, size in naive) <= 4000


def test_hits_and_misses_are_counted_and_vectors_cannot_be_changed():
    cache = VectorCache(max_bytes=10_000)
    assert cache.get(ids(1)) is None
    cache.put(ids(1), vector(1))
    kept = cache.get(ids(1))
    assert not kept.flags.writeable
    assert (cache.hits, cache.misses) == (1, 1)


def test_one_too_large_and_a_cache_of_nothing():
    cache = VectorCache(max_bytes=0)
    cache.put(ids(1), vector(1))
    assert (len(cache), cache.bytes) == (0, 0)


def test_the_bytes_counted_cover_the_bytes_held():
    """The allowance per entry is no less than what Python's objects take."""
    cache = VectorCache(max_bytes=1 << 20)
    for n in range(200):
        cache.put(np.arange(n, n + 20, dtype=np.int32), np.zeros(384, np.float32))
    held = sys.getsizeof(cache._vectors) + sum(
        sys.getsizeof(key) + sys.getsizeof(kept) for key, kept in cache._vectors.items()
    )
    assert cache.bytes >= held
