"""Forward passes: whole, batched, or resumed at the first changed block.

Everything here runs inside `locked_eval_mode` and works on `LanguageModel.model` as it is; changes
come from hooks (`intervene`), so the arithmetic is always that of the model's own modules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from vene_widgets.engine.hooks import BlockCall, Edit, intervene, record, record_unembedding_input
from vene_widgets.errors import RequestError
from vene_widgets.models.sites import Site, module_at

if TYPE_CHECKING:
    from torch import Tensor

    from vene_widgets.models import LanguageModel


@dataclass(frozen=True, eq=False)
class ForwardResult:
    """Result of a forward pass over one prompt.

    Attributes:
        logits: `(positions, vocabulary)`, or of the last positions only if no more were kept.
        last_hidden_state: `(positions, d_model)`, the input of the output head.
        states: `(layers, positions, d_model)`, every block's output.
    """

    logits: Tensor
    last_hidden_state: Tensor
    states: Tensor


def token_batch(model: LanguageModel, ids: Sequence[int]) -> Tensor:
    """Token ids of one prompt as a batch of one, `(1, positions)`, on the model's device."""
    return torch.tensor([list(ids)], device=model.device)


def forward(
    model: LanguageModel, ids: Sequence[int], edits: Sequence[Edit], logits_to_keep: int = 0
) -> ForwardResult:
    """Run one prompt through the whole model, batch size 1, with changes at some sites.

    Args:
        model: the model to run.
        ids: the prompt's token ids.
        edits: the changes.
        logits_to_keep: for how many of the last positions the output head runs; 0 for all. Its
            matrix products over one position and over several round differently.
    """
    blocks = [model.sites.site(layer, "block_output") for layer in range(model.sites.layers)]
    inputs = {"input_ids": token_batch(model, ids), "use_cache": False, "return_dict": True}
    with (
        intervene(model, edits),
        record(model, blocks) as states,
        record_unembedding_input(model) as unembedding_inputs,
    ):
        if logits_to_keep:
            last = _backbone(model, **inputs)
            logits = model.head(last[:, -logits_to_keep:])
        else:
            logits = model.model(**inputs).logits
            last = unembedding_inputs[-1]
    return ForwardResult(logits[0], last[0], torch.stack([states[block][0] for block in blocks]))


def resume_forward(
    model: LanguageModel,
    plain: ForwardResult,
    calls: Sequence[BlockCall],
    edits: Sequence[Edit],
    logits_to_keep: int = 0,
) -> ForwardResult:
    """`forward` from the first changed block on; everything before it is taken from a plain run.

    The remaining blocks get the very arguments that they had in the plain run, at batch size 1 and
    over the whole prompt, so the numbers equal those of `forward` bit for bit.

    Args:
        model: the model to run.
        plain: the prompt's run without changes.
        calls: every block's arguments in that run.
        edits, logits_to_keep: as in `forward`.
    """
    if not edits:  # a copy: callers may modify the result
        return ForwardResult(
            plain.logits.clone(), plain.last_hidden_state.clone(), plain.states.clone()
        )
    first, count = min(edit.site.layer for edit in edits), model.sites.layers
    blocks = [model.sites.site(layer, "block_output") for layer in range(first, count)]
    (hidden, *_), _ = calls[first]
    with intervene(model, edits), record(model, blocks) as states:
        for layer in range(first, count):
            (_, *args), kwargs = calls[layer]
            hidden = first_tensor(model.block(layer)(hidden, *args, **kwargs))
        last = module_at(model.model, model.sites.architecture.final_norm)(hidden)
        logits = model.head(last[:, -logits_to_keep:])
    after = torch.stack([states[block][0] for block in blocks])
    return ForwardResult(logits[0], last[0], torch.cat([plain.states[:first], after]))


def forward_prompts(
    model: LanguageModel, prompts: Sequence[Sequence[int]], sites: Sequence[Site]
) -> list[tuple[dict[Site, Tensor], Tensor]]:
    """Run several prompts in one batch, which costs little more than one of them.

    A shorter prompt is padded on its right, which a causal model never attends to.

    Args:
        model: the model to run.
        prompts: token ids.
        sites: what to record.

    Returns:
        Per prompt: site -> `(positions, width)`, and the last position's logits `(vocabulary,)`.
    """
    length = max(len(ids) for ids in prompts)
    padded = [[*ids, *[ids[-1]] * (length - len(ids))] for ids in prompts]
    last = [len(ids) - 1 for ids in prompts]
    with record(model, sites) as found:
        rows = torch.tensor(padded, device=model.device)
        hidden = _backbone(model, input_ids=rows, use_cache=False, return_dict=True)
        # Three dimensions, as user-defined hooks on the head expect.
        logits = model.head(hidden[range(len(last)), last][:, None])[:, 0]
        return [
            ({site: tensor[n, : len(ids)] for site, tensor in found.items()}, logits[n])
            for n, ids in enumerate(prompts)
        ]


def last_position_logits(model: LanguageModel, ids: Tensor) -> Tensor:
    """Run token ids `(batch, positions)`, the output head at the last position only.

    Returns:
        `(batch, vocabulary)`.
    """
    hidden = _backbone(model, input_ids=ids, use_cache=False, return_dict=True)
    # Three dimensions, as user-defined hooks on the head expect.
    return model.head(hidden[:, -1:])[:, 0]


def next_token_logits(model: LanguageModel, ids: Tensor) -> Tensor:
    """Run token ids `(batch, positions)` through the model's own forward.

    Returns:
        Next-token logits `(batch, vocabulary)` in float32.
    """
    logits: Tensor = model.model(input_ids=ids, use_cache=False, return_dict=True).logits
    return logits[:, -1].float()


def record_prompt(
    model: LanguageModel, ids: Sequence[int], sites: Iterable[Site]
) -> Mapping[Site, Tensor]:
    """Run one prompt and record some sites, `(1, positions, width)` each.

    Raises:
        RequestError: a site that the forward pass never reaches.
    """
    sites = list(sites)
    with record(model, sites) as found:
        model.model(input_ids=token_batch(model, ids), use_cache=False, return_dict=True)
    missing = [site for site in sites if site not in found]
    if missing:
        raise RequestError(
            f"{missing[0]} was never reached by a forward pass of {model.name}, so there is "
            "nothing to copy from it. Choose another component."
        )
    return found


def first_tensor(output: Tensor | tuple[Any, ...]) -> Tensor:
    """A module's output: some versions of transformers wrap a block's in a tuple."""
    return output[0] if isinstance(output, tuple) else output


def _backbone(model: LanguageModel, **inputs: Any) -> Tensor:
    """Last hidden states `(batch, positions, d_model)`, without running the output head."""
    backbone = module_at(model.model, model.sites.architecture.backbone)
    return backbone(**inputs).last_hidden_state
