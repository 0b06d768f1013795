"""Filters, made alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ruvector as rv
from ruvector.lake.conditions import conjunction, normal_form


def test_filters_are_made_alike() -> None:
    assert normal_form(None) is None
    assert normal_form([]) is None
    one = [("a", "==", 1), ("b", "not in", {"x"})]
    assert normal_form(one) == ((("a", "=", 1), ("b", "not in", ("x",))),)
    assert normal_form([one, [("c", "<", 2.5)]]) == (
        (("a", "=", 1), ("b", "not in", ("x",))),
        (("c", "<", 2.5),),
    )
    assert normal_form([[("a", "=", np.int64(3))], (("b", "=", True),)]) == (
        (("a", "=", 3),),
        (("b", "=", True),),
    )


def test_both_filters_must_allow() -> None:
    one, two = normal_form([[("a", "=", 1)], [("b", "=", 2)]]), normal_form([("c", "=", 3)])
    assert conjunction(None, one) == conjunction(one, None) == one
    assert conjunction(one, two) == (
        (("a", "=", 1), ("c", "=", 3)),
        (("b", "=", 2), ("c", "=", 3)),
    )


@pytest.mark.parametrize(
    "wrong",
    [
        "a = 1",
        5,
        [("a", "=")],
        [("a", "like", "x")],
        [(1, "=", 1), ("a", "=", 1)],
        [("a", "=", None)],
        [("a", "=", float("nan"))],
        [("a", "=", 2**64)],
        [("a", "in", "text")],
        [("a", "in", 5)],
        [("a", "in", [None])],
        [[]],
        [[("a", "=", 1)], []],
    ],
)
def test_what_is_no_filter_is_refused(wrong: Any) -> None:
    with pytest.raises(rv.InvalidParameter) as refused:
        normal_form(wrong)
    assert refused.value.name == "filter"
