import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.models.vectors import octets, shortened

vectors = st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=16).map(lambda values: np.array(values, np.float32))


@given(vectors, st.data())
def test_shortened_is_the_start_at_unit_length(vector, data):
    dimensions = data.draw(st.integers(1, len(vector)))
    start = [float(value) for value in vector[:dimensions]]
    length = math.sqrt(math.fsum(value * value for value in start))
    if dimensions == len(vector):
        assert shortened(vector, dimensions) is vector
    elif length == 0:
        with pytest.raises(ValueError, match="ask for more dimensions"):
            shortened(vector, dimensions)
    else:
        short = shortened(vector, dimensions)
        assert (short.dtype, short.shape) == (np.float32, (dimensions,))
        np.testing.assert_allclose(short, [value / length for value in start], rtol=1e-6, atol=1e-7)


def test_octets_are_little_endian():
    assert octets(np.array([1.0], ">f4")) == b"\x00\x00\x80\x3f"
