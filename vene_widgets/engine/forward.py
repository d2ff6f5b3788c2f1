"""Forward passes: the only module that calls a model.

Everything here runs inside `own_model` and calls `LanguageModel.net`, the engine's own module tree.
Changes come from hooks, and logits from the model's own forward, so whatever it does before its
first block or after its head is in every number.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch

from vene_widgets.engine.hooks import Edit, intervene, record, record_final_state, replay_blocks
from vene_widgets.errors import RequestError
from vene_widgets.models.resume_blocker import may_leave_out_positions
from vene_widgets.models.sites import Site, module_at

if TYPE_CHECKING:
    from torch import Tensor, nn

    from vene_widgets.models import LanguageModel


@dataclass(frozen=True, eq=False)
class ForwardResult:
    """Result of a forward pass over one prompt.

    Attributes:
        logits: `(positions, vocabulary)`, or of the last positions only if no more were kept.
        last_hidden_state: `(positions, d_model)`, the final norm's output.
        states: `(layers, positions, d_model)`, every block's output.
    """

    logits: Tensor
    last_hidden_state: Tensor
    states: Tensor

    def copy(self) -> ForwardResult:
        """The same numbers in tensors of their own."""
        return ForwardResult(
            self.logits.clone(), self.last_hidden_state.clone(), self.states.clone()
        )


def token_batch(model: LanguageModel, ids: Sequence[int]) -> Tensor:
    """Token ids of one prompt as a batch of one, `(1, positions)`, on the model's device."""
    return torch.tensor([list(ids)], dtype=torch.long, device=model.device)


def forward(
    model: LanguageModel,
    ids: Sequence[int],
    edits: Sequence[Edit],
    logits_to_keep: int = 0,
    *,
    replayed: Tensor | None = None,
) -> ForwardResult:
    """Run one prompt through the model, batch size 1, with changes at some sites.

    Args:
        model: the model to run.
        ids: the prompt's token ids.
        edits: the changes.
        logits_to_keep: for how many of the last positions the output head runs; 0 for all. Its
            matrix products over one position and over several round differently.
        replayed: outputs of the first blocks `(blocks, positions, d_model)`, which then do not
            run.
    """
    blocks = [model.sites.site(layer, "block_output") for layer in range(model.sites.layers)]
    outputs = {} if replayed is None else {n: state[None] for n, state in enumerate(replayed)}
    with (
        replay_blocks(model, outputs),
        intervene(model, edits),
        record(model, blocks) as states,
        record_final_state(model) as final_states,
    ):
        logits = _logits(model, token_batch(model, ids), logits_to_keep)
    if not final_states or len(states) < len(blocks):
        raise RequestError(
            f"{model.name} ran without its final norm or without some of its {len(blocks)} blocks, "
            "so its states cannot be read."
        )
    return ForwardResult(
        logits[0], final_states[-1][0], torch.stack([states[block][0] for block in blocks])
    )


def resume_forward(
    model: LanguageModel,
    ids: Sequence[int],
    plain: ForwardResult,
    edits: Sequence[Edit],
    logits_to_keep: int = 0,
) -> ForwardResult:
    """`forward` from the first changed block on; the blocks before it return a plain run's states.

    The remaining blocks get the very inputs that they had in the plain run, at batch size 1 and
    over the whole prompt, so the numbers equal those of `forward` bit for bit.

    Args:
        model: the model to run.
        ids: the prompt's token ids.
        plain: the prompt's run without changes.
        edits, logits_to_keep: as in `forward`.
    """
    if not edits:
        return plain.copy()
    first = min(edit.site.layer for edit in edits)
    return forward(model, ids, edits, logits_to_keep, replayed=plain.states[:first])


def forward_prompts(
    model: LanguageModel, prompts: Sequence[Sequence[int]], sites: Sequence[Site]
) -> list[tuple[dict[Site, Tensor], Tensor]]:
    """Run several prompts in one batch, which costs little more than one of them.

    A shorter prompt is padded on its right, which a causal model never attends to. Call it with one
    prompt for a model that is not causal, or that does not run batches.

    Args:
        model: the model to run.
        prompts: token ids.
        sites: what to record.

    Returns:
        Per prompt: site -> `(positions, width)`, and the last position's logits `(vocabulary,)`.

    Raises:
        RequestError: a site that the forward pass never reaches.
    """
    length = max(len(ids) for ids in prompts)
    padded = [[*ids, *[ids[-1]] * (length - len(ids))] for ids in prompts]
    last = [len(ids) - 1 for ids in prompts]
    kept = sorted(set(last))
    rows = torch.tensor(padded, dtype=torch.long, device=model.device)
    with record(model, sites) as found:
        if len(kept) == 1:
            logits = _logits(model, rows, 1)
        else:
            logits = _logits(model, rows, torch.tensor(kept, device=model.device))
    _require_reached(model, sites, found)
    return [
        (
            {site: tensor[n, : len(ids)] for site, tensor in found.items()},
            logits[n, kept.index(last[n])],
        )
        for n, ids in enumerate(prompts)
    ]


def last_position_logits(model: LanguageModel, ids: Tensor) -> Tensor:
    """Run token ids `(batch, positions)`.

    Returns:
        Next-token logits `(batch, vocabulary)`.
    """
    return _logits(model, ids, 1)[:, -1]


def all_logits(model: LanguageModel, ids: Tensor) -> Tensor:
    """Run token ids `(batch, positions)`.

    Returns:
        Logits `(batch, positions, vocabulary)`.
    """
    return _logits(model, ids, 0)


