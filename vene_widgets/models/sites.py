"""Sites: which tensor a component of a layer is in one model, and the model's sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vene_widgets.errors import RequestError, choose, listed, shown
from vene_widgets.experiments.components import ATTENTION_WEIGHT, COMPONENTS
from vene_widgets.experiments.fields import as_int
from vene_widgets.experiments.synonyms import our_component
from vene_widgets.models.architectures import (
    ARCHITECTURES,
    LOAD_INSTEAD,
    Architecture,
    Component,
    Side,
    Width,
)
from vene_widgets.models.sizes import (
    feature_sizes,
    position_limit,
    rotary_depends_on_length,
    size_conflict,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from torch import Tensor, nn


@dataclass(frozen=True)
class Site:
    """One tensor in one block, ready to be hooked.

    Attributes:
        layer: index of the block, from 0.
        component: its name, one of `COMPONENTS`.
        head: index of the head for per-head components, else None.
        path: module path from the model's root.
        side: the module's input or output.
        start, stop: half-open range of the hooked tensor's last dimension that the site covers.
        order: rank in the order in which a forward pass computes the tensors of the block.
        shares: how many equal shares the last dimension has, one per head, where the site is the
            range of each share.
    """

    layer: int
    component: str
    head: int | None
    path: str
    side: Side
    start: int
    stop: int
    order: int
    shares: int = 1

    @property
    def width(self) -> int:
        """Length of the site's vector at each position."""
        return self.shares * (self.stop - self.start)

    def read(self, tensor: Tensor) -> Tensor:
        """The site's part `(..., width)` of the hooked tensor."""
        if self.shares == 1:
            return tensor[..., self.start : self.stop]
        return self._shares_of(tensor)[..., self.start : self.stop].flatten(-2)

    def write(self, tensor: Tensor, rows: Tensor, positions: Tensor, vectors: Tensor) -> None:
        """Put vectors `(n, width)` into the hooked tensor, in place.

        Args:
            tensor: `(batch, positions, size)`.
            rows, positions: where each vector goes, `(n,)`.
            vectors: what goes there.
        """
        if self.shares == 1:
            tensor[rows, positions, self.start : self.stop] = vectors
        else:
            parts = self._shares_of(tensor)[..., self.start : self.stop]
            parts[rows, positions] = self._shares_of(vectors)

    def check(self, tensor: Tensor, examples: int) -> None:
        """Check the hooked tensor; those of a family's own components need no check.

        Args:
            tensor: as the module takes or returns it.
            examples: how many rows it must have at least.

        Raises:
            RequestError: it has no vector per example and position.
        """

    def _shares_of(self, tensor: Tensor) -> Tensor:
        """A view of a tensor with its last dimension split into shares."""
        return tensor.view(*tensor.shape[:-1], self.shares, -1)

    @property
    def place(self) -> tuple[str, Side]:
        """Module path and side that a hook is registered on; sites with one place share a hook."""
        return self.path, self.side

    def __str__(self) -> str:
        head = "" if self.head is None else f", head {self.head}"
        return f"{self.component} of layer {self.layer}{head}"


