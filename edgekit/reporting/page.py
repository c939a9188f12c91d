"""HTML reports: one file that needs nothing else, for a screen, a phone or paper."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from device_runtime import __version__
from device_runtime.errors import EdgeError
from device_runtime.files import replacing

_SHARED = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Verdict:
    """What to think of the report's figures, on top of the page.

    ``clean``: they hold as they are; ``noted``: there is something to know; ``disturbed``: they do not hold.
    """

    kind: Literal["clean", "noted", "disturbed"]
    title: str
    explanation: str


@dataclass(frozen=True)
class Headline:
    """One of the figures on top: ``details`` are smaller ones beside it."""

    label: str
    value: str
    unit: str
    details: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Card:
    """A titled list of facts."""

    title: str
    facts: tuple[tuple[str, str], ...]


def render_page(templates: Path, name: str, **values: Any) -> str:
    """Return a page as HTML. Whatever the values say is shown as text, never as markup.

    Args:
        templates: the folder of the report's own templates; they extend ``page.html.j2``.
        name: the template.
        values: what it shows.
    """
    environment = Environment(
        loader=FileSystemLoader([templates, _SHARED]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name).render(version=__version__, **values)


@contextmanager
def report_file(path: Path) -> Iterator[Path]:
    """Reserve the place of a report before it is measured; yield where to write it.

    Raises:
        EdgeError: it cannot be written there.
    """
    if path.is_dir():
        raise EdgeError(f"cannot write {path}: it is a folder", hint=f"name a file in it: {path / 'report.html'}")
    with replacing(path) as temporary:
        yield temporary


def count_of(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 thread``, ``1,200 frames``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def listed(words: Sequence[str]) -> str:
    """Return words as a list in a sentence: ``a, b and c``; empty when there are none."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def sentence(text: str) -> str:
    """Return a message as a sentence: with a capital letter and a full stop."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"
