"""What the presets did where they were measured.

Two runs of ``python -m benches.presets`` on two cores of an x86-64 server with AVX-512 kernels, which were
busy with other work, too: rates serve to compare the presets with each other at one size, and little else.
Rows lie around 100 Gaussian centres of standard deviation 1, at a standard deviation of 0.7; 100 queries of
the same kind, k = 10, metric ``"l2sq"``, one query at a time, the fastest of two passes in each run. Recall
and bytes were the same in both.
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
    Point(1000, 128, "FlatF32Index", 1, None, 1.000, 5581, 37),
    Point(1000, 128, "RabitqPlusIndex", 1, 0.8, 0.863, 11491, 58),
    Point(1000, 128, "RabitqPlusIndex", 1, 0.9, 0.935, 10919, 58),
    Point(1000, 128, "RabitqPlusIndex", 1, 0.95, 0.969, 10174, 58),
    Point(1000, 128, "RabitqPlusIndex", 1, 0.99, 0.999, 9193, 58),
    Point(1000, 128, "RabitqIndex", 1, None, 0.852, 12999, 58),
    Point(1000, 128, "RabitqIndex", 4, None, 0.971, 7484, 128),
    Point(1000, 128, "RabitqIndex", 7, None, 0.994, 9392, 187),
    Point(10000, 128, "FlatF32Index", 1, None, 1.000, 1693, 40),
    Point(10000, 128, "RabitqPlusIndex", 1, 0.8, 0.948, 11849, 55),
    Point(10000, 128, "RabitqPlusIndex", 1, 0.9, 0.980, 8592, 55),
    Point(10000, 128, "RabitqPlusIndex", 1, 0.95, 0.991, 9238, 55),
    Point(10000, 128, "RabitqPlusIndex", 1, 0.99, 0.998, 7013, 55),
    Point(10000, 128, "RabitqIndex", 1, None, 0.589, 7740, 55),
    Point(10000, 128, "RabitqIndex", 4, None, 0.933, 7998, 128),
    Point(10000, 128, "RabitqIndex", 7, None, 0.987, 8202, 188),
    Point(100000, 128, "FlatF32Index", 1, None, 1.000, 191, 37),
    Point(100000, 128, "RabitqPlusIndex", 1, 0.8, 0.902, 6218, 44),
    Point(100000, 128, "RabitqPlusIndex", 1, 0.9, 0.959, 5852, 44),
    Point(100000, 128, "RabitqPlusIndex", 1, 0.95, 0.983, 5881, 44),
    Point(100000, 128, "RabitqPlusIndex", 1, 0.99, 0.999, 5597, 44),
    Point(100000, 128, "RabitqIndex", 1, None, 0.416, 9696, 44),
    Point(100000, 128, "RabitqIndex", 4, None, 0.884, 5608, 108),
    Point(100000, 128, "RabitqIndex", 7, None, 0.991, 5723, 161),
    Point(1000, 768, "FlatF32Index", 1, None, 1.000, 2492, 124),
    Point(1000, 768, "RabitqPlusIndex", 1, 0.8, 0.935, 4722, 196),
    Point(1000, 768, "RabitqPlusIndex", 1, 0.9, 0.942, 4241, 196),
    Point(1000, 768, "RabitqPlusIndex", 1, 0.95, 0.978, 4128, 196),
    Point(1000, 768, "RabitqPlusIndex", 1, 0.99, 0.997, 6223, 196),
    Point(1000, 768, "RabitqIndex", 1, None, 0.868, 10389, 196),
    Point(1000, 768, "RabitqIndex", 4, None, 0.967, 3087, 558),
    Point(1000, 768, "RabitqIndex", 7, None, 0.993, 3150, 909),
    Point(10000, 768, "FlatF32Index", 1, None, 1.000, 208, 121),
    Point(10000, 768, "RabitqPlusIndex", 1, 0.8, 0.969, 8622, 198),
    Point(10000, 768, "RabitqPlusIndex", 1, 0.9, 0.984, 8324, 198),
    Point(10000, 768, "RabitqPlusIndex", 1, 0.95, 0.986, 7635, 198),
    Point(10000, 768, "RabitqPlusIndex", 1, 0.99, 0.999, 6893, 198),
    Point(10000, 768, "RabitqIndex", 1, None, 0.608, 10133, 198),
    Point(10000, 768, "RabitqIndex", 4, None, 0.929, 8886, 576),
    Point(10000, 768, "RabitqIndex", 7, None, 0.988, 7445, 942),
    Point(100000, 768, "FlatF32Index", 1, None, 1.000, 33, 117),
    Point(100000, 768, "RabitqPlusIndex", 1, 0.8, 0.930, 2760, 151),
    Point(100000, 768, "RabitqPlusIndex", 1, 0.9, 0.973, 2504, 151),
    Point(100000, 768, "RabitqPlusIndex", 1, 0.95, 0.989, 2345, 151),
    Point(100000, 768, "RabitqPlusIndex", 1, 0.99, 1.000, 1639, 151),
    Point(100000, 768, "RabitqIndex", 1, None, 0.430, 4634, 151),
    Point(100000, 768, "RabitqIndex", 4, None, 0.879, 1374, 486),
    Point(100000, 768, "RabitqIndex", 7, None, 0.989, 2605, 809),
)
