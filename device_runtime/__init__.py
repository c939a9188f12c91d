"""What runs on the board: camera frames in, predictions out, with the installer that put it there.

The same code prepares calibration images, evaluates, records goldens and benchmarks on the host, so that
what is measured there is what runs on the board. Nothing here imports ``edgekit`` or ``converters``.
"""

__version__ = "0.1.0"
