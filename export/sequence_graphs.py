"""The trained sequence model as four ONNX graphs with dynamic lengths: user, read_out, item, action.

user     content f32 [n, 384], item f32 [n, 128], action, device i32 [n], events f32 [n, 11], seconds i32 [n] (n ≥ 0),
         moment f32 [1, 9], now_device i32 [1], stated f32 [1, 384]  →  user f32 [128], hidden f32 [n, h]
read_out state f32 [1, s], moment, now_device, stated as above  →  user f32 [128]: the same, from the last row of hidden
         without its end, which is all that the user's vector takes from the events
item     content f32 [k, 384]  →  item f32 [k, 128]
action   hidden, seconds, moment, now_device, stated as above, now_s i32 [1], content f32 [k, 384]
         →  probabilities f32 [k, 4]

Names of inputs are part of the bundle's format. moment and now_device are the query context's features and device,
stated is the preference embedding, hidden the packed encoded history (training.model.EncodedHistory).
"""

import io
import warnings

import onnx
import torch
from torch import Tensor, nn

from export.encoder import TRACE_OPSET
from training.model import EncodedHistory, History, QueryContext, SequenceModel, UserState


class _User(nn.Module):
    def __init__(self, model: SequenceModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        content: Tensor,
        item: Tensor,
        action: Tensor,
        device: Tensor,
        events: Tensor,
        seconds: Tensor,
        moment: Tensor,
        now_device: Tensor,
        stated: Tensor,
    ) -> tuple[Tensor, Tensor]:
        model = self.model
        encoded = model.encode(
            History(
                model.project(content[None]),
                item[None],
                action[None].long(),
                device[None].long(),
                events[None],
                seconds[None],
            )
        )  # (1, n, …)
        now = model.states(encoded).at(slice(None), -1)  # (1, …)
        vector = model.user(now, QueryContext(moment, now_device.long(), stated))
        return vector[0], encoded.packed[0]


class _ReadOut(nn.Module):
    def __init__(self, model: SequenceModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, state: Tensor, moment: Tensor, now_device: Tensor, stated: Tensor) -> Tensor:
        now = UserState.unpack(state, self.model.config)
        return self.model.user(now, QueryContext(moment, now_device.long(), stated))[0]


class _Item(nn.Module):
    def __init__(self, model: SequenceModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, content: Tensor) -> Tensor:
        return self.model.item(content[None])[0]  # three dimensions: a product and a sum, which can be quantised


class _Action(nn.Module):
    def __init__(self, model: SequenceModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        hidden: Tensor,
        seconds: Tensor,
        moment: Tensor,
        now_device: Tensor,
        stated: Tensor,
        now_s: Tensor,
        content: Tensor,
    ) -> Tensor:
        model = self.model
        encoded = EncodedHistory.unpack(hidden[None], seconds[None], model.config)
        now = model.states(encoded).at(slice(None), -1)  # (1, …)
        context = QueryContext(moment, now_device.long(), stated)
        vector = model.user(now, context)  # (1, D)
        # One user and context for all candidates: (1, 1, …)
        candidates = model.candidates(
            model.project(content[None]),
            UserState(*(part[:, None] for part in now)),
            vector[:, None],
            QueryContext(*(part[:, None] for part in context)),
        )  # (1, k, …)
        position = now_s[None].long() * 0 + hidden.shape[0]  # (1, 1): all candidates are at one time
        logits = model.action(encoded, candidates, position, now_s[None])
        return torch.softmax(logits[0], dim=-1)


def sequence_graphs(model: SequenceModel) -> dict[str, onnx.ModelProto]:
    """The graphs by name: user, read_out, item, action. Traced on CPU with sample inputs of 7 events, 3 candidates."""
    model = model.eval()
    config = model.config
    n, k = 7, 3
    now = {
        "moment": torch.zeros(1, model.read_context.in_features),
        "now_device": torch.zeros(1, dtype=torch.int32),
        "stated": torch.zeros(1, config.content),
    }
    history = {
        "content": torch.ones(n, config.content),
        "item": torch.ones(n, config.output),
        "action": torch.ones(n, dtype=torch.int32),
        "device": torch.ones(n, dtype=torch.int32),
        "events": torch.zeros(n, model.token_event.in_features),
        "seconds": torch.arange(n, dtype=torch.int32),
    }
    candidates = {"content": torch.ones(k, config.content)}
    hidden = {"hidden": torch.ones(n, config.hidden), "seconds": history["seconds"]}
    now_s = {"now_s": torch.full((1,), n, dtype=torch.int32)}
    events = dict.fromkeys((*history, "hidden"), "events")
    return {
        "user": _traced(_User(model), history | now, ["user", "hidden"], events),
        "read_out": _traced(_ReadOut(model), {"state": torch.ones(1, sum(config.encoded[:-1]))} | now, ["user"], {}),
        "item": _traced(_Item(model), candidates, ["item"], {"content": "items", "item": "items"}),
        "action": _traced(
            _Action(model),
            hidden | now | now_s | candidates,
            ["probabilities"],
            {"hidden": "events", "seconds": "events", "content": "candidates", "probabilities": "candidates"},
        ),
    }


def _traced(
    module: nn.Module, inputs: dict[str, Tensor], outputs: list[str], lengths: dict[str, str]
) -> onnx.ModelProto:
    """One graph. lengths: tensor → name of its dynamic first dimension."""
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # of sizes that are constants of this model, and of the exporter's own deprecation
        torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            content,  # type: ignore[arg-type]  # a buffer is taken too
            input_names=list(inputs),
            output_names=outputs,
            dynamic_axes={name: {0: length} for name, length in lengths.items()},
            opset_version=TRACE_OPSET,
            dynamo=False,
        )
    return onnx.load_from_string(content.getvalue())
