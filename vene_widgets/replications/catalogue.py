"""The classics, with their prompts and figures."""

from __future__ import annotations

from vene_widgets.replications.causal_tracing import causal_tracing
from vene_widgets.replications.classic import Classic, Expected, Form, Paper
from vene_widgets.replications.copy_suppression import copy_suppression
from vene_widgets.replications.estimate_and_exact import estimate_and_exact
from vene_widgets.replications.greater_than import greater_than
from vene_widgets.replications.indirect_objects import indirect_objects
from vene_widgets.replications.negative_heads import negative_heads
from vene_widgets.replications.probe_and_patch import probe_and_patch
from vene_widgets.replications.prompts import CAPITALS, NAMES, NAMES_AFTER_START
from vene_widgets.replications.self_repair import self_repair
from vene_widgets.replications.subspace_illusion import subspace_illusion

GPT2 = "openai-community/gpt2"
HERE = "measured with this package, confirmed by hooks by hand"
EXPLORATORY = "TransformerLens, Exploratory Analysis and Attribution Patching demos"

WORDS = (
    *("Spain", "Italy", "France", "Japan", "Greece", "Cuba", "Portugal", "China"),
    *("Belize", "Somalia", "Indonesia", "Albania", "Ukraine", "Uruguay", "Qatar", "Jordan"),
    *("Mozambique", "Switzerland", "Lebanon", "Eswatini"),
)
TEMPLATES = ("The language of {} is", "The continent of {} is", "The capital of {} is")

