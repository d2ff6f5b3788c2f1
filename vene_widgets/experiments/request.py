"""Request: the base class of everything that a user asks for."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from vene_widgets.errors import RequestError, choose, error_text, shown

if TYPE_CHECKING:
    from typing_extensions import Self


class Request(BaseModel):
    """A frozen value, JSON both ways, whose only error is a `RequestError` of one sentence.

    Making one, `replace`, `model_validate` and `model_validate_json` raise `RequestError` instead
    of pydantic's `ValidationError`. Inside another pydantic model its problems stay pydantic's own,
    with their location.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __init__(self, /, *args: object, **fields: Any) -> None:
        if args:
            names = list(type(self).model_fields)
            raise RequestError(
                f"{type(self).__name__} takes its fields by name, as in "
                f"{type(self).__name__}({names[0]}={shown(args[0])}, {names[1]}=...)."
            )
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise RequestError(error_text(error)) from None

    # Without this mark pydantic would call `__init__` for nested requests too.
    __init__.__pydantic_base_init__ = True  # pyright: ignore[reportFunctionMemberAccess]

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Give notebooks a signature to show: names and defaults, without pydantic's validators.

        `*args` are left out: they are always refused.
        """
        parameters = inspect.signature(cls).parameters.values()
        named = [p for p in parameters if p.kind is not p.VAR_POSITIONAL]
        cls.__signature__ = inspect.Signature([p.replace(annotation=p.empty) for p in named])

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """Make one from a dict of its fields.

        Raises:
            RequestError: an invalid field.
        """
        try:
            return super().model_validate(obj, **options)
        except ValidationError as error:
            raise RequestError(error_text(error)) from None

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **options: Any) -> Self:
        """Make one from its JSON.

        Raises:
            RequestError: no JSON, or an invalid field.
        """
        if not isinstance(json_data, (str, bytes, bytearray)):  # pyright: ignore[reportUnnecessaryIsInstance]  # user input
            raise RequestError(f"expected JSON text, got {shown(json_data)}")
        try:
            return super().model_validate_json(json_data, **options)
        except ValidationError as error:
            raise RequestError(error_text(error)) from None
        except UnicodeError:
            raise RequestError(f"expected JSON in UTF-8, got {shown(json_data)}") from None

    def replace(self, **changes: Any) -> Self:
        """A new, validated request with some fields changed.

        Raises:
            RequestError: an unknown or invalid field.
        """
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self)(**{**fields, **changes})

    if not TYPE_CHECKING:

        def __setattr__(self, name: str, value: object) -> None:
            self._raise_frozen(name)

        def __delattr__(self, name: str) -> None:
            self._raise_frozen(name)

        # `copy.replace` (Python 3.13), which pydantic would not validate.
        def __replace__(self, **changes: object) -> Self:
            return self.replace(**changes)

    def _raise_frozen(self, name: str) -> None:
        kind = type(self).__name__
        raise RequestError(
            f"{kind} is frozen: {name} cannot be changed in place. Make a new one with "
            f".replace({name}=...)."
        )

    @model_validator(mode="before")
    @classmethod
    def _check_field_names(cls, value: Any) -> Any:
        """Check that the input has no field that the request lacks."""
        names = cast("Mapping[object, object]", value) if isinstance(value, Mapping) else ()
        for name in names:
            choose(name, cls.model_fields, f"field of {cls.__name__}")
        return cast("Any", value)
