"""Share tokens: an explorer's state as a short text.

A token is `vene1.` followed by URL-safe base64 of a truncated SHA-256 checksum and compressed JSON.
It holds prompts, experiments and results in words: no paths, no code, no weights.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import zlib
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vene_widgets.engine.planning import plan_experiment
from vene_widgets.errors import RequestError, error_text, shown
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.experiments.sweep_request import SweepRequest
from vene_widgets.explorer.map_plan import plan_map
from vene_widgets.explorer.shown_slots import require_shown
from vene_widgets.explorer.wire.messages import FigureKind
from vene_widgets.models import load
from vene_widgets.models.loading import BUILT_IN

if TYPE_CHECKING:
    from vene_widgets.models import LanguageModel

VERSION = 1

CHECKSUM_BYTES = 8
"""Length of the checksum: it detects accidental damage and authenticates nothing."""

MAX_JSON_BYTES = 4 * 2**20
"""Largest JSON that a token may unpack to: a short token can expand a thousandfold."""

MAX_CHARACTERS = 2 * MAX_JSON_BYTES
"""Longest text that is read as a token."""

_LOADABLE_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
"""Names of built-in and hub models."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SharedEntry(_Frozen):
    """One entry of the history, with its result for the history strip.

    Attributes:
        name: given by the user; None if it has none.
        experiment: what was run.
        sentence: the result in words.
        token_id, probability: of the most likely next token.
    """

    name: Annotated[str | None, Field(max_length=80)] = None
    experiment: Experiment
    sentence: Annotated[str, Field(max_length=2000)]
    token_id: Annotated[int, Field(ge=0)]
    probability: Annotated[float, Field(ge=0, le=1)]


class Shared(_Frozen):
    """The contents of a token.

    Attributes:
        model: its name for `load`; None if it cannot be loaded by name.
        experiment: the one on the screen.
        component, head, layers, positions, source, intervention: of the map's sweep.
        figure: the kind of figure.
        history: past experiments, oldest first.
    """

    model: Annotated[str | None, Field(max_length=200)]
    experiment: Experiment
    component: str
    head: int | Literal["all"] | None = None
    layers: Annotated[tuple[int, ...] | None, Field(max_length=1)] = None
    positions: Annotated[int | None, Field(ge=-1)] = None
    source: str | None = None
    intervention: str = "vanilla"
    figure: FigureKind = "result"
    history: Annotated[tuple[SharedEntry, ...], Field(max_length=200)] = ()

    @classmethod
    def of(
        cls,
        model: LanguageModel,
        experiment: Experiment,
        sweep: SweepRequest,
        *,
        figure: FigureKind,
        history: tuple[SharedEntry, ...],
    ) -> Shared:
        """The shared part of an explorer's state."""
        return cls(
            model=shared_name(model),
            experiment=experiment,
            component=sweep.component,
            head=sweep.head,
            layers=(sweep.layers,) if isinstance(sweep.layers, int) else sweep.layers,
            positions=sweep.positions if isinstance(sweep.positions, int) else None,
            source=sweep.source,
            intervention=sweep.intervention,
            figure=figure,
            history=history,
        )

    @property
    def sweep_request(self) -> SweepRequest:
        """The map's sweep; its hand-made pairs of positions are not shared."""
        names = {"component", "head", "layers", "positions", "source", "intervention"}
        return SweepRequest(**self.model_dump(include=names))


def encode(shared: Shared) -> str:
    """Write a state as a token."""
    packed = zlib.compress(shared.model_dump_json(exclude_defaults=True).encode(), 9)
    data = _checksum(packed) + packed
    return f"vene{VERSION}." + base64.urlsafe_b64encode(data).decode().rstrip("=")


def decode(token: object) -> Shared:
    """Read the state in a token. White space around and within it is ignored.

    Raises:
        RequestError: not a token of this package, one of another version, or a damaged one.
    """
    if isinstance(token, str) and len(token) > MAX_CHARACTERS:
        raise RequestError(
            f"token {shown(token, 20)} has {len(token)} characters: expected at most "
            f"{MAX_CHARACTERS}."
        )
    text = re.sub(r"\s", "", token) if isinstance(token, str) else ""
    start = re.match(r"vene(\d{1,9})\.", text, re.ASCII)
    if not start:
        raise RequestError(
            f"token {shown(token, 20)} is not a vene_widgets token, which begins with "
            f"'vene{VERSION}.': copy the whole text of Share or explorer.state()."
        )
    if int(start[1]) != VERSION:
        raise RequestError(
            f"the token has version {start[1]}; this vene_widgets reads version {VERSION}. "
            "Install the version that made it."
        )
    body = text[start.end() :]
    try:
        # Padding was stripped by `encode`.
        data = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        data = b""
    checksum, packed = data[:CHECKSUM_BYTES], data[CHECKSUM_BYTES:]
    if not packed or _checksum(packed) != checksum:
        raise RequestError(
            f"the token is damaged: the checksum does not match its {len(text)} characters. Copy "
            "the whole token again."
        )
    try:
        unpacker = zlib.decompressobj()
        json = unpacker.decompress(packed, MAX_JSON_BYTES)
        if unpacker.unconsumed_tail:
            raise RequestError(f"the token unpacks to more than {MAX_JSON_BYTES // 2**20} MB.")
        if not unpacker.eof or unpacker.unused_data:
            raise zlib.error("its compressed data end too early or too late")
        return Shared.model_validate_json(json)
    except (zlib.error, ValidationError) as error:
        reason = error_text(error) if isinstance(error, ValidationError) else str(error)
        raise RequestError(f"the token holds no explorer state: {reason}") from None


def _checksum(packed: bytes) -> bytes:
    return hashlib.sha256(packed).digest()[:CHECKSUM_BYTES]


def shared_name(model: LanguageModel) -> str | None:
    """The model's name if others can load it by that; None for folders and wrapped models."""
    if model.recipe is None or model.path is not None:
        return None
    return model.name if _LOADABLE_NAME.fullmatch(model.name) else None


def model_for(shared: Shared, model: LanguageModel | str | None) -> LanguageModel:
    """The model to open a token with.

    Args:
        shared: the token's contents.
        model: the user's choice; None for the model that the token names.

    Raises:
        RequestError: None is given, and the token names no built-in model.
    """
    if isinstance(model, str):
        return load(model)
    if model is not None:
        return model
    if shared.model is None:
        raise RequestError(
            "the token's model cannot be loaded by name: pass your own, as in from_state(token, "
            "model=...) with vene_widgets.load(folder) or vene_widgets.wrap(hf_model, tokenizer)."
        )
    if shared.model not in BUILT_IN:
        raise RequestError(
            f"the token's model {shown(shared.model)} is not built in, and nothing is loaded or "
            "downloaded because a token names it: if you trust that name, pass it, as in "
            "from_state(token, model='owner/name')."
        )
    return load(shared.model)


def check_fits(shared: Shared, model: LanguageModel) -> None:
    """Check the shared experiment and map against a model.

    Raises:
        RequestError: the model cannot run them; the message names the field.
    """
    require_shown(plan_experiment(model, shared.experiment))
    plan_map(model, shared.experiment, shared.sweep_request)
