"""A helper thread for one long piece of work that is itself in a worker thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

DEPTH = 8  # pieces that may wait


class Lane:
    """Calls *work* on each piece in order, in a thread of its own, until it is closed.

    Compressors and digests release the interpreter, so the lane really runs beside
    its caller. The thread starts with the second piece: small work stays in one.
    """

    def __init__(self, work: Callable[[bytes], None]) -> None:
        self._work = work
        self._pieces: queue.Queue[bytes | None] = queue.Queue(DEPTH)
        self._thread: threading.Thread | None = None
        self._first: bytes | None = None
        self._failure: BaseException | None = None

    def put(self, piece: bytes) -> None:
        """Hand over a piece; waits while DEPTH pieces are waiting. Raises what *work* raised."""
        if self._failure is not None:
            raise self._failure
        if self._thread is None:
            if self._first is None:
                self._first = piece
                return
            self._thread = threading.Thread(target=self._run, name="archive lane", daemon=True)
            self._thread.start()
            self._pieces.put(self._first)
        self._pieces.put(piece)

    def close(self) -> None:
        """Wait until all pieces are done. Raises what *work* raised."""
        if self._thread is None:
            if self._first is not None:
                self._work(self._first)
            return
        self._pieces.put(None)
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        while (piece := self._pieces.get()) is not None:
            if self._failure is None:
                try:
                    self._work(piece)
                except BaseException as error:  # handed to the caller by put or close
                    self._failure = error
