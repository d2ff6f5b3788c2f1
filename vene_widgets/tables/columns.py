"""Columns of the frames: dtype, unit and meaning of each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """One column's dtype, unit and meaning.

    Attributes:
        dtype: pandas' name for it. Texts are `object`: a token may hold a lone surrogate, which
            pandas' string dtypes may refuse.
        unit: of the values; empty for names, ids and texts.
        meaning: in one sentence.
    """

    dtype: str
    unit: str
    meaning: str


COLUMNS: dict[str, Column] = {
    "run": Column("category", "", "name of the run; ordered as the runs were given"),
    "rank": Column("Int64", "1 = most likely", "place in the whole vocabulary; <NA>: not run"),
    "token": Column("object", "", "token text, exact"),
    "token_id": Column("int64", "", "token id"),
    "label": Column("object", "", "token text with spaces and control characters made visible"),
    "probability": Column(
        "float64", "0 to 1", "P(token) in this run or cell; in a lens, of the best token"
    ),
    "log_probability": Column("float64", "nats", "ln P(token)"),
    "logit": Column("float64", "", "output of the head for the token, before softmax"),
    "before": Column("float64", "0 to 1", "P(token) before the change"),
    "after": Column("float64", "0 to 1", "P(token) after the change"),
    "delta": Column("float64", "probability", "P after − P before (in a sweep: cell − base)"),
    "log_ratio": Column("float64", "nats", "ln (P after / P before)"),
    "contrast_id": Column(
        "Int64", "", "id of the token that the target is set against: the first other target"
    ),
    "logit_difference": Column(
        "float64", "logits", "logit(target) − logit(contrast) in the cell; NaN without a contrast"
    ),
    "kl": Column(
        "float64",
        "nats",
        "P after · ln (P after / P before): in a difference the token's own part, in a sweep the "
        "sum over the vocabulary, KL(cell ‖ base), in a lens KL(run ‖ base) at the same layer and "
        "position",
    ),
    "kl_source": Column("float64", "nats", "KL(cell ‖ source) over the vocabulary"),
    "rank_before": Column("Int64", "1 = most likely", "rank before the change"),
    "rank_after": Column("Int64", "1 = most likely", "rank after the change"),
    "component": Column("object", "", "which tensor was changed"),
    "head": Column("Int64", "from 0", "which head was changed; <NA>: a whole vector"),
    "layer": Column("int64", "from 0", "block whose state was changed, or that a lens reads"),
    "position": Column(
        "int64",
        "from 0",
        "base position that was changed; of a lens, its run's; of a generated token, its place in "
        "the whole text",
    ),
    "step": Column("int64", "from 0", "which of the new tokens"),
    "entropy": Column("float64", "nats", "of the distribution that the token was chosen from"),
    "source_position": Column("int64", "from 0", "source position that the state came from"),
    "source_token": Column(
        "object", "", "text of the source's token there, exact; None: no source is read"
    ),
    "target_id": Column(
        "int64", "", "id of the token that the row follows; of named sets of tokens, -1, -2, …"
    ),
    "target": Column("object", "", "its text, exact"),
    "target_label": Column("object", "", "its text, made visible"),
    "base_probability": Column("float64", "0 to 1", "P(target) in the unchanged base run"),
    "effect_possible": Column(
        "bool", "", "False: nothing put here can reach the answer, which is the base run's"
    ),
    "best_id": Column("Int64", "", "id of the most likely token there; <NA>: not run"),
    "best": Column("object", "", "its text, exact; None: not run"),
    "best_label": Column("object", "", "its text, made visible"),
    "best_probability": Column("float64", "0 to 1", "its probability there"),
    "changed": Column(
        "boolean",
        "",
        "whether the best token is another than in base at the same layer and position; <NA> if "
        "the prompts differ in length",
    ),
    "target_probability": Column("float64", "0 to 1", "P(target) at this layer and position"),
    "target_rank": Column("Int64", "1 = most likely", "the target's place in the vocabulary there"),
    "pair": Column("int64", "from 0", "row of the pair in the data set"),
    "place": Column("object", "", "name of the swept position, the same in all pairs"),
    "role": Column("object", "", "what the token is in its pair: target, contrast, target 3, …"),
    "source_probability": Column("float64", "0 to 1", "P(target) in the plain source run"),
    "recovery": Column(
        "float64",
        "0 = base, 1 = source",
        "(metric − the base run's) / (the source run's − the base run's); the metric is the logit "
        "difference unless said, and NaN without a contrast",
    ),
    "metric": Column("object", "", "what is averaged"),
    "n": Column("int64", "pairs", "pairs that the row is over"),
    "units": Column("int64", "", "independent units among them: pairs with one base count as one"),
    "mean": Column("float64", "the metric's", "mean over the pairs; of recovery a ratio of sums"),
    "low": Column("float64", "the metric's", "lower end of the bootstrap interval of the mean"),
    "high": Column("float64", "the metric's", "upper end of it"),
    "p": Column(
        "float64",
        "0 to 1",
        "two-sided sign-flip permutation p of no effect on average; NaN where none is possible",
    ),
    "q": Column("float64", "0 to 1", "p corrected over the map by Benjamini and Hochberg"),
    "p_max": Column("float64", "0 to 1", "p corrected over the map by the maximum statistic"),
    "base_mean": Column("float64", "the metric's", "mean of the plain base runs"),
    "source_mean": Column("float64", "the metric's", "mean of the plain source runs"),
    "control": Column(
        "object",
        "",
        "the control that comes closest to the effect, None: none ran; of a placebo, the row's",
    ),
    "control_mean": Column("float64", "the metric's", "mean if the control's effect is put there"),
    "control_low": Column("float64", "the metric's", "lower end of its bootstrap interval"),
    "control_high": Column("float64", "the metric's", "upper end of it"),
    "control_p": Column(
        "float64", "0 to 1", "sign-flip p of no difference between the effect and the control's"
    ),
    "control_q": Column("float64", "0 to 1", "the same, corrected by Benjamini and Hochberg"),
    "explained": Column(
        "bool",
        "",
        "whether a control explains the effect: it is no larger than the control's, or control_q "
        "is 0.05 or more",
    ),
    "estimate": Column(
        "float64",
        "the metric's",
        "(new state − base state) · gradient of the metric: the predicted change from the base run",
    ),
    "exact": Column(
        "float64", "the metric's", "change from the base run in a run with the cell's new state"
    ),
    "draws": Column("int64", "", "how often the control was drawn"),
    "least": Column("float64", "the metric's", "smallest change from its base run in these draws"),
    "most": Column("float64", "the metric's", "largest change from its base run in these draws"),
    "within": Column(
        "bool",
        "",
        "whether the exact change is no larger than what the control does in the same direction "
        "anywhere in the map, in any draw",
    ),
    "false_negative": Column(
        "bool", "", "whether the exact effect is large and the estimate shows too little of it"
    ),
    "sender_name": Column("object", "", "name of what was patched: 9.9, mlp5 or embedding"),
    "sender": Column("object", "", "what it is: head, mlp or embedding"),
    "sender_layer": Column("Int64", "from 0", "its block; <NA>: the embedding"),
    "sender_head": Column("Int64", "from 0", "which head it is; <NA>: no head"),
    "receiver": Column("object", "", "what got its direct part: logits, 9.9 q, mlp10, …"),
    "effect": Column("float64", "the metric's", "metric with the path patched − the base run's"),
    "effect_frozen": Column(
        "float64", "the metric's", "the same with the scales of norms held; NaN: not computed"
    ),
    "standard_error": Column(
        "float64", "the metric's", "of the mean effect: standard deviation over the pairs / √n"
    ),
    "share": Column(
        "float64",
        "0 = base, 1 = source",
        "effect / (the metric of the source run − that of the base run)",
    ),
    "contribution": Column(
        "float64",
        "the metric's",
        "the sender's own part of the base run's metric, scales of norms held; NaN: not computed",
    ),
    "heads_kept": Column("object", "", "whose values are the prompt's own: all, circuit, …"),
    "value": Column("float64", "the metric's", "mean of the metric over the prompts"),
    "faithfulness": Column("float64", "1 = whole model", "value / value of the whole model"),
    "faithfulness_normalised": Column(
        "float64",
        "0 = no heads, 1 = whole model",
        "(value − value without heads) / (value of the whole model − value without heads)",
    ),
    "query": Column("int64", "from 0", "position of the token that attends"),
    "query_token": Column("object", "", "its text, exact"),
    "key": Column("int64", "from 0", "position of the token that is attended to"),
    "key_token": Column("object", "", "its text, exact"),
    "weight": Column(
        "float64",
        "0 to 1",
        "attention weight after the softmax; in a difference, weight − the base run's",
    ),
}
"""Columns of all frames by name. A column means the same in every frame that has it."""

FRAMES: dict[str, tuple[str, ...]] = {
    name: tuple(columns.split())
    for name, columns in {
        "top_frame": "rank token token_id probability logit",
        "token_frame": "run token_id token label probability log_probability logit rank",
        "difference_frame": "token_id token label before after delta log_ratio kl "
        "rank_before rank_after",
        "sweep_frame": "component head layer position token token_id label source_position "
        "target_id target target_label probability base_probability source_probability delta "
        "log_ratio contrast_id logit_difference recovery rank kl kl_source effect_possible best_id "
        "best best_probability",
        "lens_frame": "run layer position token token_id label best_id best best_label probability "
        "changed kl",
        "lens_target_frame": "run layer position token token_id label best_id best best_label "
        "probability changed kl target_id target target_label target_probability target_rank",
        "attribution_frame": "component head layer position token token_id label source_position "
        "source_token target_id target target_label contrast_id estimate effect_possible",
        "attribution_check_frame": "component head layer position token token_id label "
        "source_position source_token target_id target target_label contrast_id estimate exact "
        "effect_possible false_negative",
        "placebo_frame": "metric control draws component head layer position token token_id label "
        "target_id target target_label exact least most within effect_possible",
        "pair_frame": "pair component head layer position place token token_id label "
        "source_position role target_id target target_label probability base_probability "
        "source_probability delta log_ratio contrast_id logit_difference recovery effect_possible",
        "pair_summary": "metric component head layer place label role n units mean low high p q "
        "p_max base_mean source_mean effect_possible control control_mean control_low control_high "
        "control_p control_q explained",
        "attention_frame": "run layer head query query_token key key_token weight",
        "generation_frame": "run step position token token_id label probability rank best best_id "
        "best_probability entropy",
        "path_frame": "sender_name sender sender_layer sender_head receiver effect effect_frozen "
        "share contribution",
        "path_means_frame": "sender_name sender sender_layer sender_head receiver effect "
        "effect_frozen share contribution n standard_error",
        "circuit_frame": "heads_kept value faithfulness faithfulness_normalised",
    }.items()
}
"""Columns of each frame, in order, by the name of the function that makes it."""
