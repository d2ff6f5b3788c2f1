"""The expected figures of the classics, computed again by hooks on the model's own modules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import vene_widgets as vw
from vene_widgets.replications.prompts import CAPITALS, NAMES, Pair

Edit = tuple[Any, int, Callable[[Tensor], Tensor]]
"""A site, a position, and what its vector there becomes."""


def ids(model: vw.LanguageModel, prompt: str) -> Tensor:
    return torch.tensor([[token.id for token in model.tokens(prompt)]], device=model.device)


def logits(model: vw.LanguageModel, prompt: str, edits: Sequence[Edit] = ()) -> Tensor:
    """Logits at the last position of a plain call of the model, with vectors changed by hooks."""
    handles = []
    for site, position, change in edits:
        module = model.model.get_submodule(site.path)

        def new(
            tensor: Tensor, site: Any = site, at: int = position, change: Any = change
        ) -> Tensor:
            copied = tensor.clone()
            copied[0, at, site.start : site.stop] = change(tensor[0, at, site.start : site.stop])
            return copied

        def before(_module: Any, args: Any, kwargs: Any, new: Any = new) -> Any:
            if args:
                return (new(args[0]), *args[1:]), kwargs
            return args, {**kwargs, "hidden_states": new(kwargs["hidden_states"])}

        def after(_module: Any, _args: Any, output: Any, new: Any = new) -> Any:
            return (new(output[0]), *output[1:]) if isinstance(output, tuple) else new(output)

        if site.side == "input":
            handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
        else:
            handles.append(module.register_forward_hook(after))
    try:
        return model.model(input_ids=ids(model, prompt)).logits[0, -1].double()
    finally:
        for handle in handles:
            handle.remove()


def states(model: vw.LanguageModel, prompt: str, site: Any) -> Tensor:
    """`(positions, width)` at a site in a plain run."""
    found: list[Tensor] = []
    count = len(model.tokens(prompt))
    edits = []
    for position in range(count):

        def keep(vector: Tensor) -> Tensor:
            found.append(vector.detach().clone())
            return vector

        edits.append((site, position, keep))
    with torch.no_grad():
        logits(model, prompt, edits)
    return torch.stack(found)


def z(model: vw.LanguageModel, layer: int, head: int) -> Any:
    return model.sites.site(layer, "head_attention_value_output", head)


def difference(model: vw.LanguageModel, one: Tensor, answer: str, other: str) -> float:
    right, wrong = model.resolve_tokens([answer, other])
    return (one[right] - one[wrong]).item()


def patched(model: vw.LanguageModel, pair: Pair, site: Any, position: int = -1) -> Tensor:
    base, source = pair[:2]
    state = states(model, source, site)[position]
    with torch.no_grad():
        return logits(model, base, [(site, position, lambda _: state)])


def plain(model: vw.LanguageModel, prompt: str) -> Tensor:
    with torch.no_grad():
        return logits(model, prompt)


def zeroed(model: vw.LanguageModel, prompt: str, *heads: tuple[int, int]) -> Tensor:
    edits: list[Edit] = [(z(model, *head), -1, torch.zeros_like) for head in heads]
    with torch.no_grad():
        return logits(model, prompt, edits)


def expected(classic: str, form: str = "built_in") -> dict[str, Any]:
    """Figure -> (value, tolerance) as frozen."""
    found = vw.classics()[classic].form(form).expected
    return {name: (one.value, one.tolerance) for name, one in found.items()}


def check(classic: str, by_hand: dict[str, Any], form: str = "built_in") -> None:
    """Every frozen figure of a form is what was found by hand."""
    frozen = expected(classic, form)
    assert by_hand.keys() == frozen.keys()
    for name, (value, tolerance) in frozen.items():
        if isinstance(value, str):
            assert by_hand[name] == value, name
        else:
            assert by_hand[name] == pytest.approx(value, abs=max(tolerance, 1e-9)), name


def heads_of(model: vw.LanguageModel) -> list[tuple[int, int]]:
    return [(layer, head) for layer in range(model.sites.layers) for head in range(4)]


def recovery_of(model: vw.LanguageModel, pairs: Sequence[Pair], site: Any) -> float:
    """Of the means over pairs."""
    base = np.mean([difference(model, plain(model, p[0]), *p[2:]) for p in pairs])
    source = np.mean([difference(model, plain(model, p[1]), *p[2:]) for p in pairs])
    new = np.mean([difference(model, patched(model, p, site), *p[2:]) for p in pairs])
    return float((new - base) / (source - base))


def test_indirect_objects_in_the_built_in_model(capitals: vw.LanguageModel) -> None:
    found = {
        head: recovery_of(capitals, CAPITALS, z(capitals, *head)) for head in heads_of(capitals)
    }
    best = max(found, key=lambda head: found[head])
    source = [difference(capitals, plain(capitals, p[1]), *p[2:]) for p in CAPITALS]
    by_hand = {
        "logit difference": np.mean(source),
        "recovery, block_output 3, last token": recovery_of(
            capitals, CAPITALS, capitals.sites.site(3, "block_output")
        ),
        "head that recovers most": f"{best[0]}.{best[1]}",
        "its recovery": found[best],
    }
    check("indirect_objects", by_hand)


def test_indirect_objects_in_smollm2(smollm2: vw.LanguageModel) -> None:
    pairs = NAMES[:2]
    values = {(23, 3): 0.0, (29, 0): 0.0, (29, 1): 0.0, (24, 4): 0.0}
    found = {head: recovery_of(smollm2, pairs, z(smollm2, *head)) for head in values}
    source = [difference(smollm2, plain(smollm2, p[1]), *p[2:]) for p in pairs]
    by_hand = {
        "logit difference": np.mean(source),
        "recovery, block_output 25, last token": recovery_of(
            smollm2, pairs, smollm2.sites.site(25, "block_output")
        ),
        "head that recovers most": "{}.{}".format(*max(found, key=lambda head: found[head])),
        "its recovery": found[23, 3],
        "most negative head": "{}.{}".format(*min(found, key=lambda head: found[head])),
        "recovery of that": found[29, 0],
    }
    check("indirect_objects", by_hand, "smollm2")


def written(model: vw.LanguageModel, prompt: str, head: tuple[int, int], *answers: str) -> float:
    """What a head's output adds to the logit difference, by the weights, the last norm held."""
    layer, number = head
    inner: Any = (
        model.model.transformer if hasattr(model.model, "transformer") else model.model.model
    )
    right, wrong = model.resolve_tokens(list(answers))
    unembed = model.model.lm_head.weight[right] - model.model.lm_head.weight[wrong]
    vector = states(model, prompt, z(model, layer, number))[-1]
    final = states(model, prompt, model.sites.site(model.sites.layers - 1, "block_output"))[-1]
    width = len(vector)
    rows = slice(number * width, (number + 1) * width)
    if hasattr(inner, "ln_f"):
        added = vector @ inner.h[layer].attn.c_proj.weight[rows]
        scale = (final.var(unbiased=False) + inner.ln_f.eps).sqrt()
        return ((added - added.mean()) / scale * inner.ln_f.weight @ unembed).item()
    added = inner.layers[layer].self_attn.o_proj.weight[:, rows] @ vector
    scale = (final.square().mean() + inner.norm.variance_epsilon).sqrt()
    return (added / scale * inner.norm.weight @ unembed).item()


