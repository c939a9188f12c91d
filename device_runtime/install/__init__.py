"""The installer: a bundle becomes a release on this machine, whole or not at all. Standard library only, Python 3.9.

Every way to a board ends here: a local folder now, SSH and a first boot later. ``apply`` has the order of an
installation; ``fsops`` is the one door through which the file system is changed.
"""
