"""From one thread to others: a short queue, in which the newest item may win."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Handover(Generic[T]):
    """Passes items from some threads to others through a short queue.

    When it is full, ``put`` waits (nothing is lost), or with ``newest_wins`` drops the oldest item and counts it.
    ``contended`` counts the items that found it full: those who take are slower than those who put.
    """

    def __init__(self, depth: int, *, newest_wins: bool) -> None:
        self._depth = depth
        self._newest_wins = newest_wins
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._failure: BaseException | None = None
        self._taken = self._waiting = 0
        self.dropped = 0
        self.contended = 0

    def put(self, item: T) -> bool:
        """Hand over an item; False when the other side does not want any more."""
        with self._changed:
            if len(self._items) == self._depth and not self._closed:
                self.contended += 1
                if self._newest_wins:
                    self._items.popleft()
                    self.dropped += 1
                else:
                    self._changed.wait_for(lambda: self._closed or len(self._items) < self._depth)
            if self._closed:
                return False
            self._items.append(item)
            self._changed.notify_all()
            return True

    def wait_for_room(self) -> bool:
        """Wait until an item can be put without waiting; False when the other side does not want any more."""
        with self._changed:
            if len(self._items) == self._depth:
                self.contended += 1
                self._changed.wait_for(lambda: self._closed or len(self._items) < self._depth)
            return not self._closed

    def take(self) -> T | None:
        """Wait for an item; None after the end. Raises what the other side failed with, after its last item."""
        taken = self.take_numbered()
        return None if taken is None else taken[1]

    def take_numbered(self) -> tuple[int, T] | None:
        """Wait for an item, and return it with how many were taken before it; else as ``take``."""
        with self._changed:
            if not self._items and not self._closed:
                self._waiting += 1
                try:
                    self._changed.wait_for(lambda: self._items or self._closed)
                finally:
                    self._waiting -= 1
            if self._items:
                item = self._items.popleft()
                number = self._taken
                self._taken += 1
                self._changed.notify_all()
                return number, item
            if self._failure is not None:
                raise self._failure
            return None

    def idle(self, takers: int) -> bool:
        """Tell whether nothing is here, and so many wait for something."""
        with self._changed:
            return not self._items and self._waiting == takers

    def close(self, failure: BaseException | None = None) -> None:
        """End it, from either side: ``put`` returns False, ``take`` gives what is left and then the end."""
        with self._changed:
            self._closed = True
            self._failure = self._failure or failure
            self._changed.notify_all()

    def clear(self) -> None:
        """Throw away what nobody took yet: the run is over."""
        with self._changed:
            self._items.clear()
            self._changed.notify_all()
