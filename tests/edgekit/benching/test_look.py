"""The reports in a real browser: on a phone, on a screen, on paper, light and dark."""

import dataclasses

import pytest

from device_runtime.contract.bench import ModelFacts, OperatorProfile, OperatorTime
from edgekit.benching.compare import compare_runs
from edgekit.benching.gates import Gate
from edgekit.benching.report import render
from edgekit.benching.sweep_page import render_sweep
from edgekit.benching.sweep_report import Setting
from tests.support.bench_reports import bench_report, full_report, machine
from tests.support.browser import DESKTOP, PHONE
from tests.support.sweep_reports import sweep_of, sweep_point, sweep_report

_LONG = "StatefulPartitionedCall" * 12
_SCROLLS = "document.documentElement.scrollWidth - window.innerWidth"

# Contrast of every text with what lies below it, by WCAG 2.2 (definition of relative luminance, success criterion
# 1.4.3); texts on shapes of a figure are told apart by their own outline and are not looked at.
_FAINT = """() => {
  const parts = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = element => {
    for (let at = element; at; at = at.parentElement) {
      const found = parts(getComputedStyle(at).backgroundColor);
      if (found.length < 4 || found[3] === 1) return found;
    }
    return [255, 255, 255];
  };
  const faint = [];
  for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    if (!own || !element.checkVisibility() || element.tagName === 'title') continue;
    const style = getComputedStyle(element), svg = element.closest('svg');
    const [one, two] = [light(parts(svg ? style.fill : style.color)), light(ground(element))];
    const ratio = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
    if (ratio < 4.5) faint.push(`${element.textContent.trim().slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return faint;
}"""

_CUT = """() => [...document.querySelectorAll('main svg[role=img], main .number, main dd, main h1')].filter(element => {
  const box = element.getBoundingClientRect();
  return box.width && (box.left < -0.5 || box.right > window.innerWidth + 0.5) && !element.closest('.scroll');
}).map(element => element.textContent.trim().slice(0, 40))"""


def _widest():
    """Everything that a report may have, with the longest names that models come with."""
    operators = tuple(OperatorTime(index, "BATCH_MATMUL" * 4, _LONG, 0.5, 0.05) for index in range(20))
    return full_report(
        model=ModelFacts(_LONG, "ab" * 32, 10**9, "1x1080x1920x3 float32"),
        operators=OperatorProfile(operators, 50, 0.9, 0.4),
        source=f"file:{_LONG}.mp4",
        release=_LONG,
        beside=_LONG,
        warnings=(_LONG,),
        before=machine(cpu=_LONG, board=_LONG, kernel=_LONG),
    )


def _compared():
    before, after = bench_report(), dataclasses.replace(full_report(), source="synthetic:belt")
    gates = (Gate("total.p95 ≤ 14.0 ms", "missed", "15.8 ms"), Gate(_LONG, "undecided", _LONG, _LONG))
    return compare_runs(before, after), gates


def _threads():
    points = [sweep_point(count, Setting(threads=count), 20.0 / count) for count in (1, 2, 3)]
    return [*points[:2], dataclasses.replace(points[2], disturbed=("others took 31% of the cores",))]


def _pages():
    comparison, gates = _compared()
    points = sweep_report().points
    return {
        "full": render(full_report()),
        "widest": render(_widest()),
        "plain": render(bench_report()),
        "compared": render(full_report(), comparison, gates),
        "threads": render_sweep(sweep_of(*_threads())),
        "sweep": render_sweep(sweep_report(model=_LONG, dataset=_LONG)),
        "sweep without accuracy": render_sweep(
            sweep_of(*(dataclasses.replace(each, accuracy=None) for each in points))
        ),
    }


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    found = {}
    for name, text in _pages().items():
        path = folder / f"{name.replace(' ', '-')}.html"
        path.write_text(text, encoding="utf-8")
        found[name] = path.as_uri()
    return found


NAMES = ("full", "widest", "plain", "compared", "threads", "sweep", "sweep without accuracy")


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_wider_than_the_screen_and_nothing_is_asked_of_the_network(tab, pages, name, size):
    view = tab(size=size).open(pages[name])
    assert view.page.evaluate(_SCROLLS) <= 0
    assert view.page.evaluate(_CUT) == []
    view.page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert view.page.evaluate(_SCROLLS) <= 0
    assert view.complaints == []
    assert view.requests == [pages[name]]


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("name", NAMES)
def test_every_text_stands_out_from_its_ground(tab, pages, name, colours):
    view = tab(colours=colours).open(pages[name])
    assert view.page.evaluate(_FAINT) == []


@pytest.mark.parametrize("name", NAMES)
def test_on_paper_no_figure_is_cut_and_what_is_folded_away_is_left_out(tab, pages, name):
    view = tab(size=(680, 900)).open(pages[name])
    view.page.emulate_media(media="print")
    kept = "[...document.querySelectorAll('figure svg, .headline')].every(each => { for (let at = each; at; at = "
    kept += "at.parentElement) if (getComputedStyle(at).breakInside === 'avoid') return true; return false; })"
    assert view.page.evaluate(kept)
    assert view.page.evaluate("[...document.querySelectorAll('details')].every(each => !each.checkVisibility())")
    assert view.page.evaluate(_SCROLLS) <= 0


def test_a_reader_who_cannot_see_figures_is_told_what_they_show(tab, pages):
    view = tab().open(pages["full"])
    names = view.page.eval_on_selector_all("svg[role=img]", "all => all.map(each => each.getAttribute('aria-label'))")
    assert all(names)
    told = " ".join(names)
    for part in ("slowed down by frequency capped", "Histogram of invoke latency", "Temperature: 56 °C to 80 °C"):
        assert part in told
