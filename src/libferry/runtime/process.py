"""A process that ``_core.spawn`` has started: waiting for it, ending it, reaping it.

The methods are those of ``subprocess.Popen`` that a worker's owner uses. The watcher
(``native/extension/watcher.c``) learns of the death too, and looks at how it ended, but
leaves it to be reaped here, once.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
import weakref
from contextlib import suppress

LONGEST_NAP = 0.05  # between two looks, on kernels without pidfd (before Linux 5.3)


class Process:
    """A child of this process.

    Attributes:
        made: its number, its pidfd (-1 if this kernel has none) and its listener, as
            ``_core.spawn`` gives them; empty until there is a process.
        returncode: its exit code, or minus the signal's number; None until it is reaped.
    """

    def __init__(self) -> None:
        self.made: list[int] = []
        self.returncode: int | None = None
        self._reaping = threading.Lock()
        self._close = weakref.finalize(self, _close, self.made)

    @property
    def pid(self) -> int:
        """Its process id, valid until it is reaped."""
        return self.made[0]

    @property
    def _pidfd(self) -> int:
        return self.made[1]

    def poll(self) -> int | None:
        """Reap it if it has ended; its return code, or None."""
        with self._reaping:
            if self.returncode is None:
                self.returncode = self._reap()
                if self.returncode is not None:
                    self._close()
        return self.returncode

    def _reap(self) -> int | None:
        try:
            ended = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG)
        except ChildProcessError:
            return 0  # SIGCHLD is ignored, or somebody waits for any child: how, nobody knows
        if ended is None:
            return None
        return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and reap it; its return code.

        Raises:
            subprocess.TimeoutExpired: it has not ended after ``timeout`` seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        nap = 0.0005
        while (code := self.poll()) is None:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                assert timeout is not None
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
            if self._pidfd >= 0:
                self._await_end(left)
            else:
                time.sleep(nap if left is None else min(nap, left))
                nap = min(2 * nap, LONGEST_NAP)
        return code

    def _await_end(self, seconds: float | None) -> None:
        end = select.poll()
        end.register(self._pidfd, select.POLLIN)
        # a second at most: another thread may reap it, and close the descriptor
        end.poll(min(1000.0, 1000 if seconds is None else seconds * 1000 + 1))

    def kill(self) -> None:
        """End it at once. It still has to be waited for."""
        with self._reaping, suppress(ProcessLookupError):
            if self.returncode is None and self._pidfd >= 0:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            elif self.returncode is None:
                os.kill(self.pid, signal.SIGKILL)


def _close(made: list[int]) -> None:
    if made and made[1] >= 0:
        os.close(made[1])
