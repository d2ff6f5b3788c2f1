"""load() and wrap(): make a LanguageModel from a name, a folder or the user's own objects."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from vene_widgets.errors import RequestError, shown
from vene_widgets.models import hub, smollm2
from vene_widgets.models.language_model import LanguageModel
from vene_widgets.models.placement import choose_device, choose_dtype, dtype_option, place
from vene_widgets.models.runnable import require_runnable
from vene_widgets.models.sites import require_architecture
from vene_widgets.models.unwrapping import unwrapped

if TYPE_CHECKING:
    import torch
    from torch import nn

BUILT_IN = ("capitals", "smollm2")
"""Models that come from this package or are fetched by its command: the only ones that a share
token may load."""

CAPITALS = Path(__file__).parent / "capitals"
NAME_CHARACTERS = 1_000
"""Longest name or path that is looked up."""

WEIGHTS = ("model.safetensors", "model.safetensors.index.json")


def load(
    name: str | os.PathLike[str] = "capitals",
    *,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype | None = None,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> LanguageModel:
    """Load a causal language model and its tokenizer, in evaluation mode.

    Only safetensors weights are read, and code from a model's repository is never run. Without a
    network, hub models load from the cache.

    Args:
        name: `"capitals"` (built in, never downloads), `"smollm2"` (after
            `vene-widgets fetch smollm2`), a local folder, or a name on the Hugging Face hub. To
            load a folder that is itself named `capitals` or `smollm2`, pass `./capitals` or a
            `pathlib.Path`, which always means a folder.
        device: `"auto"` (CUDA, else MPS, else CPU), or one of them by name, as in `"cuda:1"`.
        dtype: `"float32"`, `"bfloat16"`, `"float16"`, `"float64"` or the torch dtype. None means
            float32, whatever the weights were saved in: interventions compare small differences.
        revision: branch, tag or commit of a hub model.
        cache_dir: cache folder of the hub's client; None means its default (`HF_HOME`).

    Raises:
        RequestError: unknown device or dtype, unknown architecture (found before any weights are
            read), a model that is unavailable, or weights that are incomplete or not safetensors.
    """
    _require_name(name)
    torch_device = choose_device(device)
    torch_dtype = choose_dtype(dtype, torch_device)
    folder = _find_folder(name)
    text = os.fspath(name)
    if folder is not None and revision is not None:
        raise RequestError(
            f"revision must be None for a folder on this machine ({shown(text)}), got "
            f"{shown(revision)}: only hub models have revisions."
        )
    if folder is not None:
        source = _ModelSource(text, str(folder), {"local_files_only": True})
    else:
        options: dict[str, Any] = {"revision": revision or "main", "cache_dir": cache_dir}
        reason = hub.unreachable_reason()
        options["local_files_only"] = bool(reason)
        source = _ModelSource(text, text, options, is_hub=True, reason=reason)
    model = source.read_model(torch_dtype)
    tokenizer = source.read_tokenizer()
    _check_vocabulary(model, tokenizer, special=False)
    written = text
    if isinstance(name, os.PathLike) and Path(text).name == text:
        written = f".{os.sep}{text}"  # a bare word would be the name of a model
    return LanguageModel(
        _shown_name(written),
        place(model, torch_device).eval(),
        tokenizer,
        _recipe(written, device=torch_device, dtype=dtype, revision=revision, cache_dir=cache_dir),
        written if folder is not None and written not in BUILT_IN else None,
    )


def _shown_name(name: str) -> str:
    """A model's name; of a path its last part, so that no figure or page shows where it lies."""
    path = Path(name).expanduser()
    is_local = path.is_absolute() or (name not in BUILT_IN and path.is_dir())
    return (path.name or path.resolve().name or name) if is_local else name


def _recipe(name: str, **options: object) -> str:
    """Source code of the `load` call that gives the same model, on the same kind of device."""
    arguments = [json.dumps(name)]
    for key, value in options.items():
        if value is not None:
            arguments.append(f"{key}={json.dumps(str(value).removeprefix('torch.'))}")
    return f"load({', '.join(arguments)})"


def wrap(model: nn.Module, tokenizer: Any, name: str | None = None) -> LanguageModel:
    """Wrap the user's own model and tokenizer, without modifying either.

    Training mode, hooks, gradient flags, device, dtype and config stay as they are; runs are in
    evaluation mode.

    Args:
        model: a Hugging Face causal language model of a known family (`docs/families.md`).
        tokenizer: the tokenizer that belongs to it.
        name: its name; None means the name in its config, else its class.

    Raises:
        RequestError: another kind of model or tokenizer, weights without data, or a tokenizer with
            ids that the model does not embed.
    """
    _require_module(model)
    _require_tokenizer(tokenizer)
    if name is None:
        config: Any = getattr(model, "config", None)
        name = _shown_name(str(getattr(config, "name_or_path", "")) or type(model).__name__)
    wrapped = LanguageModel(name, model, tokenizer)
    require_runnable(wrapped.name, unwrapped(model), wrapped.sites)
    _check_vocabulary(model, tokenizer, special=True)
    return wrapped


