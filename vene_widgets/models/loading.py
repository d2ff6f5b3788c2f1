"""load() and wrap(): from a name, a folder or the user's own objects to a LanguageModel."""

from __future__ import annotations

import difflib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vene_widgets.errors import RequestError, choose
from vene_widgets.models import hub, smollm2
from vene_widgets.models.architectures import ARCHITECTURES
from vene_widgets.models.language_model import LanguageModel
from vene_widgets.models.placement import choose_device, choose_dtype, dtype_option, place

if TYPE_CHECKING:
    import torch
    from torch import nn

CAPITALS = Path(__file__).parent / "capitals"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")


def load(
    name: str | os.PathLike[str] = "capitals",
    *,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype | None = None,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> LanguageModel:
    """Load a causal language model and its tokenizer, ready to be explored.

    Only safetensors weights are read and no code of a model's repository is ever run. Without a
    network, hub models that lie in the cache still load. The model is in evaluation mode.

    Args:
        name: `"capitals"` (built in, never downloads), `"smollm2"` (after
            `vene-widgets fetch smollm2`), a local folder, or a name on the Hugging Face hub. To
            load a folder that is itself named `capitals` or `smollm2`, write `./capitals` or give
            a `pathlib.Path`, which is always a folder.
        device: `"auto"` (CUDA, else MPS, else CPU), or one of them by name, as in `"cuda:1"`.
        dtype: `"float32"`, `"bfloat16"`, `"float16"`, `"float64"` or the torch type. None means
            float32, whatever the weights were saved in: interventions compare small differences.
        revision: branch, tag or commit of a hub model.
        cache_dir: where hub models are kept; None means the hub's own folder (`HF_HOME`).

    Raises:
        RequestError: unknown device or dtype, unknown architecture (found before any weights are
            read), a model that cannot be had, weights that are not safetensors or not complete.
            Nothing has changed then.
    """
    if not isinstance(name, (str, os.PathLike)):
        raise RequestError(
            f"name {name!r} is a {type(name).__name__}; the name of a model or a folder is needed. "
            "For a model that you hold already: vene_widgets.wrap(model, tokenizer)."
        )
    where = choose_device(device)
    number = choose_dtype(dtype, where)
    folder = _folder(name)
    asked, name = name, os.fspath(name)
    if folder is not None and revision is not None:
        raise RequestError(
            f"revision {revision!r} is given, but {name!r} is a folder on this machine; only hub "
            "models have revisions. Leave revision out."
        )
    if folder is not None:
        origin = _Origin(name, str(folder), {"local_files_only": True})
    else:
        options = {"revision": revision or "main", "cache_dir": cache_dir}
        reason = hub.unreachable()
        origin = _Origin(name, name, {**options, "local_files_only": bool(reason)}, reason)
    model = origin.model(number)
    tokenizer = origin.tokenizer()
    _check_vocabulary(model, tokenizer, special=False)
    recipe = _recipe(asked, device=where, dtype=dtype, revision=revision, cache_dir=cache_dir)
    return LanguageModel(name, place(model, where).eval(), tokenizer, recipe)


def _recipe(name: str | os.PathLike[str], **options: Any) -> str:
    """The call of `load` that gives this model again, on this kind of device."""
    text = os.fspath(name)
    if isinstance(name, os.PathLike) and Path(text).name == text:
        text = f".{os.sep}{text}"  # a bare word would be a name
    given = {key: str(value) for key, value in options.items() if value is not None}
    said = [f"{key}={json.dumps(value.removeprefix('torch.'))}" for key, value in given.items()]
    return f"load({', '.join([json.dumps(text), *said])})"


def wrap(model: nn.Module, tokenizer: Any, name: str | None = None) -> LanguageModel:
    """Take the user's own model and tokenizer, and leave both exactly as they are.

    Training mode, hooks, gradient flags, device, number type and config stay untouched: a model in
    training mode runs with its dropout.

    Args:
        model: a Hugging Face causal language model of a known architecture.
        tokenizer: the tokenizer that belongs to it.
        name: what to call it; None means the name in its config, else its class.

    Raises:
        RequestError: not such a model or tokenizer, weights without data, or a tokenizer that has
            ids which the model does not embed.
    """
    from torch import nn

    if isinstance(model, LanguageModel):
        raise RequestError(
            "model is a LanguageModel already; use it as it is, or wrap its .model and .tokenizer."
        )
    if not isinstance(model, nn.Module):
        raise RequestError(
            f"model is a {type(model).__name__}; a torch module is needed, for instance "
            "GPT2LMHeadModel. To load one by name: vene_widgets.load(name)."
        )
    lacks = [a for a in ("decode", "convert_ids_to_tokens") if not hasattr(tokenizer, a)]
    if isinstance(tokenizer, nn.Module) or not callable(tokenizer) or lacks:
        raise RequestError(
            f"tokenizer is a {type(tokenizer).__name__}; a Hugging Face tokenizer is needed, one "
            "that can be called with a text and has decode() and convert_ids_to_tokens()."
        )
    config: Any = getattr(model, "config", None)
    own = str(getattr(config, "name_or_path", "") or type(model).__name__)
    wrapped = LanguageModel(own if name is None else name, model, tokenizer)
    if any(parameter.is_meta for parameter in model.parameters()):
        raise RequestError(
            f"model {wrapped.name!r} has weights on the meta device, which hold no numbers. Load "
            "it whole onto one device: cpu, cuda or mps."
        )
    _check_vocabulary(model, tokenizer, special=True)
    return wrapped


class _Origin:
    """One place to load from: a folder, or the hub with its cache.

    Args:
        name: what the user asked for.
        source: what `from_pretrained` takes.
        options: its keyword arguments.
        reason: why the hub cannot be asked, `""` when it can or need not.
    """

    def __init__(self, name: str, source: str, options: dict[str, Any], reason: str = "") -> None:
        self.name = name
        self.source = source
        self.options = options
        self.reason = reason
        self.is_hub = source == name and not Path(source).is_dir()

    def model(self, dtype: torch.dtype) -> nn.Module:
        """The model in main memory; its architecture is checked before its weights are read."""
        import transformers

        self._check_architecture()
        self._check_weights()
        options = {
            **self.options,
            "use_safetensors": True,
            "trust_remote_code": False,
            "output_loading_info": True,
            **dtype_option(dtype),
        }
        try:
            with hub.quiet(downloads=True):
                loaded: Any = transformers.AutoModelForCausalLM.from_pretrained(
                    self.source, **options
                )
        except Exception as error:
            raise self._failure(error) from error
        model, info = loaded
        if missing := sorted(info["missing_keys"]):
            raise RequestError(
                f"model {self.name!r} has no saved values for {len(missing)} of its weights "
                f"({', '.join(missing[:3])}, …); they would be random numbers. A checkpoint of a "
                "whole causal language model, its output head included, is needed."
            )
        return model

    def tokenizer(self) -> Any:
        """The tokenizer that lies beside the weights."""
        from transformers import AutoTokenizer

        try:
            with hub.quiet():
                return AutoTokenizer.from_pretrained(
                    self.source, trust_remote_code=False, **self.options
                )
        except Exception as error:
            raise self._failure(error, "its tokenizer ") from error

    def _check_architecture(self) -> None:
        from transformers import PretrainedConfig

        try:
            with hub.quiet():
                config, _ = PretrainedConfig.get_config_dict(self.source, **self.options)
        except Exception as error:
            raise self._failure(error) from error
        if not config:
            raise self._failure(FileNotFoundError("it has no config.json"))
        choose(
            config.get("model_type", "(none in config.json)"),
            ARCHITECTURES,
            f"model {self.name!r}: architecture",
            "To add one, write its table in vene_widgets/models/architectures/.",
        )

    def _check_weights(self) -> None:
        """Find safetensors ourselves: the library would ask the hub to convert pickled weights."""
        from transformers.utils.hub import cached_file

        try:
            with hub.quiet(downloads=True):
                found = [
                    cached_file(
                        self.source,
                        file,
                        **self.options,
                        _raise_exceptions_for_missing_entries=False,
                    )
                    for file in WEIGHTS
                ]
        except Exception as error:
            raise self._failure(error) from error
        if not any(found):
            raise self._failure(
                FileNotFoundError(
                    f"it has no safetensors weights ({WEIGHTS[0]}); pickled ones "
                    "(pytorch_model.bin) can run code and are never read"
                )
            )

    def _failure(self, error: Exception, part: str = "") -> RequestError:
        """What was tried, why it failed, and what works instead."""
        if isinstance(error, RequestError):
            return error
        cache = self.options.get("cache_dir")
        reason = hub.one_line(error)
        if not self.is_hub:
            tried = f"folder {self.source}"
        elif self.reason:
            tried = f"cache folder {hub.cache_folder(cache)}, since the hub is out of reach"
            reason = (
                self.reason if "couldn't connect" in reason.lower() else f"{self.reason}; {reason}"
            )
        else:
            tried = f"the hub (online), with cache folder {hub.cache_folder(cache)}"
        close = difflib.get_close_matches(self.name, ("capitals", "smollm2"), n=1, cutoff=0.7)
        guess = f" Did you mean {close[0]!r}?" if close and self.is_hub else ""
        cached = ", ".join(repr(model.name) for model in hub.cached_models(cache)) or "none yet"
        second = "'smollm2'" if smollm2.is_fetched() else f"'smollm2' after `{smollm2.COMMAND}`"
        return RequestError(
            f"model {self.name!r}: {part}could not be loaded. Tried: {tried}. Reason: "
            f"{reason.rstrip('.')}.{guess} Works without the hub: 'capitals' (built in); {second}; "
            f"a local folder with config.json, tokenizer and model.safetensors; hub models in the "
            f"cache: {cached}."
        )


def _folder(name: str | os.PathLike[str]) -> Path | None:
    """The folder that a name means, None for a name on the hub.

    Raises:
        RequestError: the folder is not there.
    """
    if name == "capitals":
        return CAPITALS
    if name == "smollm2":
        return smollm2.require()
    path = Path(name).expanduser()
    if name and path.is_dir():
        return path
    if path.is_file():
        raise RequestError(f"name {name!r} is a file; the folder that holds config.json is needed.")
    text = os.fspath(name)
    is_path = text != name or path.is_absolute() or "\\" in text or text.count("/") > 1
    if is_path or not text or text[0] in ".~":
        raise RequestError(
            f"folder {text!r} does not exist. Valid: 'capitals', 'smollm2', an existing folder, or "
            "a hub name such as 'gpt2' or 'owner/model'."
        )
    return None


def _check_vocabulary(model: nn.Module, tokenizer: Any, special: bool) -> None:
    """Refuse a tokenizer whose ids the model cannot embed.

    Args:
        special: whether special tokens count too. Published checkpoints often carry a padding token
            that was never embedded; no prompt reaches it.

    Raises:
        RequestError: an id is beyond the model's vocabulary.
    """
    rows = int(model.get_input_embeddings().num_embeddings)  # type: ignore[operator]
    try:
        vocabulary: dict[str, int] = tokenizer.get_vocab()
    except (AttributeError, NotImplementedError):
        return
    ignored = set() if special else set(getattr(tokenizer, "all_special_ids", ()))
    beyond = {id_: text for text, id_ in vocabulary.items() if id_ >= rows and id_ not in ignored}
    if beyond:
        first = min(beyond)
        raise RequestError(
            f"tokenizer has {len(beyond)} ids beyond the model's vocabulary, from {first} "
            f"({beyond[first]!r}) on; the model embeds ids 0 to {rows - 1}. Take the tokenizer "
            "that belongs to the model, or give the model rows for them with "
            "model.resize_token_embeddings(len(tokenizer))."
        )
