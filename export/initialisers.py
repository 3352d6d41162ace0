"""A graph's initialisers by name, read and written as arrays."""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper


class Initialisers:
    """`protos` is what the graph is assembled from; a tensor put here replaces the one of that name."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.protos = {tensor.name: tensor for tensor in model.graph.initializer}

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        return numpy_helper.to_array(self.protos[name])

    def put(self, name: str, value: NDArray[np.generic]) -> str:
        self.protos[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name