CLASSICS = (
    Classic(
        name="indirect_objects",
        title="Indirect objects",
        question="Which heads carry the answer to the last token?",
        paper=Paper(
            "Wang et al.",
            2022,
            "Interpretability in the Wild: a Circuit for Indirect Object Identification in GPT-2 "
            "small",
            "https://arxiv.org/abs/2211.00593",
        ),
        see="A few heads restore most of the logit difference, and some lower it. In the built-in "
        "model one head does nearly all of it; in GPT-2 small, name movers and the heads that "
        "steer them share the work.",
        forms=(
            Form(
                "built_in",
                "capitals",
                {"pairs": CAPITALS, "component": "block_output", "layer": 3},
                {
                    "logit difference": Expected(9.6589, 1e-3),
                    "recovery, block_output 3, last token": Expected(0.9937, 1e-3),
                    "head that recovers most": Expected("3.2"),
                    "its recovery": Expected(0.8962, 1e-3),
                },
                HERE,
            ),
            Form(
                "smollm2",
                "smollm2",
                {"pairs": NAMES[:2], "component": "block_output", "layer": 25},
                {
                    "logit difference": Expected(3.6391, 0.005),
                    "recovery, block_output 25, last token": Expected(0.9365, 0.005),
                    "head that recovers most": Expected("23.3"),
                    "its recovery": Expected(0.6787, 0.005),
                    "most negative head": Expected("29.0"),
                    "recovery of that": Expected(-0.244, 0.005),
                },
                HERE,
            ),
            Form(
                "published",
                GPT2,
                {"pairs": NAMES_AFTER_START, "component": "block_input", "layer": 9},
                {
                    "logit difference": Expected(3.5519, 1e-3),
                    "recovery, block_input 9, last token": Expected(0.938, 5e-3),
                    "head that recovers most": Expected("8.6"),
                    "its recovery": Expected(0.3186, 0.02),
                    "most negative head": Expected("10.7"),
                    "recovery of that": Expected(-0.4799, 0.02),
                },
                f"{EXPLORATORY}; their map over heads patches all tokens, this one the last",
            ),
        ),
        experiment=indirect_objects,
    ),
    Classic(
        name="self_repair",
        title="Self-repair",
        question="Does the model lose what a head writes, if the head is taken away?",
        paper=Paper(
            "Wang et al.",
            2022,
            "Interpretability in the Wild: a Circuit for Indirect Object Identification in GPT-2 "
            "small",
            "https://arxiv.org/abs/2211.00593",
        ),
        see="The model loses less than the head writes: the head named here matters more than "
        "before, once the first is gone. The map has every other head's effect with that head out.",
        forms=(
            Form(
                "built_in",
                "capitals",
                {"pairs": CAPITALS, "movers": [(4, 1)]},
                {
                    "written by the heads": Expected(0.847, 0.001),
                    "lost without them": Expected(0.4271, 0.001),
                    "made up for": Expected(0.4958, 0.001),
                    "head that matters more than before": Expected("3.3"),
                    "by": Expected(0.0869, 0.001),
                },
                HERE,
            ),
            Form(
                "smollm2",
                "smollm2",
                {"pairs": NAMES[:2], "movers": [(23, 2)]},
                {
                    "written by the heads": Expected(0.264, 0.005),
                    "lost without them": Expected(-0.331, 0.005),
                    "head that matters more than before": Expected("23.3"),
                    "by": Expected(0.2458, 0.005),
                },
                HERE,
            ),
            Form(
                "published",
                GPT2,
                {"pairs": NAMES, "movers": [(9, 9), (9, 6), (10, 0)]},
                {"share of the logit difference lost": Expected(0.05, 0.15)},
                "Wang et al. 2022, §3.4: about 5 %, over their own prompts and with mean ablation, "
                "hence the wide tolerance",
            ),
        ),
        experiment=self_repair,
    ),
    Classic(
        name="copy_suppression",
        title="“All's fair in love and”",
        question="Can a head keep a model from repeating a word of its prompt?",
        paper=Paper(
            "McDougall et al.",
            2023,
            "Copy Suppression: Comprehensively Understanding an Attention Head",
            "https://arxiv.org/abs/2310.04625",
        ),
        see="With one head off, a word of the prompt becomes several times more likely. In GPT-2 "
        "small the proverb then ends in “love” instead of “war”.",
        forms=(
            Form(
                "built_in",
                "capitals",
                {"prompt": "The capital of France is", "layer": 3, "head": 1, "copied": " France"},
                {"rise in nats": Expected(1.7816, 0.001)},
                HERE,
            ),
            Form(
                "smollm2",
                "smollm2",
                {"prompt": "All's fair in love and", "layer": 23, "head": 3, "copied": " love"},
                {
                    "P( love)": Expected(0.0374, 0.005),
                    "P( love) without the head": Expected(0.2268, 0.005),
                },
                HERE,
            ),
            Form(
                "published",
                GPT2,
                {
                    "prompt": "<|endoftext|>All's fair in love and",
                    "layer": 10,
                    "head": 7,
                    "copied": " love",
                },
                {
                    "next token": Expected(" war"),
                    "next token without the head": Expected(" love"),
                },
                "McDougall et al. 2023, Figure 1; the head is zeroed here, mean-ablated there",
            ),
        ),
        experiment=copy_suppression,
    ),
    Classic(
        name="causal_tracing",
        title="The Space Needle",
        question="Which state brings a fact back, once noise has destroyed the subject?",
        paper=Paper(
            "Meng et al.",
            2022,
            "Locating and Editing Factual Associations in GPT",
            "https://arxiv.org/abs/2202.05262",
        ),
        see="Two sites restore the answer: the subject's last token in early layers, and the last "
        "token in late ones.",
        forms=(
            Form(
                "built_in",
                "capitals",
                {
                    "prompt": "The capital of Spain is",
                    "subject": [3],
                    "answer": " Madrid",
                    "scale": 1.0,
                    "seeds": list(range(10)),
                },
                {
                    "clean probability": Expected(0.9424, 0.001),
                    "corrupted probability": Expected(0.0592, 0.001),
                    "restored at the subject's last token": Expected(0.9298, 0.001),
                    "restored at the last token": Expected(0.9476, 0.001),
                    "last layer at the subject": Expected(2, 0),
                    "first layer at the last token": Expected(3, 0),
                },
                HERE,
            ),
            Form(
                "published",
                "openai-community/gpt2-xl",
                {
                    "prompt": "The Space Needle is in downtown",
                    "subject": [0, 1, 2, 3],
                    "answer": " Seattle",
                    "scale": 0.1346,
                    "seeds": [1],
                },
                {
                    "clean probability": Expected(0.9764, 2e-3),
                    "corrupted probability": Expected(0.0262, 0.1),
                },
                "pyvene, Causal_Tracing notebook, after Meng et al. 2022; the noise is another "
                "draw, hence the wide tolerance",
            ),
        ),
        experiment=causal_tracing,
    ),
    Classic(
        name="negative_heads",
        title="What a probability hides",
        question="Why read a logit difference, and not a probability?",
        paper=Paper(
            "Heimersheim & Nanda",
            2024,
            "How to use and interpret activation patching",
            "https://arxiv.org/abs/2404.15255",
        ),
        see="In probability, one tile stands out and no head seems to lower the answer. In logits "
        "some do: a probability near 0 can hardly fall, so only a logit difference shows them.",
        forms=(
            Form(
                "built_in",
                "capitals",
                {"pairs": CAPITALS[:1]},
                {
                    "most negative head": Expected("4.2"),
                    "logits that it takes": Expected(0.2003, 0.001),
                    "share of the largest effect, in logits": Expected(0.0169, 0.001),
                    "share of the largest effect, in probability": Expected(0.0002, 0.0001),
                },
                HERE,
            ),
            Form(
                "smollm2",
                "smollm2",
                {"pairs": NAMES[:2]},
                {
                    "most negative head": Expected("29.0"),
                    "logits that it takes": Expected(1.7757, 0.005),
                    "share of the largest effect, in logits": Expected(0.3594, 0.005),
                    "share of the largest effect, in probability": Expected(0.0343, 0.005),
                },
                HERE,
            ),
            Form(
                "published",
                GPT2,
                {"pairs": NAMES_AFTER_START},
                {"most negative head": Expected("10.7")},
                f"{EXPLORATORY}; Zhang & Nanda 2023, "
                "https://arxiv.org/abs/2309.16042, §4.2, on why "
                "a probability hides it",
            ),
        ),
        experiment=negative_heads,
    ),
    Classic(
        name="subspace_illusion",
        title="The subspace illusion",
        question="Does a direction whose patch works carry the information?",
        paper=Paper(
            "Makelov et al.",
            2023,
            "Is This the Subspace You Are Looking for? An Interpretability Illusion for Subspace "
            "Activation Patching",
            "https://arxiv.org/abs/2311.17030",
        ),
        see="A patch along one direction turns the answer, a patch of the whole state does not. "
        "Of the direction's two parts, neither turns it alone: along one the answer has no "
        "gradient, and along the other the prompts do not differ.",
        forms=(
            Form(
                "built_in",
                "capitals",
                {"pair": CAPITALS[0], "component": "mlp_activation", "layer": 5, "position": -1},
                {
                    "logit difference, base": Expected(-7.0739, 0.001),
                    "logit difference, whole state": Expected(-4.4352, 0.001),
                    "logit difference, direction": Expected(2.5672, 0.001),
                    "logit difference, disconnected part": Expected(-3.9895, 0.001),
                    "logit difference, dormant part": Expected(-7.0739, 0.001),
                    "next token, whole state": Expected(" Madrid"),
                    "next token, direction": Expected(" Rome"),
                },
                HERE,
            ),
            Form(
                "published",
                GPT2,
                {},
                {
                    "logit difference, base": Expected(3.364, 0.01),
                    "logit difference, direction": Expected(1.821, 0.01),
                    "logit difference, disconnected part": Expected(3.364, 0.01),
                    "logit difference, dormant part": Expected(2.918, 0.01),
                },
                "Makelov et al. 2023, `ioi_analysis.ipynb`: a direction in MLP 8, trained on 2,000 "
                "prompts",
                blocker="its direction was trained on 2,000 prompts and is not published",
            ),
        ),
        experiment=subspace_illusion,
    ),
    Classic(
        name="greater_than",
        title="Greater-than",
        question="Does a model know which years may follow?",
        paper=Paper(
            "Hanna et al.",
            2023,
            "How does GPT-2 compute greater-than?: Interpreting mathematical abilities in a "
            "pre-trained language model",
            "https://arxiv.org/abs/2305.00586",
        ),
        see="Later years get more probability than earlier ones. The map shows where a patch of "
        "the year moves that.",
        forms=(
            Form(
                "smollm2",
                "smollm2",
                {"count": 24, "width": 1},
                {
                    "probability difference": Expected(0.6198, 0.005),
                    "prompts with a positive one": Expected(1.0, 0.0),
                },
                HERE,
            ),
            Form(
                "published",
                GPT2,
                {"count": 100, "width": 2},
                {"probability difference": Expected(0.817, 0.08)},
                "Hanna et al. 2023: 81.7 % (SD 19.3) over 10,000 prompts with 120 nouns; here 100 "
                "prompts with other nouns, hence the wide tolerance",
            ),
        ),
        experiment=greater_than,
    ),
    Classic(
        name="probe_and_patch",
        title="Probe against intervention",
        question="Is information that a probe can read also used?",
        paper=Paper(
            "Ravichander et al.",
            2021,
            "Probing the Probing Paradigm: Does Probing Accuracy Entail Task Relevance?",
            "https://arxiv.org/abs/2005.00719",
        ),
        see="At the country's token a linear probe reads the country in every layer. A patch there "
        "moves the answer in the lower layers only: above them the information is there and not "
        "used.",
        forms=(
            Form(
                "built_in",
                "capitals",
                {"templates": TEMPLATES, "words": WORDS, "position": 3},
                {
                    "accuracy of the probe, first layer": Expected(1.0, 0.0),
                    "recovery by a patch, first layer": Expected(0.978, 0.001),
                    "accuracy of the probe, last layer but one": Expected(1.0, 0.0),
                    "recovery by a patch, last layer but one": Expected(-0.0029, 0.001),
                },
                HERE,
            ),
            Form(
                "published",
                "EleutherAI/pythia-70m",
                {},
                {
                    "accuracy of the probe, first layer": Expected(0.96, 0.04),
                },
                "pyvene, Probing_Gender notebook: a probe reads gender at every token, an "
                "intervention moves the pronoun at one",
                blocker="its interventions are trained subspaces, which are not published",
            ),
        ),
        experiment=probe_and_patch,
    ),
    Classic(
        name="estimate_and_exact",
        title="Estimate against exact",
        question="How good is attribution patching?",
        paper=Paper(
            "Nanda",
            2023,
            "Attribution Patching: Activation Patching At Industrial Scale",
            "https://www.neelnanda.io/mechanistic-interpretability/attribution-patching",
        ),
        see="One step along the gradient misses large effects, tiles that are ringed. Integrated "
        "gradients find nearly all of them (Kramár et al. 2024, “AtP*”, on why one step fails).",
        forms=(
            Form(
                "built_in",
                "capitals",
                {"pairs": CAPITALS, "components": ["block_output"], "steps": 5},
                {
                    "r, one step": Expected(0.7286, 0.001),
                    "r, 5 steps": Expected(0.9975, 0.001),
                    "large effects that one step misses, over all pairs": Expected(37, 0),
                },
                HERE,
            ),
            Form(
                "published",
                GPT2,
                {
                    "pairs": NAMES_AFTER_START,
                    "components": ["block_input", "attention_output", "mlp_output"],
                    "steps": 5,
                },
                {"r, one step": Expected(0.739, 0.02), "cells": Expected(540)},
                "TransformerLens, Attribution Patching demo: r = 0.739 over the 540 cells of its "
                "three maps",
            ),
        ),
        experiment=estimate_and_exact,
    ),
)
