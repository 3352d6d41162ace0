"""A graph's initialisers by name, read and written as arrays."""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper


class Initialisers:
    """Read and replace initialisers. `protos`: the tensors by name, from which a graph is assembled."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.protos = {tensor.name: tensor for tensor in model.graph.initializer}

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        return numpy_helper.to_array(self.protos[name])

    def put(self, name: str, value: NDArray[np.generic]) -> str:
        """Add or replace a tensor; returns its name."""
        self.protos[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name