TOKENIZER_FILES = (
    *("tokenizer*.json", "tokenizer.model*", "vocab*", "*.tiktoken"),
    *("spiece.model", "sentencepiece*.model", "tekken.json"),
)
"""Files in one of which a tokenizer is saved."""


@dataclass(frozen=True)
class _ModelSource:
    """A folder, or the hub with its cache, to load a model and its tokenizer from.

    Attributes:
        name: the user's argument.
        source: first argument of `from_pretrained`.
        options: its keyword arguments.
        is_hub: whether the source is the hub.
        reason: why the hub is unreachable; `""` if it answers or is not used.
    """

    name: str
    source: str
    options: Mapping[str, Any]
    is_hub: bool = False
    reason: str = ""

    def read_model(self, dtype: torch.dtype) -> nn.Module:
        """Read the model into main memory; check its architecture before reading its weights.

        Raises:
            RequestError: the model is unavailable, or its weights are incomplete.
        """
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
        if int(transformers.__version__.partition(".")[0]) >= 5:
            # With PEFT installed, transformers looks for an adapter. Version 4 looks where it looks
            # for the model, version 5 by default on the hub.
            where = ("local_files_only", "cache_dir")
            options["adapter_kwargs"] = {name: options[name] for name in where if name in options}
        try:
            with hub.quiet(downloads=True):
                # from_pretrained is untyped.
                auto_model = cast("Any", transformers.AutoModelForCausalLM)
                model, info = auto_model.from_pretrained(self.source, **options)
        except Exception as error:
            raise self._load_error(error) from error
        # transformers initialises missing weights at random and only warns.
        if missing := sorted(info["missing_keys"]):
            raise RequestError(
                f"model {shown(self.name)} has no saved values for {len(missing)} of its weights "
                f"({', '.join(missing[:3])}, …); they would be random numbers. Expected a "
                "checkpoint of a whole causal language model, output head included."
            )
        return model

    def read_tokenizer(self) -> Any:
        """Read the tokenizer beside the weights.

        Raises:
            RequestError: there is none, or it cannot be read.
        """
        import transformers

        files = TOKENIZER_FILES if not self.is_hub else ()
        if files and not any(next(Path(self.source).glob(file), None) for file in files):
            raise self._no_tokenizer()
        try:
            with hub.quiet():
                auto_tokenizer = cast("Any", transformers.AutoTokenizer)
                tokenizer = auto_tokenizer.from_pretrained(
                    self.source, trust_remote_code=False, **self.options
                )
        except Exception as error:
            raise self._load_error(error, "its tokenizer ") from error
        # transformers makes an empty tokenizer where some families have none saved.
        if not set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens):
            raise self._no_tokenizer()
        return tokenizer

    def _no_tokenizer(self) -> RequestError:
        return RequestError(
            f"model {shown(self.name)} has no tokenizer beside its weights. Save one there with "
            "tokenizer.save_pretrained(folder), or pass both objects to "
            "vene_widgets.wrap(model, tokenizer)."
        )

    def _check_architecture(self) -> None:
        import transformers

        try:
            with hub.quiet():
                base_config = cast("Any", transformers.PretrainedConfig)
                config, _ = base_config.get_config_dict(self.source, **self.options)
        except Exception as error:
            raise self._load_error(error) from error
        if not config:
            raise self._load_error(FileNotFoundError("it has no config.json"))
        require_architecture(
            config.get("model_type", "(none in config.json)"), f"model {shown(self.name)}: "
        )

    def _check_weights(self) -> None:
        """Check that there are safetensors weights.

        Without this check transformers would request a conversion of pickled weights from the hub.
        """
        from transformers.utils import hub as transformers_hub

        cached_file = cast("Any", transformers_hub).cached_file
        try:
            with hub.quiet(downloads=True):
                files = [
                    cached_file(
                        self.source,
                        file,
                        **self.options,
                        _raise_exceptions_for_missing_entries=False,
                    )
                    for file in WEIGHTS
                ]
        except Exception as error:
            raise self._load_error(error) from error
        if not any(files):
            raise self._load_error(
                FileNotFoundError(
                    f"it has no safetensors weights ({WEIGHTS[0]}); pickled ones "
                    "(pytorch_model.bin) can run code and are never read"
                )
            )

    def _load_error(self, error: Exception, part: str = "") -> RequestError:
        """Describe what was tried, why it failed, and what works instead.

        Args:
            error: the library's exception.
            part: what could not be loaded, `""` for the model itself.
        """
        if isinstance(error, RequestError):
            return error
        cache = self.options.get("cache_dir")
        reason = hub.one_line(error)
        if not self.is_hub:
            tried = f"folder {self.source}"
        elif self.reason:
            tried = f"cache folder {hub.cache_folder(cache)}, since the hub is unreachable"
            # The library's own message about the connection adds nothing to the probe's.
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
            f"model {shown(self.name)}: {part}could not be loaded. Tried: {tried}. Reason: "
            f"{reason.rstrip('.')}.{guess} Works without the hub: 'capitals' (built in); {second}; "
            f"a local folder with config.json, tokenizer and model.safetensors; hub models in the "
            f"cache: {cached}."
        )


