"""A whole emulated arm64 machine that boots from a card's image, such an image, and tests of the way between the two.

See docs/explain/virtual-machine.md. Kernel, boot partition, init, devices and power are its own; no network is there.
"""
