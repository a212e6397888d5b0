"""supervisord, prompt: `python -I -m conveyor.effects.supervise -c supervisord.conf`.

supervisord alone looks at its processes once a second: it may see an end one second late and start the next process a
second after that, unless something else wakes it. Here the signal of a child's end wakes it, and what ended is started
again in the same turn.
"""

from __future__ import annotations

import os
import signal

from supervisor import supervisord


class _Wake:
    """The reading end of the pipe that Python writes every signal into, as supervisord's loop wants it."""

    def __init__(self, reader: int) -> None:
        self._reader = reader

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def handle_read_event(self) -> None:
        os.read(self._reader, 4096)

    def handle_error(self) -> None:
        """The turn goes on; the next signal wakes it again."""


class Prompt(supervisord.Supervisor):  # type: ignore[misc]
    def runforever(self) -> None:
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        self.options.get_socket_map()[reader] = _Wake(reader)
        super().runforever()

    def reap(self, once: bool = False, recursionguard: int = 0) -> None:
        super().reap(once, recursionguard)
        if recursionguard == 0:
            for group in list(self.process_groups.values()):
                group.transition()


if __name__ == "__main__":
    supervisord.Supervisor = Prompt  # `supervisord.main` makes one by this name and takes no other
    supervisord.main()
