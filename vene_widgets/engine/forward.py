"""Forward passes: the only module that calls a model.

Everything here runs inside `own_model` and calls `LanguageModel.net`, the engine's own module tree.
Changes come from hooks, and logits from the model's own forward, so whatever it does before its
first block or after its head is in every number.
"""

from __future__ import annotations

import inspect
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch

from vene_widgets.engine.attention import Attention, stand_in_for_attention
from vene_widgets.engine.hooks import (
    BlockCall,
    Edit,
    intervene,
    note_block_calls,
    record,
    record_final_state,
    record_nodes,
    replay_blocks,
)
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
    return forward_recorded(model, ids, edits, (), logits_to_keep, replayed=replayed)[0]


def forward_recorded(
    model: LanguageModel,
    ids: Sequence[int],
    edits: Sequence[Edit],
    sites: Sequence[Site],
    logits_to_keep: int = 0,
    *,
    replayed: Tensor | None = None,
) -> tuple[ForwardResult, Mapping[Site, Tensor]]:
    """`forward`, and what some sites hold after the changes, `(1, positions, width)` each.

    Raises:
        RequestError: the pass never reached a block, the final norm or one of the sites.
    """
    blocks = [model.sites.site(layer, "block_output") for layer in range(model.sites.layers)]
    outputs = {} if replayed is None else {n: state[None] for n, state in enumerate(replayed)}
    with (
        replay_blocks(model, outputs),
        intervene(model, edits),
        record(model, [*blocks, *sites]) as states,
        record_final_state(model) as final_states,
    ):
        logits = _logits(model, token_batch(model, ids), logits_to_keep)
    if not final_states or any(block not in states for block in blocks):
        raise RequestError(
            f"{model.name} ran without its final norm or without some of its {len(blocks)} blocks, "
            "so its states cannot be read."
        )
    _require_reached(model, sites, states)
    result = ForwardResult(
        logits[0], final_states[-1][0], torch.stack([states[block][0] for block in blocks])
    )
    return result, {site: states[site] for site in sites}


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


@dataclass(frozen=True, eq=False)
class PlainRuns:
    """Runs of some prompts in one batch, without changes.

    Attributes:
        lengths: tokens of each prompt.
        states: site -> `(prompts, positions, width)`, padded to the longest prompt.
        logits: `(prompts, vocabulary)` at each prompt's last position.
        heads: keys and values of every block, for models whose passes may be resumed.
    """

    lengths: tuple[int, ...]
    states: Mapping[Site, Tensor]
    logits: Tensor
    heads: KeysAndValues | None