def repair(
    model: vw.LanguageModel, pairs: Sequence[Pair], mover: tuple[int, int], others: Any
) -> dict[str, Any]:
    direct = np.mean([written(model, p[1], mover, *p[2:]) for p in pairs])

    def mean(*heads: tuple[int, int]) -> float:
        return float(
            np.mean([difference(model, zeroed(model, p[1], *heads), *p[2:]) for p in pairs])
        )

    whole, without = mean(), mean(mover)
    lost = whole - without
    more = {
        head: (without - mean(mover, head)) - (whole - mean(head))
        for head in others
        if head != mover
    }
    backup = max(more, key=lambda head: more[head])
    return {
        "written by the heads": direct,
        "lost without them": lost,
        "made up for": 1 - lost / direct,
        "head that matters more than before": f"{backup[0]}.{backup[1]}",
        "by": more[backup],
    }


def test_self_repair_in_the_built_in_model(capitals: vw.LanguageModel) -> None:
    check("self_repair", repair(capitals, CAPITALS, (4, 1), heads_of(capitals)))


def test_self_repair_in_smollm2(smollm2: vw.LanguageModel) -> None:
    by_hand = repair(smollm2, NAMES[:2], (23, 2), [(23, 3), (29, 1)])
    del by_hand["made up for"]
    check("self_repair", by_hand, "smollm2")


def test_copy_suppression(capitals: vw.LanguageModel) -> None:
    token = capitals.token_id(" France")
    before, after = (
        zeroed(capitals, "The capital of France is", *heads).log_softmax(-1)[token]
        for heads in ((), ((3, 1),))
    )
    check("copy_suppression", {"rise in nats": (after - before).item()})


def test_copy_suppression_in_smollm2(smollm2: vw.LanguageModel) -> None:
    token = smollm2.token_id(" love")
    before, after = (
        zeroed(smollm2, "All's fair in love and", *heads).softmax(-1)[token].item()
        for heads in ((), ((23, 3),))
    )
    by_hand = {"P( love)": before, "P( love) without the head": after}
    check("copy_suppression", by_hand, "smollm2")