class Sites:
    """The sites of one model: its sizes, lookup, and a readable table.

    Layers and the vocabulary are counted from the modules: blocks may have been cut off by hand.

    Attributes:
        positions: tokens that a prompt may have at most (`models.sizes.position_limit`); None for
            any number.
        unembedding: path to the output head.
        depends_on_length: whether positions are encoded in a way that depends on the prompt's
            length, so that prompts of several lengths cannot share a batch.

    Args:
        model: a Hugging Face causal language model of a known family.

    Raises:
        RequestError: the model's family is not in `ARCHITECTURES`, it has no language-model head,
            or its modules are not of the sizes that its config says.
    """

    def __init__(self, model: nn.Module) -> None:
        config: Any = getattr(model, "config", None)
        kind = getattr(config, "model_type", type(model).__name__)
        self.architecture = require_architecture(kind).for_config(config)
        heads = [path for path in self.architecture.unembedding if _has_path(model, path)]
        if not heads or not _has_path(model, self.architecture.blocks):
            raise RequestError(
                f"model {type(model).__name__} has no {self.architecture.blocks!r} or no "
                f"{self.architecture.unembedding[0]!r}: expected a model with a language-model "
                f"head, for instance {self.architecture.causal_lm}."
            )
        self.unembedding = heads[0]
        size = {
            name: _first_set(config, attributes)
            for name, attributes in self.architecture.config.items()
        }
        # One block may stand in for several layers; `children` would give it once.
        container = module_at(model, self.architecture.blocks)
        blocks = [block for block in vars(container)["_modules"].values() if block is not None]
        self.layers: int = len(blocks)
        self.heads: int = size["heads"]
        self.key_value_heads: int = size["key_value_heads"]
        self.d_model: int = size["d_model"]
        self.d_mlp: int = size["d_mlp"] or 4 * self.d_model
        self.d_head: int = getattr(config, "head_dim", None) or self.d_model // self.heads
        self.positions: int | None = position_limit(config, self.architecture, size["positions"])
        self.depends_on_length = rotary_depends_on_length(config)
        head = feature_sizes(module_at(model, self.unembedding))
        self.vocabulary: int = config.vocab_size if head is None else head[1]
        self._known: dict[tuple[int, str, int | None], Site] = {}
        self._missing = _missing_modules(blocks, self.architecture)
        if (conflict := size_conflict(blocks, self, size["layers"])) is not None:
            raise RequestError(
                f"model {type(model).__name__} is not what its config says: {conflict}. Change "
                "model.config with the modules, or undo the change of the modules."
            )

    @property
    def counts(self) -> dict[str, int | None]:
        """Every size, by what it counts."""
        return {
            "layers": self.layers,
            "heads": self.heads,
            "key-value heads": self.key_value_heads,
            "dimensions in the residual stream": self.d_model,
            "dimensions in the MLP": self.d_mlp,
            "dimensions in a head": self.d_head,
            "ids in the vocabulary": self.vocabulary,
            "positions": self.positions,
        }

    @property
    def components(self) -> tuple[str, ...]:
        """Component names of this family, in the order of `COMPONENTS`."""
        return tuple(name for name in COMPONENTS if name in self.architecture.components)

    def width(self, component: str) -> int:
        """Length of a component's whole vector at one position, all heads together."""
        return self.size(self.architecture.components[component].width)

    def size(self, width: Width) -> int:
        """Length of one of the named dimensions."""
        widths: dict[Width, int] = {
            "d_model": self.d_model,
            "d_mlp": self.d_mlp,
            "d_heads": self.heads * self.d_head,
            "d_key_values": self.key_value_heads * self.d_head,
        }
        return widths[width]

    def head_count(self, component: str) -> int | None:
        """How many heads a per-head component has; None if it has one vector per position."""
        heads = self.architecture.components[component].heads
        return None if not heads else int(getattr(self, heads))

    def site(self, layer: int, component: str, head: int | None = None) -> Site:
        """Look up a site.

        Args:
            layer: index of the block; negative counts from the last.
            component: one of `components`.
            head: index of the head for per-head components, negative from the last, else None.

        Raises:
            RequestError: unknown component, layer or head out of range, a head for a component
                without heads, no head for a per-head component, or a block without the module.
        """
        kinds = type(layer), type(component), type(head)
        if kinds not in ((int, str, int), (int, str, type(None))):  # True and 1 are equal keys
            return self._find(layer, component, head)
        key = layer, component, head
        if key not in self._known:
            self._known[key] = self._find(layer, component, head)
        return self._known[key]

    def _find(self, layer: int, component: str, head: int | None) -> Site:
        """`site`, looked up for the first time."""
        component = our_component(component, head)
        layer, head = _as_index(layer, "layer"), None if head is None else _as_index(head, "head")
        if component == ATTENTION_WEIGHT:
            raise RequestError(
                "component 'attention_weight' cannot be reached here: it has one weight per query "
                "and key, not one vector per position. Read it with vw.attention, and change it in "
                "a slot of vw.run."
            )
        if component in COMPONENTS and component in self.architecture.absent:
            raise RequestError(
                f"component {component!r} does not exist in {self.architecture.name} models: "
                f"{self.architecture.absent[component]}. Components: {', '.join(self.components)}."
            )
        choose(component, self.components, f"component (on {self.architecture.name})")
        if not -self.layers <= layer < self.layers:
            raise RequestError(
                f"layer {shown(layer)} is out of range: the model has {self.layers} layers, "
                f"0 to {self.layers - 1} (or -{self.layers} to -1 from the end)."
            )
        spec = self.architecture.components[component]
        count, width = self.head_count(component), self.width(component)
        start, stop, shares = self._range(spec)
        if count is None and head is not None:
            raise RequestError(
                f"head {shown(head)} is invalid for component {component!r}, which has one vector "
                f"per position. Per-head components: "
                f"{', '.join(c for c in self.components if c.startswith('head_'))}."
            )
        if count is not None:
            if head is None or not -count <= head < count:
                raise RequestError(
                    f"component {component!r} needs a head: 0 to {count - 1}, not {shown(head)}."
                )
            head %= count
            d_head = width // count
            # Where the parts of a fused projection alternate by head, a head's share has all parts.
            offset = head * (
                d_head if shares == 1 else d_head * len(spec.part.of if spec.part else ())
            )
            start, stop, shares = start + offset, start + offset + d_head, 1
        layer %= self.layers
        block = f"{self.architecture.blocks}.{layer}"
        path = f"{block}.{spec.module}" if spec.module else block
        if (layer, spec.module) in self._missing:
            raise RequestError(
                f"component {component!r} is missing in layer {layer}: its block has no module "
                f"{spec.module!r}."
            )
        # Families list components in network order. A head is a slice of the whole component, so
        # both have the same rank.
        order = list(self.architecture.components).index(component.removeprefix("head_"))
        if component == "block_output":  # listed beside `block_input`, but computed last
            order = len(self.architecture.components)
        return Site(layer, component, head, path, spec.side, start, stop, order, shares)

    def _range(self, spec: Component) -> tuple[int, int, int]:
        """Range of the last dimension that a whole component covers, and in how many shares.

        A fused projection (q, k and v in one tensor) has the component as one of its parts.
        """
        width = self.size(spec.width)
        if spec.part is None:
            return 0, width, 1
        if spec.part.by_head:
            start = spec.part.index * self.d_head
            return start, start + self.d_head, self.heads
        start = sum(self.size(one) for one in spec.part.of[: spec.part.index])
        return start, start + width, 1

    def table(self) -> pd.DataFrame:
        """One row per component: place in the block, shape at one layer, module path."""
        import pandas as pd

        rows: list[tuple[str, str, str, str, str, Side]] = []
        for name in self.components:
            spec, count = self.architecture.components[name], self.head_count(name)
            width = self.width(name)
            unit = "pos" if count is None else "h.pos"
            shape = (
                f"(positions, {width})"
                if count is None
                else (f"({count} heads, positions, {width // count})")
            )
            path = f"{self.architecture.blocks}.{{layer}}" + (
                f".{spec.module}" if spec.module else ""
            )
            rows.append((name, unit, shape, spec.norm, path, spec.side))
        return pd.DataFrame(rows, columns=["component", "unit", "shape", "place", "module", "side"])

    def __repr__(self) -> str:
        head = f"{self.architecture.name}: {self.layers} layers, d_model {self.d_model}"
        return f"{head}\n{self.table().to_string(index=False)}"

    def _repr_html_(self) -> str:
        return self.table().to_html(index=False)


