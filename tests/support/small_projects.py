"""A small project file, with comments as people write them."""

PROJECT = """\
# What this is.
[project]
name = "digits"   # its name

[model]
source = "digits.keras"
recipe = "static-int8"  # or another

# How it runs.
[service]
threads = 1         # one

# [service.page]
# port = 8080

[demo]
source = "dir:images"
"""
