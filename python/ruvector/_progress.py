"""The bar that ``progress=True`` draws."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from tqdm import tqdm

# The steps of a build in their order; "search" is part of "calibrate".
PHASES = ("check", "train", "assign", "encode", "calibrate")
FORMAT = "{desc:>9}: {percentage:3.0f}%|{bar}| {elapsed}"


class Bar:
    """One bar over all phases, each as wide as every other."""

    def __init__(self) -> None:
        try:
            from tqdm.auto import tqdm
        except ModuleNotFoundError as error:
            message = 'progress=True needs tqdm: pip install "ruvector-arrow[progress]"'
            raise ModuleNotFoundError(message, name="tqdm") from error
        self._bar: tqdm[NoReturn] = tqdm(total=len(PHASES), bar_format=FORMAT, desc=PHASES[0])

    def __call__(self, phase: str, done: int, total: int) -> None:
        """Move the bar: `done` of the `total` steps of `phase` are finished."""
        if phase not in PHASES or total == 0:
            return
        place = PHASES.index(phase) + min(done / total, 1.0)
        if place > self._bar.n:
            self._bar.set_description(phase, refresh=False)
            self._bar.update(place - self._bar.n)

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._bar.close()
