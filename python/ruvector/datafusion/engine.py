"""DataFusion, half of whose types are pyarrow's and unknown, under names that a type checker lets pass."""

from __future__ import annotations

from typing import Any, TypeAlias

import datafusion

engine: Any = datafusion

Context: TypeAlias = Any
"""A `datafusion.SessionContext`."""
Frame: TypeAlias = Any
"""A `datafusion.DataFrame`."""
Expr: TypeAlias = Any
"""A `datafusion.Expr`."""
DataType: TypeAlias = Any
"""A `pyarrow.DataType`."""
Scalar: TypeAlias = Any
"""A `pyarrow.Scalar`."""