def record_prompt(
    model: LanguageModel, ids: Sequence[int], sites: Iterable[Site]
) -> Mapping[Site, Tensor]:
    """Run one prompt and record some sites, `(1, positions, width)` each.

    Raises:
        RequestError: a site that the forward pass never reaches.
    """
    sites = list(sites)
    with record(model, sites) as found:
        _logits(model, token_batch(model, ids), 1)
    _require_reached(model, sites, found)
    return found


def _require_reached(
    model: LanguageModel, sites: Iterable[Site], found: Mapping[Site, Tensor]
) -> None:
    """Check that a forward pass came through some sites.

    Raises:
        RequestError: it did not.
    """
    missing = [site for site in sites if site not in found]
    if missing:
        raise RequestError(
            f"{missing[0]} was never reached by a forward pass of {model.name}, so there is "
            "nothing to copy from it. Choose another component."
        )


def forward_inputs(model: LanguageModel, **inputs: Any) -> Any:
    """Run any inputs that the model's forward takes; used by the second face.

    Rows that are padded on the left get position ids from their attention mask: without them, a
    model with learned positions would count the padding.

    Returns:
        The model's own output.
    """
    mask, ids = inputs.get("attention_mask"), inputs.get("position_ids")
    if (
        ids is None
        and isinstance(mask, torch.Tensor)
        and mask.ndim == 2
        and bool((mask[:, 0] == 0).any())
        and "position_ids" in inspect.signature(model.net.forward).parameters
    ):
        inputs["position_ids"] = (mask.long().cumsum(-1) - 1).clamp_min(0)
    return _net(model)(**inputs)


def run_block(
    model: LanguageModel, ids: Tensor, layer: int, hidden: Tensor, edits: Sequence[Edit]
) -> Tensor:
    """Run one block on given inputs, with the mask and positions that the model itself makes.

    Args:
        model: the model to run.
        ids: token ids `(1, positions)`; only their number matters.
        layer: the block.
        hidden: its input `(batch, positions, d_model)`.
        edits: changes inside the block.

    Returns:
        Its output `(batch, positions, d_model)`.
    """
    outputs: dict[int, Tensor | None] = dict.fromkeys(range(model.sites.layers))
    del outputs[layer]
    if layer:
        outputs[layer - 1] = hidden
    site = model.sites.site(layer, "block_output")
    # Without a block before it, the input itself is put in its place.
    entry = nullcontext() if layer else intervene(model, [_whole_input(model, hidden)])
    with replay_blocks(model, outputs), entry, intervene(model, edits), record(model, [site]) as f:
        backbone = module_at(_net(model), model.sites.architecture.backbone)
        backbone(input_ids=ids.expand(len(hidden), -1), use_cache=False, return_dict=True)
    return f[site]


def logits_of(model: LanguageModel, hidden: Tensor) -> Tensor:
    """Logits of last block outputs `(rows, d_model)`, by the model's own forward after its blocks.

    Returns:
        `(rows, vocabulary)`.
    """
    layers = model.sites.layers
    outputs: dict[int, Tensor | None] = dict.fromkeys(range(layers))
    outputs[layers - 1] = hidden[:, None]
    ids = torch.zeros(len(hidden), 1, dtype=torch.long, device=hidden.device)
    with replay_blocks(model, outputs):
        return _logits(model, ids, 1)[:, -1]


def apply(module: nn.Module, *inputs: Any) -> Any:
    """Run one module of `LanguageModel.net`, for instance a norm on the rows of many cells."""
    return module(*inputs)


def _whole_input(model: LanguageModel, hidden: Tensor) -> Edit:
    """The edit that puts a whole tensor into the first block's input."""
    batch, positions, _ = hidden.shape
    rows = torch.arange(batch, device=hidden.device).repeat_interleave(positions)
    columns = torch.arange(positions, device=hidden.device).repeat(batch)
    flat = hidden.flatten(0, 1)
    return Edit(model.sites.site(0, "block_input"), rows, columns, lambda _vectors: flat)


def _logits(model: LanguageModel, ids: Tensor, keep: int | Tensor) -> Tensor:
    """Logits `(batch, kept positions, vocabulary)` of token ids, by the model's own forward.

    Args:
        model: the model to run.
        ids: `(batch, positions)`.
        keep: how many of the last positions, or which; 0 for all.
    """
    options: dict[str, Any] = {"use_cache": False, "return_dict": True}
    # A subclass, a hook or a quantised head may need all positions for what it does with them: only
    # the family's own code is asked to leave some out.
    is_partial = isinstance(keep, torch.Tensor) or keep > 0
    net = _net(model)
    if is_partial and may_leave_out_positions(net, model.sites.architecture):
        return _logits_in(net(input_ids=ids, logits_to_keep=keep, **options))
    logits = _logits_in(net(input_ids=ids, **options))
    if isinstance(keep, torch.Tensor):
        return logits[:, keep]
    # A copy: a view would hold the logits of every position.
    return logits[:, -keep:].clone() if keep else logits


def _net(model: LanguageModel) -> nn.Module:
    """The tree for one pass, without anything that a pass before it left behind."""
    model.tree.reset()
    return model.net


def _logits_in(output: Any) -> Tensor:
    """The logits of a model's output, which a user's own forward may return bare or first."""
    logits: Any = getattr(output, "logits", output)
    if isinstance(logits, tuple) and logits:
        logits = cast("tuple[Any, ...]", logits)[0]
    if not isinstance(logits, torch.Tensor) or logits.ndim != 3:
        raise RequestError(
            f"the model's forward returned a {type(output).__name__}: expected an output with "
            "logits (batch, positions, vocabulary)."
        )
    return logits
