"""Results as English sentences, all in this package.

Templates are filled with the numbers of a run; objects of the engine hold no sentences.
"""

from vene_widgets.sentences.actions import (
    SlotAction,
    beside_held,
    describe,
    describe_patch,
    operator,
    reading,
    several,
)
from vene_widgets.sentences.data_sets import TileNumbers, data_facts, data_tile
from vene_widgets.sentences.predictions import (
    ProbabilityChange,
    all_idle,
    no_distribution,
    nothing_came_in,
    nothing_can_change,
    nothing_live,
    out_of_reach,
    sentence,
)
from vene_widgets.sentences.receipts import receipt
from vene_widgets.sentences.verdicts import verdict
from vene_widgets.sentences.words import joined, quoted

__all__ = [
    "ProbabilityChange",
    "SlotAction",
    "TileNumbers",
    "all_idle",
    "beside_held",
    "data_facts",
    "data_tile",
    "describe",
    "describe_patch",
    "joined",
    "no_distribution",
    "nothing_came_in",
    "nothing_can_change",
    "nothing_live",
    "operator",
    "out_of_reach",
    "quoted",
    "reading",
    "receipt",
    "sentence",
    "several",
    "verdict",
]
