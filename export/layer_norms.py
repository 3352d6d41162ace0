"""Rewrite layer norms into operations that onnxruntime's CPU kernels vectorise, and move every bias to one place.

`SkipLayerNormalization` sums and squares one float at a time; `SimplifiedLayerNormalization` (root mean square) is
vectorised. The two agree on rows whose mean is zero, so

    norm(x + r) = simplified(c − mean(c)) · gain + bias,   c = x + r

and the last bias is never added: what reads the norm is either a matrix product, whose own bias can take bias · W, or
the next residual sum, whose bias can take it as it is. Both are exact up to float rounding.
`vows-edge export compare --operators` prints where the time goes.
"""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from export.encoder import CONTRIB, INPUT, assemble
from export.errors import ExportError
from export.initialisers import Initialisers

Vector = NDArray[np.float32]

POOL = "pool"
_ROLES = ("query", "key", "value")


def with_light_norms(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph of `encoder.pool_one_text` without its layer norm ops: MatMul, Add, Gelu, Attention and light norms."""
    return _Rewrite(model).run()


class _Rewrite:
    """One pass over the nodes. `missing` holds, for each norm's output, the bias that was left out of it."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        self._tensors = Initialisers(model)
        self._missing: dict[str, Vector] = {}  # [dimensions]
        self._deferred: dict[str, Vector] = {}  # of each product's output: missing bias · W, [outputs]
        self._weights: set[str] = set()
        self._nodes: list[onnx.NodeProto] = []

    def run(self) -> onnx.ModelProto:
        handlers = {
            "EmbedLayerNormalization": self._embed,
            "SkipLayerNormalization": self._skip_norm,
            "MatMul": self._product,
            "BiasGelu": self._bias_gelu,
            "MultiHeadAttention": self._attention,
            "ReduceMean": self._pool,
        }
        self._tensors.put("last_axis", np.asarray([-1], np.int64))
        self._tensors.put("zero", np.asarray([0], np.int64))
        for node in self._model.graph.node:
            handlers.get(node.op_type, self._nodes.append)(node)
        return assemble(self._nodes, self._tensors.protos, self._model)

    def _add(self, op: str, inputs: list[str], output: str, domain: str = "", **attributes: Any) -> str:
        self._nodes.append(helper.make_node(op, inputs, [output], output, domain=domain, **attributes))
        return output

    def _embed(self, node: onnx.NodeProto) -> None:
        _, _, words, positions, _, gain, bias = node.input
        rows = self._add("Gather", [words, INPUT], "embed.words")  # [1, tokens, dimensions]
        count = self._add("Shape", [INPUT], "embed.tokens", start=1)  # i64 [1]
        places = self._add("Slice", [positions, "zero", count, "zero"], "embed.positions")  # [tokens, dimensions]
        self._norm(self._add("Add", [rows, places], "embed.sum"), gain, bias, node)

    def _skip_norm(self, node: onnx.NodeProto) -> None:
        product, residual, gain, bias, own_bias = node.input
        if residual not in self._missing:
            raise ExportError(f"the residual of {node.name} does not come from a norm: not the BERT that is handled")
        output = node.output[0]
        total = self._bias(output, self._tensors[own_bias] + self._missing[residual] + self._deferred_to(product))
        biased = self._add("Add", [product, total], f"{output}.biased")
        self._norm(self._add("Add", [biased, residual], f"{output}.sum"), gain, bias, node)

    def _norm(self, summed: str, gain: str, bias: str, node: onnx.NodeProto) -> None:
        epsilon = next(helper.get_attribute_value(found) for found in node.attribute if found.name == "epsilon")
        output = node.output[0]
        mean = self._add("ReduceMean", [summed, "last_axis"], f"{output}.mean", keepdims=1)  # [1, tokens, 1]
        centred = self._add("Sub", [summed, mean], f"{output}.centred")
        self._add("SimplifiedLayerNormalization", [centred, gain], output, axis=-1, epsilon=epsilon)
        self._missing[output] = self._tensors[bias]

    def _product(self, node: onnx.NodeProto) -> None:
        source, weight = node.input
        if weight in self._weights:
            raise ExportError(f"two products share the weight {weight}: not the BERT that is handled")
        self._weights.add(weight)
        if source in self._missing:
            # einsum, not BLAS: the same sums however many threads there are, so the bundle's bytes do not vary.
            deferred = np.einsum("i,ij->j", self._missing[source].astype(np.float64), self._tensors[weight])
            self._deferred[node.output[0]] = deferred.astype(np.float32)
        self._nodes.append(node)

    def _bias(self, reader: str, value: Vector) -> str:
        # A name of its own: the export lets norms and products whose biases are equal, all zeros say, share a tensor.
        return self._tensors.put(f"{reader}.bias", value)

    def _deferred_to(self, product: str) -> Vector | float:
        return self._deferred.get(product, 0.0)

    def _bias_gelu(self, node: onnx.NodeProto) -> None:
        product, bias = node.input
        total = self._bias(node.output[0], self._tensors[bias] + self._deferred_to(product))
        biased = self._add("Add", [product, total], f"{node.output[0]}.biased")
        self._add("Gelu", [biased], node.output[0], domain=CONTRIB)

    def _attention(self, node: onnx.NodeProto) -> None:
        *projections, bias = node.input  # query, key, value; their biases one after the other
        output, heads = node.output[0], _integer(node, "num_heads")
        biased = []
        for role, product, own in zip(_ROLES, projections, np.split(self._tensors[bias], 3), strict=True):
            total = self._bias(f"{output}.{role}", own + self._deferred[product])
            biased.append(self._add("Add", [product, total], f"{output}.{role}.biased"))
        # ONNX's own operator reads the heads where they lie; MultiHeadAttention would first copy all three.
        self._add("Attention", biased, output, q_num_heads=heads, kv_num_heads=heads)

    def _pool(self, node: onnx.NodeProto) -> None:
        hidden, pooled = node.input[0], node.output[0]
        bias = self._bias(pooled, self._missing[hidden])
        self._nodes.append(helper.make_node("ReduceMean", list(node.input), [f"{pooled}.unbiased"], POOL, keepdims=0))
        self._add("Add", [f"{pooled}.unbiased", bias], pooled)


def _integer(node: onnx.NodeProto, name: str) -> int:
    return int(next(helper.get_attribute_value(found) for found in node.attribute if found.name == name))
