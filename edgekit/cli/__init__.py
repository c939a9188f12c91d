"""The ``edgekit`` command: one lazily imported file per verb. Only here is anything printed."""
