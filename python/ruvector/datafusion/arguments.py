"""What a table function is given: DataFusion hands over expressions, most of them literals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ruvector._sql.arrow import pa
from ruvector._sql.refusal import refuse
from ruvector.datafusion.engine import engine

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ruvector.datafusion.engine import Expr, Frame, Scalar

__all__ = ["ONE_ROW", "Arguments", "bind"]

# A plan of one row and no columns, of a session of its own: while DataFusion plans a statement, the user's
# cannot be asked for one.
ONE_ROW: Frame = engine.SessionContext().empty_table()


@dataclass(frozen=True)
class Arguments:
    """Arguments by name: those that are known already, and those that the statement will work out."""

    known: Mapping[str, Scalar]
    later: Mapping[str, Expr]

    def literal(self, name: str) -> Any:  # noqa: ANN401 - of any type
        """Return an argument that has to be known before the plan is, None if NULL or not given."""
        if name in self.later:
            raise refuse(name, "a literal", self.later[name].canonical_name())
        return self.known[name].as_py() if name in self.known else None


def bind(given: Sequence[Any], required: Sequence[str], options: Sequence[str], first: str = "") -> Arguments:
    """
    Name the arguments of a call: the required ones, the option `first` if it is there, a struct of options.

    Raises
    ------
    InvalidParameter
        If there are too few or too many, an option is unknown or given twice, or an argument is a column.
    """
    exprs = [arg if isinstance(arg, engine.Expr) else engine.Expr(arg) for arg in given]
    names = [*required, *([first] if first else [])]
    struct = exprs.pop() if options and len(exprs) > len(required) and _is_struct(exprs[-1]) else None
    if not len(required) <= len(exprs) <= len(names):
        usage = ", ".join([*names, "{option: value, ...}"] if options else names)
        raise refuse("arguments", usage, f"{len(given)} of them")
    bound: dict[str, Expr | Scalar] = dict(zip(names, exprs, strict=False))
    for name, value in [] if struct is None else _fields(struct):
        if name not in options:
            raise refuse("options", f"some of {', '.join(options)}", name)
        if name in bound:
            raise refuse(name, "one value", "two")
        bound[name] = value
    known: dict[str, Scalar] = {}
    later: dict[str, Expr] = {}
    for name, value in bound.items():
        scalar = _scalar(value) if isinstance(value, engine.Expr) else value
        if scalar is not None:
            known[name] = scalar
        else:
            later[name] = _closed(name, value)
    return Arguments(known, later)


def _is_struct(expr: Expr) -> bool:
    scalar = _scalar(expr)
    if scalar is not None:
        return bool(pa.types.is_struct(scalar.type))
    return bool(expr.variant_name() == "ScalarFunction" and expr.rex_call_operator() == "named_struct")


def _fields(struct: Expr) -> list[tuple[str, Any]]:
    """Return the names and values of a struct; values are scalars or expressions."""
    scalar = _scalar(struct)
    if scalar is not None:
        return [(field.name, scalar[at]) for at, field in enumerate(scalar.type)]
    parts = struct.rex_call_operands()
    return [(parts[at].python_value().as_py(), parts[at + 1]) for at in range(0, len(parts), 2)]


def _scalar(expr: Expr) -> Scalar | None:
    if expr.variant_name() != "Literal":
        return None
    try:
        return expr.python_value()
    except Exception:  # noqa: BLE001 - of a type that is not handed out: the plan casts it
        return None


def _closed(name: str, expr: Expr) -> Expr:
    """Return an expression that needs no row to be worked out; of others, only columns get as far as this."""
    if expr.variant_name() in {"Column", "OuterReferenceColumn"}:
        expected = (
            "a literal, a parameter or a subquery; for each row of a table, "
            "unnest(ruvector_search(...)) or ruvector.datafusion.knn_join"
        )
        raise refuse(name, expected, f"the column {expr.canonical_name()}")
    return expr
