"""A virtual arm64 board: Debian's userland under an emulated CPU, with systemd, sshd and a network of its own.

See docs/explain/virtual-board.md. The scripts make it from Debian's packages; the tests here deploy to it.
"""
