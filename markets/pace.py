"""How often a busy market's frames go out: as often as the web process that fans them out can afford.

Twenty browsers get forty frames a second; a thousand on one process get fewer and stay true, instead of falling behind.
Each hub says what it can take with its wish, and the relay keeps to the slowest of them.
"""

from __future__ import annotations

USUAL_MS = 40

# Between two frames of a market, and the share of its event loop's time that a hub may spend at that pace. The
# quickest is for who has time: in one process with the relay it is to stay below a third of a core.
PACES = ((25, 0.25), (40, 0.70), (50, 0.70), (65, 0.70), (100, 0.70), (150, 1.00))
MARGIN = 0.95  # of the share that is allowed, before a quicker pace is tried; part of the work is the same at any pace
CALM_LOOKS = 3  # so many in a row, and
BUSY_LOOKS = 2  # so many to slow down: a burst of questions is no reason


class Pace:
    """What one hub can take. Pure: it is told once a second how busy the event loop was."""

    def __init__(self) -> None:
        self._step = [ms for ms, _ in PACES].index(USUAL_MS)
        self._calm = self._busy = 0

    @property
    def ms(self) -> int:
        """The least time between two frames of one market."""
        return PACES[self._step][0]

    def note(self, share: float) -> bool:
        """Take the share of the last second in which the loop was busy; return True where the pace has changed."""
        self._busy = self._busy + 1 if share > PACES[self._step][1] else 0
        self._calm = self._calm + 1 if self._could_be_quicker(share) else 0
        if self._busy >= BUSY_LOOKS and self._step < len(PACES) - 1:
            return self._go(+1)
        if self._calm >= CALM_LOOKS:
            return self._go(-1)
        return False

    def _go(self, steps: int) -> bool:
        self._step += steps
        self._calm = self._busy = 0
        return True

    def _could_be_quicker(self, share: float) -> bool:
        if self._step == 0:
            return False
        ms, most = PACES[self._step - 1]
        return share * self.ms / ms <= most * MARGIN