def test_causal_tracing(capitals: vw.LanguageModel) -> None:
    prompt, token = "The capital of Spain is", capitals.token_id(" Madrid")
    first = capitals.sites.site(0, "block_input")

    def mean(restored: tuple[int, int] | None) -> float:
        found = []
        for seed in range(10):
            noise = torch.randn(128, generator=torch.Generator().manual_seed(seed))
            noise = noise.to(capitals.device)
            edits: list[Edit] = [(first, 3, lambda vector, noise=noise: vector + noise)]
            if restored is not None:
                site = capitals.sites.site(restored[0], "block_output")
                state = states(capitals, prompt, site)[restored[1]]
                edits.append((site, restored[1], lambda _, state=state: state))
            with torch.no_grad():
                found.append(logits(capitals, prompt, edits).softmax(-1)[token].item())
        return float(np.mean(found))

    cells = {(layer, at): mean((layer, at)) for layer in range(6) for at in (3, 4)}
    half = max(cells.values()) / 2
    by_hand = {
        "clean probability": plain(capitals, prompt).softmax(-1)[token].item(),
        "corrupted probability": mean(None),
        "restored at the subject's last token": max(cells[layer, 3] for layer in range(6)),
        "restored at the last token": max(cells[layer, 4] for layer in range(6)),
        "last layer at the subject": max(layer for layer in range(6) if cells[layer, 3] > half),
        "first layer at the last token": min(layer for layer in range(6) if cells[layer, 4] > half),
    }
    check("causal_tracing", by_hand)


def negative(
    model: vw.LanguageModel, pairs: Sequence[Pair], heads: Sequence[tuple[int, int]]
) -> dict[str, Any]:
    taken, fell = {}, {}
    for head in heads:
        new = [patched(model, pair, z(model, *head)) for pair in pairs]
        old = [plain(model, pair[0]) for pair in pairs]
        both = [
            (n, o, p[2:], model.token_id(p[2])) for n, o, p in zip(new, old, pairs, strict=True)
        ]
        taken[head] = np.mean(
            [difference(model, n, *a) - difference(model, o, *a) for n, o, a, _ in both]
        )
        fell[head] = np.mean([(n.softmax(-1)[t] - o.softmax(-1)[t]).item() for n, o, _, t in both])
    worst = min(taken, key=lambda head: taken[head])
    return {
        "most negative head": f"{worst[0]}.{worst[1]}",
        "logits that it takes": -taken[worst],
        "share of the largest effect, in logits": -taken[worst] / max(taken.values()),
        "share of the largest effect, in probability": -fell[worst] / max(fell.values()),
    }


def test_negative_heads(capitals: vw.LanguageModel) -> None:
    check("negative_heads", negative(capitals, CAPITALS[:1], heads_of(capitals)))


def test_negative_heads_in_smollm2(smollm2: vw.LanguageModel) -> None:
    by_hand = negative(smollm2, NAMES[:2], [(29, 0), (24, 4), (23, 3), (29, 1)])
    check("negative_heads", by_hand, "smollm2")


def slope(
    model: vw.LanguageModel, pair: Pair, site: Any, position: int, edits: Sequence[Edit] = ()
) -> Tensor:
    """Gradient of the logit difference in the base run, at one vector of one site."""
    shift = torch.zeros(site.stop - site.start, device=model.device, requires_grad=True)
    run = logits(model, pair[0], [*edits, (site, position, lambda vector: vector + shift)])
    right, wrong = model.resolve_tokens(list(pair[2:]))
    (run[right] - run[wrong]).backward()
    assert shift.grad is not None
    for parameter in model.model.parameters():
        parameter.grad = None
    return shift.grad.double()


def test_the_subspace_illusion(capitals: vw.LanguageModel) -> None:
    pair = CAPITALS[0]
    base, source, answer, other = pair
    site = capitals.sites.site(5, "mlp_activation")
    change = (states(capitals, source, site)[-1] - states(capitals, base, site)[-1]).double()
    gradient = slope(capitals, pair, site, -1)
    # Gram-Schmidt by QR: the second vector of each basis is what the first leaves over.
    disconnected = torch.linalg.qr(torch.stack([gradient, change], 1))[0][:, 1]
    dormant = torch.linalg.qr(torch.stack([change, gradient], 1))[0][:, 1]
    disconnected = disconnected * torch.sign(disconnected @ change)
    dormant = dormant * torch.sign(dormant @ gradient)
    illusion = torch.nn.functional.normalize(disconnected + dormant, dim=0)
    assert (dormant @ change).abs() < 1e-4 and (disconnected @ gradient).abs() < 1e-6

    def along(direction: Tensor) -> Tensor:
        step = ((change @ direction) * direction).float()
        with torch.no_grad():
            return logits(capitals, base, [(site, -1, lambda vector: vector + step)])

    runs = {
        "base": plain(capitals, base),
        "whole state": patched(capitals, pair, site),
        "direction": along(illusion),
        "disconnected part": along(disconnected),
        "dormant part": along(dormant),
    }
    by_hand: dict[str, Any] = {
        f"logit difference, {name}": difference(capitals, run, answer, other)
        for name, run in runs.items()
    }
    for name in ("whole state", "direction"):
        by_hand[f"next token, {name}"] = capitals.token_text(int(runs[name].argmax()))
    check("subspace_illusion", by_hand)