@dataclass(frozen=True, eq=False)
class KeysAndValues:
    """What attention reads of each block, keys after any rotary embedding.

    Attributes:
        keys, values: per layer `(prompts, positions, key-value heads, d_head)`.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]

    @property
    def bytes(self) -> int:
        """Memory held, in bytes."""
        return sum(t.numel() * t.element_size() for t in (*self.keys, *self.values))


@contextmanager
def note_keys_and_values(model: LanguageModel) -> Generator[list[KeysAndValues], None, None]:
    """Note what the attention of every block reads while the model runs.

    Yields:
        A list that has one entry after the pass.
    """
    layers = model.sites.layers
    keys: list[Tensor | None] = [None] * layers
    values: list[Tensor | None] = [None] * layers
    found: list[KeysAndValues] = []

    def note(
        layer: int, own: Attention, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None
    ) -> Tensor:
        keys[layer], values[layer] = key.transpose(1, 2), value.transpose(1, 2)
        return own(query, key, value, mask)

    with stand_in_for_attention(model, note):
        yield found
    known = [(k, v) for k, v in zip(keys, values, strict=True) if k is not None and v is not None]
    if len(known) == layers:
        found.append(KeysAndValues(tuple(k for k, _ in known), tuple(v for _, v in known)))


def forward_prompts(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    sites: Sequence[Site],
    *,
    with_heads: bool = False,
) -> PlainRuns:
    """Run several prompts in one batch, which costs little more than one of them.

    A shorter prompt is padded on its right, which a causal model never attends to. Call it with one
    prompt for a model that is not causal, or that does not run batches.

    Args:
        model: the model to run.
        prompts: token ids.
        sites: what to record.
        with_heads: whether to note keys and values, which resumed runs need.

    Raises:
        RequestError: a site that the forward pass never reaches.
    """
    length = max(len(ids) for ids in prompts)
    padded = [[*ids, *[ids[-1]] * (length - len(ids))] for ids in prompts]
    last = [len(ids) - 1 for ids in prompts]
    kept = sorted(set(last))
    rows = torch.tensor(padded, dtype=torch.long, device=model.device)
    noting = note_keys_and_values(model) if with_heads else nullcontext(list[KeysAndValues]())
    with record(model, sites) as found, noting as heads:
        if len(kept) == 1:
            logits = _logits(model, rows, 1)[:, 0]
        else:
            several = _logits(model, rows, torch.tensor(kept, device=model.device))
            logits = torch.stack([several[n, kept.index(end)] for n, end in enumerate(last)])
    _require_reached(model, sites, found)
    lengths = tuple(len(ids) for ids in prompts)
    return PlainRuns(lengths, found, logits, heads[0] if heads else None)


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


def forward_with_graph(
    model: LanguageModel,
    ids: Sequence[int],
    sites: Iterable[Site],
    edits: Sequence[Edit] = (),
) -> tuple[Tensor, Mapping[Site, Tensor]]:
    """Run one prompt with gradients recorded from some sites on.

    Args:
        model: the model to run, where gradients are enabled.
        ids: the prompt's token ids.
        sites: where gradients are wanted.
        edits: changes, made before the graph begins.

    Returns:
        Next-token logits `(vocabulary,)`, and of each site its whole hooked tensor
        `(1, positions, size)`, a node of their graph.

    Raises:
        RequestError: a site that the forward pass never reaches, or reaches twice.
    """
    sites = list(sites)
    with intervene(model, edits), record_nodes(model, sites) as nodes:
        logits = _logits(model, token_batch(model, ids), 1)[0, -1]
    found = {site: nodes[site.place] for site in sites if site.place in nodes}
    _require_reached(model, sites, found)
    return logits, found


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


def forward_inputs(
    model: LanguageModel, inputs: Mapping[str, Any], *, weights_train: bool = False
) -> Any:
    """Run any inputs that the model's forward takes; used by the second face.

    Rows that are padded on the left get position ids from their attention mask: without them, a
    model with learned positions would count the padding.

    Args:
        model: the model to run.
        inputs: by name.
        weights_train: whether gradients flow to the user's own parameters, which take the place of
            the tree's constants for this pass.

    Returns:
        The model's own output.
    """
    given = dict(inputs)
    mask, ids = given.get("attention_mask"), given.get("position_ids")
    if (
        ids is None
        and isinstance(mask, torch.Tensor)
        and mask.ndim == 2
        and bool((mask[:, 0] == 0).any())
        and "position_ids" in inspect.signature(model.net.forward).parameters
    ):
        given["position_ids"] = (mask.long().cumsum(-1) - 1).clamp_min(0)
    net = _net(model)
    if not weights_train:
        return net(**given)
    own: dict[str, Tensor] = dict(model.tree.root.named_parameters())
    return torch.func.functional_call(net, own, (), given)


def generate_inputs(model: LanguageModel, **inputs: Any) -> Any:
    """Generate by transformers' own `generate`; used by the second face.

    Args:
        model: the model to run.
        inputs: a tokenizer's encoding, and whatever `generate` takes.

    Returns:
        What `generate` returns.

    Raises:
        RequestError: the model cannot generate.
    """
    net: Any = _net(model)
    if not callable(getattr(net, "generate", None)):
        raise RequestError(
            f"{model.name} cannot generate: it has no output head. Pass a causal language model, "
            f"for instance {model.sites.architecture.causal_lm}."
        )
    return net.generate(**inputs)


def last_logits(output: Any) -> Tensor:
    """The logits `(batch, vocabulary)` of the last position in a model's output.

    They are a copy: a view would hold the logits of every position.

    Raises:
        RequestError: an output without logits, which transformers' `generate` needs.
    """
    if not isinstance(getattr(output, "logits", None), torch.Tensor):
        raise RequestError(
            f"the model's forward returned a {type(output).__name__}: to generate, it must return "
            "an output with .logits (batch, positions, vocabulary)."
        )
    return _logits_in(output)[:, -1].clone()


def block_calls(model: LanguageModel, ids: Tensor) -> list[BlockCall]:
    """What the model passes to each of its blocks beside the hidden states, for one prompt.

    No block runs: masks, positions and rotary embeddings depend on the prompt's length alone.

    Args:
        model: the model to run.
        ids: token ids `(1, positions)`.
    """
    with note_block_calls(model) as calls:
        backbone = module_at(_net(model), model.sites.architecture.backbone)
        backbone(input_ids=ids, use_cache=False, return_dict=True)
    return calls


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


def logits_after(
    model: LanguageModel,
    ids: Sequence[int],
    hidden: Tensor,
    keep: Tensor | None = None,
    *,
    replayed: bool,
    before: Sequence[Edit] = (),
) -> Tensor:
    """Logits of a prompt if its last block returns these states, by the model's own forward.

    Args:
        model: the model to run.
        ids: the prompt's token ids.
        hidden: the states, `(positions, d_model)`. They take the place of what the last block and
            hooks on it return.
        keep: positions for which the output head runs, `(kept,)`; None for all.
        replayed: whether no block runs. That gives the same numbers only if nothing but the last
            block's output reaches the final norm, as in a family's own code.
        before: changes at earlier sites.

    Returns:
        `(kept positions, vocabulary)`.
    """
    layers = model.sites.layers
    site = model.sites.site(layers - 1, "block_output")
    positions = torch.arange(len(ids), device=model.device)
    edit = Edit(site, torch.zeros_like(positions), positions, lambda _vectors: hidden)
    outputs = dict.fromkeys(range(layers)) if replayed else {}
    with replay_blocks(model, outputs), intervene(model, [*before, edit]):
        return _logits(model, token_batch(model, ids), 0 if keep is None else keep)[0]


def apply(module: nn.Module, *inputs: Any, **named: Any) -> Any:
    """Run one module of `LanguageModel.net`, for instance a block on the rows of many cells."""
    return module(*inputs, **named)


def apply_rows(module: nn.Module, rows: Tensor, dtype: torch.dtype) -> Tensor:
    """Run a module of `LanguageModel.net` that works on each vector alone, in the model's dtype.

    Args:
        module: for instance a norm or the output head; the layers of a model may be on several
            devices.
        rows: `(..., width)`.
        dtype: of the model.

    Returns:
        Its output on the device of the rows, float32.
    """
    weight = next(module.parameters(), rows)
    output: Tensor = module(rows.to(weight.device, dtype))
    return output.to(rows.device).float()


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
        if len(ids) > 1 and ids.device.type == "cpu" and not isinstance(keep, torch.Tensor):
            # A slice of every prompt's states has gaps, and the head then takes one prompt at a
            # time, three times as long for 16 of them; an index makes one product of all.
            keep = torch.arange(ids.shape[1] - keep, ids.shape[1], device=ids.device)
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
