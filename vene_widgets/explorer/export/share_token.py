"""Tokens: what an explorer shows, as a short text to pass on.

A token is `vene1.` and, in URL-safe base64, a SHA-256 checksum followed by compressed JSON. It
holds prompts, experiments and results in words: no path, no code, no weights.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vene_widgets.engine.planning import plan
from vene_widgets.errors import RequestError, choose
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.explorer.session.history import History
from vene_widgets.explorer.wire.messages import Candidate, FigureKind
from vene_widgets.models import load
from vene_widgets.sweeps.planning import plan_sweep
from vene_widgets.tables.frames import visible

if TYPE_CHECKING:
    from vene_widgets.models import LanguageModel

VERSION = 1
CHECK = 8
"""Bytes of the checksum: enough for damage, which is all that it guards against."""

LARGEST = 4 * 2**20
"""Bytes of JSON that a token may unpack to."""

ENTRIES = 20
"""Entries of the history without a name that travel, the newest."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Past(_Part):
    """One entry of the history, with what the strip shows of it."""

    name: Annotated[str | None, Field(max_length=80)] = None
    experiment: Experiment
    sentence: Annotated[str, Field(max_length=2000)]
    token_id: Annotated[int, Field(ge=0)]
    probability: Annotated[float, Field(ge=0, le=1)]


class Shared(_Part):
    """Everything in a token.

    Attributes:
        model: the name that `load` takes; None when only its owner has it.
        experiment: what is on the screen.
        component, head, source: what the map sweeps.
        figure: the kind of figure.
        history: past experiments, oldest first.
    """

    model: Annotated[str | None, Field(max_length=200)]
    experiment: Experiment
    component: str
    head: int | None = None
    source: str | None = None
    figure: FigureKind = "result"
    history: Annotated[tuple[Past, ...], Field(max_length=200)] = ()


def encode(shared: Shared) -> str:
    """The token of a state."""
    packed = zlib.compress(shared.model_dump_json(exclude_defaults=True).encode(), 9)
    whole = hashlib.sha256(packed).digest()[:CHECK] + packed
    return f"vene{VERSION}." + base64.urlsafe_b64encode(whole).decode().rstrip("=")


def decode(token: str) -> Shared:
    """The state of a token; spaces and line ends around and within it are overlooked.

    Raises:
        RequestError: no token of this package, one of a later version, or a damaged one.
    """
    text = re.sub(r"\s", "", token) if isinstance(token, str) else ""
    start = re.match(r"vene(\d+)\.", text)
    if not start:
        raise RequestError(
            f"token {str(token)[:20]!r} is not one of vene_widgets, which begin with "
            f"'vene{VERSION}.': copy it whole with Share, or with explorer.state()."
        )
    if int(start[1]) != VERSION:
        raise RequestError(
            f"the token has version {start[1]}; this vene_widgets reads version {VERSION}. "
            "Install the version that made it."
        )
    body = text[start.end() :]
    try:
        whole = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        whole = b""
    check, packed = whole[:CHECK], whole[CHECK:]
    if not packed or hashlib.sha256(packed).digest()[:CHECK] != check:
        raise RequestError(
            f"the token is damaged: its checksum does not fit its {len(text)} characters. Copy it "
            "again, whole."
        )
    try:
        unpacker = zlib.decompressobj()
        plain = unpacker.decompress(packed, LARGEST)
        if unpacker.unconsumed_tail:
            raise RequestError(f"the token unpacks to more than {LARGEST // 2**20} MB: refused.")
        return Shared.model_validate_json(plain)
    except (zlib.error, ValidationError) as error:
        raise RequestError(f"the token holds no state of an explorer: {error}") from None


def shared_name(model: LanguageModel) -> str | None:
    """The model's name where others can load it by that; None for folders and wrapped models."""
    if model.recipe is None or Path(model.name).exists():
        return None
    return model.name if re.fullmatch(r"[\w.-]+(/[\w.-]+)?", model.name) else None


def model_for(shared: Shared, model: LanguageModel | str | None) -> LanguageModel:
    """The model that a token is about.

    Raises:
        RequestError: it is of a model that only its owner has, and none is given.
    """
    if isinstance(model, str):
        return load(model)
    if model is not None:
        return model
    if shared.model is None:
        raise RequestError(
            "the token is of a model that only its owner has: give yours, as in "
            "from_state(token, model=vene_widgets.wrap(hf_model, tokenizer))."
        )
    if Path(shared.model).exists() or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", shared.model):
        raise RequestError(
            f"the token names the model {shared.model!r}, which is no name of a built-in or hub "
            "model here; give the model yourself: from_state(token, model=...)."
        )
    return load(shared.model)


def check(shared: Shared, model: LanguageModel) -> None:
    """See to it that experiment and map of a token fit a model.

    Raises:
        RequestError: they do not; the message names what.
    """
    checked = plan(model, shared.experiment)
    if checked.sources:
        name = choose(shared.source or next(iter(checked.sources)), checked.sources, "source")
        texts = shared.experiment.base, shared.experiment.sources[name]
        plan_sweep(model, *texts, shared.component, head=shared.head)


def remember(shared: Shared, model: LanguageModel) -> History:
    """The history of a token as an explorer of this model keeps it.

    Raises:
        RequestError: an entry that does not fit the model.
    """
    history = History()
    for n, past in enumerate(shared.history):
        if past.token_id >= model.sites.vocabulary:
            raise RequestError(
                f"history entry {n} of the token names token id {past.token_id}; {model.name} has "
                f"{model.sites.vocabulary} tokens. Is it the model that the token is of?"
            )
        top = Candidate(
            token_id=past.token_id,
            label=visible(model.token_text(past.token_id)),
            probability=past.probability,
            logit=0.0,
            rank=1,
        )
        history.add(plan(model, past.experiment), past.sentence, top, 0)
        history.name(history.records[-1].number, past.name)
    return history


def recall(history: History) -> tuple[Past, ...]:
    """What travels of a history: every entry with a name, and the newest of the others."""
    loose = [record.number for record in history.records if not record.entry.name]
    dropped = set(loose[:-ENTRIES])
    return tuple(
        Past(
            name=record.entry.name,
            experiment=record.entry.experiment,
            sentence=record.entry.sentence,
            token_id=record.top.token_id,
            probability=record.top.probability,
        )
        for record in history.records
        if record.number not in dropped
    )
