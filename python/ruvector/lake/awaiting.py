"""Searches that are awaited: on the caller's event loop, whichever it is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from ruvector._ruvector import LakeAnswer, LakeJob

__all__ = ["awaited"]

T = TypeVar("T")


def awaited(
    start: Callable[[Callable[[LakeAnswer | None, BaseException | None], None]], LakeJob],
    make: Callable[[LakeAnswer], T],
) -> Coroutine[Any, Any, T]:
    """
    Return what starts a search when it is awaited, and stops it when it is cancelled.

    Raises
    ------
    RuntimeError
        If the calling thread has no running event loop.
    """
    loop = asyncio.get_running_loop()

    async def answer() -> T:
        future: asyncio.Future[LakeAnswer] = loop.create_future()

        def finish(answer: LakeAnswer | None, error: BaseException | None) -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            elif answer is not None:
                future.set_result(answer)

        def settle(answer: LakeAnswer | None, error: BaseException | None) -> None:
            loop.call_soon_threadsafe(finish, answer, error)

        job = start(settle)
        try:
            return make(await future)
        finally:
            job.cancel()

    return answer()