def test_greater_than(smollm2: vw.LanguageModel) -> None:
    digits = [smollm2.tokenizer.convert_tokens_to_ids(str(digit)) for digit in range(10)]
    found = []
    for prompt in vw.tasks.greater_than(smollm2, 24)["base"]:
        words = prompt.split()
        tens = int(words[words.index("year") + 1][2])
        follows = plain(smollm2, prompt).softmax(-1)[digits].tolist()
        found.append(sum(follows[tens + 1 :]) - sum(follows[:tens]))
    by_hand = {
        "probability difference": np.mean(found),
        "prompts with a positive one": np.mean([value > 0 for value in found]),
    }
    check("greater_than", by_hand, "smollm2")


def test_probe_and_patch(capitals: vw.LanguageModel) -> None:
    arguments = vw.classics()["probe_and_patch"].form().arguments
    templates, words = arguments["templates"], arguments["words"]
    by_hand = {}
    pair = (templates[-1].format(words[0]), templates[-1].format(words[1]), " Rome", " Madrid")
    start, end = (difference(capitals, plain(capitals, p), *pair[2:]) for p in pair[:2])
    for name, layer in (("first layer", 0), ("last layer but one", 4)):
        site = capitals.sites.site(layer, "block_output")
        read = [
            np.stack([states(capitals, t.format(w), site)[3].cpu().double().numpy() for w in words])
            for t in templates
        ]
        known, new = np.concatenate(read[:-1]), read[-1]
        centre = known.mean(0)
        penalty = 1e-2 * np.square(known - centre).sum() / known.shape[1]
        # Ridge as least squares with a row of zeros wanted for every direction.
        rows = np.concatenate([known - centre, np.sqrt(penalty) * np.eye(known.shape[1])])
        wanted = np.concatenate(
            [np.eye(len(words))] * (len(templates) - 1) + [np.zeros((128, len(words)))]
        )
        weights = np.linalg.lstsq(rows, wanted, rcond=None)[0]
        hits = ((new - centre) @ weights).argmax(1) == np.arange(len(words))
        moved = difference(capitals, patched(capitals, pair, site, 3), *pair[2:])
        by_hand[f"accuracy of the probe, {name}"] = hits.mean()
        by_hand[f"recovery by a patch, {name}"] = (moved - start) / (end - start)
    check("probe_and_patch", by_hand)


def test_estimate_and_exact(capitals: vw.LanguageModel) -> None:
    first = capitals.sites.site(0, "block_input")
    exact, one, five, missed = [], [], [], 0
    for pair in CAPITALS:
        base, source, answer, other = pair
        start = difference(capitals, plain(capitals, base), answer, other)
        begin, end = (states(capitals, prompt, first) for prompt in (base, source))
        rows: list[list[float]] = [[], [], []]
        for layer in range(6):
            site = capitals.sites.site(layer, "block_output")
            change = (states(capitals, source, site) - states(capitals, base, site)).double()
            for at in range(5):
                new = difference(capitals, patched(capitals, pair, site, at), answer, other)
                slopes = [
                    slope(
                        capitals,
                        pair,
                        site,
                        at,
                        [
                            (
                                first,
                                i,
                                lambda _, new=begin[i] + part * (end[i] - begin[i]): new,
                            )
                            for i in range(5)
                        ],
                    )
                    for part in (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)
                ]
                rows[0].append(new - start)
                rows[1].append((change[at] @ slopes[0]).item())
                rows[2].append((change[at] @ torch.stack(slopes[1:]).mean(0)).item())
        for kept, values in zip((exact, one, five), rows, strict=True):
            kept.append(values)
        largest = np.abs(rows[0]).max()
        missed += sum(
            abs(real) >= 0.25 * largest and guess * np.sign(real) < 0.5 * abs(real)
            for real, guess in zip(rows[0], rows[1], strict=True)
        )
    means = [np.mean(values, axis=0) for values in (exact, one, five)]
    by_hand = {
        "r, one step": np.corrcoef(means[0], means[1])[0, 1],
        "r, 5 steps": np.corrcoef(means[0], means[2])[0, 1],
        "large effects that one step misses, over all pairs": missed,
    }
    check("estimate_and_exact", by_hand)
