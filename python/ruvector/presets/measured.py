"""What the presets did where they were measured.

One run of ``python -m benches.presets`` on two cores of an x86-64 server with AVX-512 kernels, which were
busy with other work, too: rates serve to compare the presets with each other at one size, and little else.
Rows lie around 100 Gaussian centres of standard deviation 1, at a standard deviation of 0.7; 100 queries of
the same kind, k = 10, metric ``"l2sq"``, one query at a time, the faster of two passes.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = ["POINTS", "Point"]


class Point(NamedTuple):
    """One preset at one size.

    Attributes
    ----------
    n, dim
        Rows and dimensions.
    preset
        The name of the class.
    bits
        Bits per dimension of the codes.
    recall
        What `search` was asked for, if anything.
    measured_recall
        The share of the ten true neighbours that were found, over 100 queries.
    queries_per_second
        One query at a time.
    bytes_beside
        Bytes per row besides the vectors.
    """

    n: int
    dim: int
    preset: Literal["FlatF32Index", "RabitqIndex", "RabitqPlusIndex"]
    bits: int
    recall: float | None
    measured_recall: float
    queries_per_second: float
    bytes_beside: float


POINTS = (
    Point(1000, 128, "FlatF32Index", 1, None, 1.000, 2699, 42),
    Point(1000, 128, "RabitqPlusIndex", 1, 0.8, 0.858, 4790, 64),
    Point(1000, 128, "RabitqPlusIndex", 1, 0.9, 0.936, 4496, 64),
    Point(1000, 128, "RabitqPlusIndex", 1, 0.95, 0.968, 4730, 64),
    Point(1000, 128, "RabitqPlusIndex", 1, 0.99, 0.999, 3664, 64),
    Point(1000, 128, "RabitqIndex", 1, None, 0.854, 5348, 64),
    Point(10000, 128, "FlatF32Index", 1, None, 1.000, 629, 46),
    Point(10000, 128, "RabitqPlusIndex", 1, 0.8, 0.950, 4537, 62),
    Point(10000, 128, "RabitqPlusIndex", 1, 0.9, 0.979, 4196, 62),
    Point(10000, 128, "RabitqPlusIndex", 1, 0.95, 0.991, 4089, 62),
    Point(10000, 128, "RabitqPlusIndex", 1, 0.99, 0.998, 4189, 62),
    Point(10000, 128, "RabitqIndex", 1, None, 0.582, 7867, 62),
    Point(100000, 128, "FlatF32Index", 1, None, 1.000, 73, 43),
    Point(100000, 128, "RabitqPlusIndex", 1, 0.8, 0.902, 4887, 50),
    Point(100000, 128, "RabitqPlusIndex", 1, 0.9, 0.958, 3998, 50),
    Point(100000, 128, "RabitqPlusIndex", 1, 0.95, 0.985, 5099, 50),
    Point(100000, 128, "RabitqPlusIndex", 1, 0.99, 0.999, 3006, 50),
    Point(100000, 128, "RabitqIndex", 1, None, 0.415, 5577, 50),
    Point(1000, 768, "FlatF32Index", 1, None, 1.000, 1719, 126),
    Point(1000, 768, "RabitqPlusIndex", 1, 0.8, 0.928, 5395, 200),
    Point(1000, 768, "RabitqPlusIndex", 1, 0.9, 0.941, 3945, 200),
    Point(1000, 768, "RabitqPlusIndex", 1, 0.95, 0.977, 5348, 200),
    Point(1000, 768, "RabitqPlusIndex", 1, 0.99, 0.997, 5002, 200),
    Point(1000, 768, "RabitqIndex", 1, None, 0.870, 9833, 200),
    Point(10000, 768, "FlatF32Index", 1, None, 1.000, 131, 126),
    Point(10000, 768, "RabitqPlusIndex", 1, 0.8, 0.968, 5262, 204),
    Point(10000, 768, "RabitqPlusIndex", 1, 0.9, 0.985, 4873, 204),
    Point(10000, 768, "RabitqPlusIndex", 1, 0.95, 0.987, 5076, 204),
    Point(10000, 768, "RabitqPlusIndex", 1, 0.99, 0.999, 4587, 204),
    Point(10000, 768, "RabitqIndex", 1, None, 0.611, 5586, 204),
    Point(100000, 768, "FlatF32Index", 1, None, 1.000, 20, 123),
    Point(100000, 768, "RabitqPlusIndex", 1, 0.8, 0.933, 3002, 158),
    Point(100000, 768, "RabitqPlusIndex", 1, 0.9, 0.973, 2702, 158),
    Point(100000, 768, "RabitqPlusIndex", 1, 0.95, 0.989, 2523, 158),
    Point(100000, 768, "RabitqPlusIndex", 1, 0.99, 1.000, 2068, 158),
    Point(100000, 768, "RabitqIndex", 1, None, 0.436, 4551, 158),
)