def _require_name(name: object) -> None:
    """Check that the argument of `load` is a name or a path.

    Raises:
        RequestError: another type, for instance a model.
    """
    if not isinstance(name, (str, os.PathLike)):
        raise RequestError(
            f"name must be the name of a model or a folder, got a {type(name).__name__}. "
            "For a model that is already in memory: vene_widgets.wrap(model, tokenizer)."
        )
    text = os.fsdecode(cast("str | os.PathLike[str]", name))
    if len(text) > NAME_CHARACTERS or "\0" in text:
        raise RequestError(
            f"name {shown(text)} is no name of a model or folder: expected at most "
            f"{NAME_CHARACTERS} characters of text."
        )


def _require_module(model: object) -> None:
    """Check that the first argument of `wrap` is a torch module.

    Raises:
        RequestError: another type, for instance a `LanguageModel` or a name.
    """
    from torch import nn

    if isinstance(model, LanguageModel):
        raise RequestError(
            "model is a LanguageModel already; use it as it is, or wrap its .model and .tokenizer."
        )
    if not isinstance(model, nn.Module):
        raise RequestError(
            f"model must be a torch module, for instance GPT2LMHeadModel, got a "
            f"{type(model).__name__}. To load one by name: vene_widgets.load(name)."
        )


def _require_tokenizer(tokenizer: object) -> None:
    """Check that a tokenizer has the methods that `LanguageModel` uses.

    Raises:
        RequestError: it does not.
    """
    from torch import nn

    methods = ("decode", "convert_ids_to_tokens")
    has_methods = callable(tokenizer) and all(hasattr(tokenizer, method) for method in methods)
    if isinstance(tokenizer, nn.Module) or not has_methods:
        raise RequestError(
            f"tokenizer must be a Hugging Face tokenizer, which is callable with a text and has "
            f"decode() and convert_ids_to_tokens(), got a {type(tokenizer).__name__}."
        )


def _find_folder(name: str | os.PathLike[str]) -> Path | None:
    """The folder that a name stands for; None for a name on the hub.

    Raises:
        RequestError: the folder does not exist.
    """
    if name == "capitals":
        return CAPITALS
    if name == "smollm2":
        return smollm2.require()
    path = Path(name).expanduser()
    if name and path.is_dir():
        return path
    if path.is_file():
        raise RequestError(
            f"name {shown(name)} is a file: expected the folder that has config.json."
        )
    # Anything that can only be a path must not be looked up on the hub.
    text = os.fspath(name)
    is_path = text != name or path.is_absolute() or "\\" in text or text.count("/") > 1
    if is_path or not text or text[0] in ".~":
        raise RequestError(
            f"folder {shown(text)} does not exist. Valid: 'capitals', 'smollm2', an existing "
            "folder, or a hub name such as 'gpt2' or 'owner/model'."
        )
    return None


def _check_vocabulary(model: nn.Module, tokenizer: Any, special: bool) -> None:
    """Check that the model embeds every id of a tokenizer.

    Args:
        model: the Hugging Face model.
        tokenizer: the tokenizer.
        special: whether special tokens count too. Published checkpoints often have a padding token
            without an embedding; no prompt contains it.

    Raises:
        RequestError: an id is beyond the model's vocabulary. Nothing is checked if the embedding
            is of a kind that does not tell its size.
    """
    embedding: nn.Module = cast("Any", model).get_input_embeddings()
    # It may be wrapped, by an adapter for instance.
    sizes = (getattr(module, "num_embeddings", None) for module in embedding.modules())
    rows = next((size for size in sizes if isinstance(size, int)), None)
    if rows is None:
        return
    try:
        vocabulary: dict[str, int] = tokenizer.get_vocab()
    except (AttributeError, NotImplementedError):
        return
    ignored: set[int] = set() if special else set(getattr(tokenizer, "all_special_ids", ()))
    beyond = {id_: text for text, id_ in vocabulary.items() if id_ >= rows and id_ not in ignored}
    if beyond:
        first = min(beyond)
        raise RequestError(
            f"tokenizer has {len(beyond)} ids beyond the model's vocabulary, from {first} "
            f"({shown(beyond[first])}) on; the model embeds ids 0 to {rows - 1}. Use the tokenizer "
            "that belongs to the model, or add rows to its embedding with "
            "model.resize_token_embeddings(len(tokenizer))."
        )
