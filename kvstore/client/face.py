"""How the synchronous faces are made: one background thread with a loop, on which the asynchronous core runs.

A face holds an object of the core; each of its methods is `blocking(Core.method)`: same signature, same docstring, same answer
and errors, awaited on the thread. Nothing is written twice.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
CoreT = TypeVar("CoreT")


class Runner:
    """A daemon thread with an event loop. Calls may come from any other thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="kvstore-client", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine of the core and wait for its answer; an interrupted wait (Ctrl-C) cancels it.

        Raises what it raises; RuntimeError after `close` and on the loop's own thread, where waiting would be for ever.
        """
        if self.loop.is_closed() or threading.current_thread() is self._thread:
            coroutine.close()
            closed = self.loop.is_closed()
            raise RuntimeError("the client is closed" if closed else "a blocking call on the client's own thread")
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def iterate(self, source: AsyncIterator[T]) -> Iterator[T]:
        """An asynchronous iterator as a plain one; ends it when the caller stops early."""

        async def step() -> tuple[T] | None:
            try:
                return (await anext(source),)
            except StopAsyncIteration:
                return None

        async def end() -> None:
            close = getattr(source, "aclose", None)
            if close is not None:
                await close()

        try:
            while (found := self.run(step())) is not None:
                yield found[0]
        finally:
            if not self.loop.is_closed():
                self.run(end())

    def close(self) -> None:
        """End the thread. Idempotent."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join()
            self.loop.close()


class Face(Generic[CoreT]):
    """The synchronous side of `core`."""

    def __init__(self, runner: Runner, core: CoreT) -> None:
        self.runner = runner
        self.core = core


def blocking(
    method: Callable[Concatenate[CoreT, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Face[CoreT], P], T]:
    """A method of a face: the core's method, awaited on the runner's thread."""

    def call(self: Face[CoreT], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.runner.run(method(self.core, *args, **kwargs))

    call.__name__ = method.__name__
    call.__doc__ = method.__doc__
    return call


def iterating(method: Callable[Concatenate[CoreT, P], AsyncIterator[T]]) -> Callable[Concatenate[Face[CoreT], P], Iterator[T]]:
    """A method of a face that answers with a plain iterator."""

    def call(self: Face[CoreT], /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return self.runner.iterate(method(self.core, *args, **kwargs))

    call.__name__ = method.__name__
    call.__doc__ = method.__doc__
    return call


def with_parameters_of(
    method: Callable[Concatenate[Any, P], object],
) -> Callable[[Callable[..., T]], Callable[Concatenate[Any, P], T]]:
    """Give a function that passes its arguments on the parameters of the one that takes them."""

    def same(function: Callable[..., T]) -> Callable[Concatenate[Any, P], T]:
        function.__doc__ = function.__doc__ or method.__doc__
        return function

    return same
