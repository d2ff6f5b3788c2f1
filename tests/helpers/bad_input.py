"""Good requests of every kind, and what must hold for each of their mutants."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import threading
import zlib
from typing import Any

from bad_values import check_sentence, check_wire, read_or_refused

import vene_widgets as vw
from vene_widgets.engine.planning import plan_experiment
from vene_widgets.experiments import Experiment, SweepRequest
from vene_widgets.explorer import Explorer
from vene_widgets.explorer.export import share_token
from vene_widgets.sweeps.planning import plan_sweeps

BASE, SOURCE, OTHER = (f"The capital of {name} is" for name in ("Spain", "Italy", "France"))

SLOTS: list[dict[str, Any]] = [
    {"layer": 0, "position": 3},
    {"layer": -1, "position": [3, -1], "component": "mlp_output", "source": "source"},
    {"layer": 1, "position": "1:4", "source_position": "1:4", "strength": 0.5, "group": "A"},
    {"layer": 1, "position": " Spain", "component": "head_attention_value_output", "head": 1},
    {"layer": 2, "position": "all", "intervention": "zero", "subspace": [0, 2], "skip": False},
    {"layer": 0, "position": 1, "intervention": "noise", "scale": 0.5, "seed": 3},
    {"layer": 0, "position": 4, "intervention": "mean", "prompts": [OTHER, SOURCE]},
    {"layer": 1, "position": 2, "subspace": "a", "partition": {"a": [0, 4], "b": [4, 8]}},
    {"layer": 2, "position": 3, "intervention": "rotated_space", "link": "r", "subspace": [0]},
    {"layer": 1, "position": 3, "intervention": "low_rank_rotated_space", "rank": 2, "seed": 1},
]
SOURCES = {"source": SOURCE, "other": OTHER}
EXPERIMENTS: list[Any] = [
    {"base": BASE, "sources": {"source": SOURCE}, "slots": SLOTS[:3], "mode": "parallel"},
    *({"base": BASE, "sources": {"source": SOURCE}, "slots": [slot]} for slot in SLOTS),
    {
        "base": BASE,
        "sources": SOURCES,
        "slots": [{**SLOTS[0], "source": "source"}, {**SLOTS[3], "source": "other", "group": "B"}],
        "mode": "serial",
    },
]
SWEEPS: list[Any] = [
    {"component": "block_output", "layers": [0, 2], "positions": [3, 4], "intervention": "vanilla"},
    {"component": "head_attention_value_output", "head": "all", "layers": 1, "source": "source"},
    {"component": "mlp_output", "positions": "1:4", "source_positions": [1, 2, 3], "layers": None},
    {"component": "block_input", "intervention": "mean", "prompts": [OTHER], "layers": -1},
]
SHARED: list[Any] = [
    {
        "model": "capitals",
        "experiment": EXPERIMENTS[0],
        "component": "block_output",
        "source": "source",
        "figure": "result",
        "history": [
            {
                "name": "mine",
                "experiment": EXPERIMENTS[1],
                "sentence": "It is so.",
                "token_id": 3,
                "probability": 0.5,
            }
        ],
    },
    {
        "model": None,
        "experiment": EXPERIMENTS[-1],
        "component": "head_attention_value_output",
        "head": "all",
        "layers": [1],
        "intervention": "zero",
    },
]
_SIDE = {"title": "left", "experiment": EXPERIMENTS[1], "share_sources": False}
MESSAGES: list[Any] = [
    {"id": "r", **fields}
    for fields in [
        *({"kind": "experiment", "experiment": experiment} for experiment in EXPERIMENTS),
        {
            "kind": "sweep",
            "component": "block_output",
            "head": None,
            "layer": None,
            "source": "source",
            "intervention": "vanilla",
            "source_positions": [0, 1, 2, 3, 4],
        },
        {"kind": "sweep", "component": "head_attention_value_output", "head": "all", "layer": 1},
        {"kind": "figure", "figure": "sweep_map", "style": "dark"},
        {"kind": "take", "figure": "result", "format": "zip", "dpi": 100},
        {"kind": "tokens", "text": BASE},
        {"kind": "compare", "left": _SIDE, "right": {**_SIDE, "title": "right"}},
        {"kind": "name", "number": 0, "name": "first"},
        {"kind": "step", "step": 0},
        {"kind": "follow", "token": " Rome"},
        {"kind": "follow", "token": 7},
        {"kind": "share"},
        {"kind": "cancel"},
    ]
]

STATE = ("scene", "answer", "map", "past", "picture", "steps", "contrast", "status")
"""Traits that a refusal leaves alone."""


def check_experiment(model: vw.LanguageModel, fields: Any) -> bool:
    """A mutant is refused, or comes back from its JSON and runs; return whether it was read."""
    read, _ = read_or_refused(lambda: Experiment.model_validate(fields))
    if read is None:
        return False
    again = Experiment.model_validate_json(read.model_dump_json())
    assert again == read and hash(again) == hash(read)
    plan, refused = read_or_refused(lambda: plan_experiment(model, read))
    if refused is None:
        run = vw.run(model, plan.experiment)
        frame, without = read_or_refused(lambda: run.frame)
        if without is None:
            assert all(map(math.isfinite, frame["probability"])), read
        else:  # a strength of 1e308, for instance
            assert "NaN or infinite" in without and not run.logits[-1].isfinite().all()
    return True


def check_sweep(model: vw.LanguageModel, fields: Any) -> bool:
    """A mutant is refused, or comes back from its JSON and sweeps; return whether it was read."""
    read, _ = read_or_refused(lambda: SweepRequest.model_validate(fields))
    if read is None:
        return False
    assert SweepRequest.model_validate_json(read.model_dump_json()) == read
    plans, refused = read_or_refused(lambda: plan_sweeps(model, BASE, SOURCE, read))
    if refused is None:
        options = {name: getattr(read, name) for name in SweepRequest.model_fields}
        del options["source"]
        frame = vw.sweep(model, BASE, SOURCE, **options).frame
        assert len(frame) and len(plans)
    return True


def signed(content: bytes) -> str:
    """A token with the right checksum."""
    packed = zlib.compress(content)
    whole = hashlib.sha256(packed).digest()[: share_token.CHECKSUM_BYTES] + packed
    return "vene1." + base64.urlsafe_b64encode(whole).decode().rstrip("=")


def check_token(model: vw.LanguageModel, fields: Any) -> bool:
    """A mutant is refused, or its token is stable and fits or is refused by the model."""
    try:
        content = json.dumps(fields).encode("utf-8", "surrogatepass")
    except ValueError:  # an int that Python does not print
        return False
    token = signed(content)
    read, _ = read_or_refused(lambda: share_token.decode(token))
    if read is None:
        return False
    assert share_token.decode(share_token.encode(read)) == read
    read_or_refused(lambda: share_token.check_fits(read, model))
    return True


def check_text_of_token(text: Any) -> None:
    """Whatever is no token is refused."""
    _, refused = read_or_refused(lambda: share_token.decode(text))
    assert refused is not None


def check_message(explorer: Explorer, content: Any) -> bool:
    """A message gets one reply; a refused one changes nothing; return whether it was carried out.

    What an accepted one starts ends with an answer or with a sentence in the status.
    """
    replies: list[Any] = []
    here = threading.get_ident()

    def send(content: Any, buffers: object = None) -> None:
        if threading.get_ident() == here:  # a file that an earlier message asked for comes later
            replies.append(content)

    explorer.send = send  # pyright: ignore
    before = explorer.experiment, *(getattr(explorer, name) for name in STATE)
    read_or_refused(lambda: explorer.receive(content))
    if not replies:  # a file that is drawn first
        assert content["kind"] == "take"
        explorer.wait(60)
        return True
    [reply] = replies
    check_wire(reply)
    assert len(json.dumps(reply["id"])) <= 1300
    if not reply["ok"]:
        check_sentence(reply["error"])
        after = explorer.experiment, *(getattr(explorer, name) for name in STATE)
        assert after == before
        return False
    explorer.wait(60)
    explorer.worker.wait("follow", 60)
    if explorer.status["error"]:
        check_sentence(explorer.status["error"])
    for name in STATE:
        check_wire({**getattr(explorer, name), "png": None})
    return True
