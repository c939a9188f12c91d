"""The device runtime, with a model that takes longer by a factor: what ``harness.py`` injects.

python benchmarks/slowed.py FACTOR ARGUMENTS-OF-THE-RUNTIME…
"""

from __future__ import annotations

import sys
import time

from device_runtime.__main__ import main
from device_runtime.engine.litert import TfliteEngine


def slow_down(factor: float) -> None:
    """Let each invocation of a model take ``factor`` times as long as it would."""
    invoke = TfliteEngine.invoke

    def slowed(engine: TfliteEngine) -> None:
        started = time.perf_counter()
        invoke(engine)
        end = started + (time.perf_counter() - started) * factor
        while time.perf_counter() < end:
            pass

    TfliteEngine.invoke = slowed  # type: ignore[assignment, method-assign]  # the runtime has no switch for it


if __name__ == "__main__":
    slow_down(float(sys.argv[1]))
    raise SystemExit(main(sys.argv[2:]))