def require_architecture(kind: object, what: str = "") -> Architecture:
    """The family of a model.

    Args:
        kind: the `model_type` of its Hugging Face config.
        what: start of the message, for instance the model's name.

    Raises:
        RequestError: an unknown family. Its name is not the user's typing, so none is suggested.
    """
    if isinstance(kind, str) and kind in ARCHITECTURES:
        return ARCHITECTURES[kind]
    if isinstance(kind, str) and kind in LOAD_INSTEAD:
        raise RequestError(f"{what}architecture {shown(kind)} {LOAD_INSTEAD[kind]}")
    raise RequestError(
        f"{what}architecture {shown(kind)} is not known: the families that work are "
        f"{listed(ARCHITECTURES)}. Load a model of one of them, or add a table of this one's "
        'modules to vene_widgets/models/architectures/ (docs/families.md, "Add a family").'
    )


def module_at(model: nn.Module, path: str) -> nn.Module:
    """The submodule at a dotted path."""
    return model.get_submodule(path)


def _as_index(value: object, what: str) -> int:
    """A layer or head as a plain int.

    Raises:
        RequestError: another type.
    """
    try:
        return as_int(value)
    except RequestError as error:
        raise RequestError(f"{what}: {error}.") from None


def _missing_modules(
    blocks: Sequence[nn.Module], architecture: Architecture
) -> set[tuple[int, str]]:
    """Layer and path of every module of the family's table that a block lacks."""
    paths = {component.module for component in architecture.components.values()} - {""}
    return {
        (layer, path)
        for layer, block in enumerate(blocks)
        for path in paths
        if not _has_path(block, path)
    }


def _has_path(model: nn.Module, path: str) -> bool:
    try:
        model.get_submodule(path)
    except AttributeError:
        return False
    return True


def _first_set(config: Any, names: tuple[str, ...]) -> Any:
    """The first of some config attributes that is set; None if none is."""
    for name in names:
        value = getattr(config, name, None)
        if value is not None:
            return value
    return None
