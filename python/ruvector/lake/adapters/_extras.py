"""Packages that come with extras."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ruvector.errors import MissingExtra

__all__ = ["load"]


def load(module: str, extra: str) -> Any:  # noqa: ANN401 - most of these packages ship no types
    """
    Import a module of an optional package.

    Raises
    ------
    MissingExtra
        If it cannot be imported.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        message = f"{package} is needed for this: install ruvector-arrow[{extra}] ({error})"
        raise MissingExtra(message, package=package, extra=extra) from error
