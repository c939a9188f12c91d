"""A whole emulated arm64 machine: what boots from a card's image, its image, and tests of the way from one to the other.

See docs/explain/virtual-machine.md. Kernel, boot partition, init, devices and power are its own; no network is there.
"""
