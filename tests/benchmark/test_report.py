from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from samadapt.benchmark.interactive.pictures import LONGEST_SIDE, crop_around, draw, outline
from samadapt.benchmark.interactive.plots import Goal, clicks_plot
from samadapt.benchmark.interactive.report import interactive_report
from samadapt.benchmark.interactive.result import InteractiveResult, ObjectResult
from samadapt.benchmark.interactive.run import run_interactive
from samadapt.benchmark.interactive.summary import KEYS
from samadapt.benchmark.interactive.tables import summary_rows, summary_table
from samadapt.benchmark.options import Selection
from samadapt.benchmark.report import render_report, write_report
from samadapt.benchmark.tables import UNKNOWN, terminal_table
from samadapt.data.rle import Rle
from samadapt.errors import DataError
from samadapt.prompts import Click
from samadapt.session.robot import ClickProtocol
from tiny_dataset import TinyDataset, oracle

VOID = {"meta", "link", "br", "hr", "img", "input", "col"}


class Page(HTMLParser):
    """The page's elements; complains about tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []
        self.style = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "style":
            self.style += data
        else:
            self.text.append(data)

    def all(self, tag: str, css_class: str = "") -> list[dict[str, str]]:
        found = [attributes for name, attributes in self.elements if name == tag]
        return [a for a in found if not css_class or css_class in a.get("class", "").split()]

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


@pytest.fixture
def result(tiny: TinyDataset) -> InteractiveResult:
    return run_interactive(tiny.open(), oracle(), selection=Selection(order="file", max_objects=6))


@pytest.fixture
def worse(result: InteractiveResult) -> InteractiveResult:
    """The same objects with two clicks each, named after an adapter."""
    rows = tuple(
        replace(
            row,
            clicks=(*row.clicks, Click(1.5, 2.5, False)),
            ious=(0.4, 0.95),
            seconds=(0.1, 0.1),
            reached={0.85: 2, 0.9: 2},
        )
        for row in result.objects
    )
    environment = {**result.environment, "adapters": [{"spec": "slow"}]}
    return replace(result, objects=rows, environment=environment)


class TestPage:
    def test_needs_nothing_from_outside(self, tiny: TinyDataset, result: InteractiveResult):
        page = Page(render_report(interactive_report([result], tiny.open())))
        for _, attributes in page.elements:
            for name in ("src", "href", "xlink:href", "srcset", "poster", "action", "data"):
                value = attributes.get(name, "")
                assert value.startswith(("data:", "#")) or not value
            assert "http" not in attributes.get("style", "")
        assert page.all("script") == page.all("link") == page.all("iframe") == []
        assert re.findall(r"url\((?!['\"]?#)", page.style) == []
        assert "@import" not in page.style
        assert "prefers-color-scheme: dark" in page.style

    def test_pictures_and_clicks(self, tiny: TinyDataset, result: InteractiveResult):
        page = Page(render_report(interactive_report([result], tiny.open())))
        pictures = page.all("image")
        assert len(pictures) == 6
        for picture in pictures:
            kind, _, content = picture["href"].partition(";base64,")
            image = Image.open(io.BytesIO(base64.b64decode(content)))
            image.load()
            assert kind == f"data:image/{image.format.lower()}"
            assert image.size == (int(picture["width"]), int(picture["height"]))
        assert len(page.all("circle", "object")) == 6
        assert len(page.all("path", "mask")) == len(page.all("path", "reference")) == 6

    def test_clicks_are_numbered_and_coloured(self, tiny: TinyDataset, worse: InteractiveResult):
        page = Page(render_report(interactive_report([worse], tiny.open())))
        assert len(page.all("circle", "object")) == len(page.all("circle", "background")) == 6
        assert "click 2 on the background: IoU 0.950" in page.words

    def test_numbers(self, tiny: TinyDataset, result: InteractiveResult):
        words = Page(render_report(interactive_report([result]))).words
        assert "reaches IoU 0.90 on 100 % of 6 objects within 20 clicks, with 1.0 clicks" in words
        for label in ("NoC20@85", "NoC20@90", "FR20@85", "FR20@90", "FR30@90", "IoU@10"):
            assert label in words

    def test_a_shorter_protocol_has_a_smaller_goal(self, tiny: TinyDataset):
        protocol = ClickProtocol(max_clicks=5, stop_at=0.8)
        found = run_interactive(tiny.open(), oracle(), protocol)
        words = Page(render_report(interactive_report([found]))).words
        assert "reaches IoU 0.80 on 100 % of 9 objects within 5 clicks" in words

    def test_without_a_dataset_there_are_no_pictures(self, result: InteractiveResult):
        page = Page(render_report(interactive_report([result])))
        assert page.all("image") == []

    def test_a_result_from_a_file_has_pictures_without_masks(
        self, tiny: TinyDataset, result: InteractiveResult
    ):
        path = tiny.masks.with_name("r.json")
        result.save(path)
        page = Page(render_report(interactive_report([InteractiveResult.load(path)], tiny.open())))
        assert len(page.all("image")) == 6
        assert page.all("path", "mask") == []

    def test_two_results_side_by_side(
        self, tiny: TinyDataset, result: InteractiveResult, worse: InteractiveResult
    ):
        page = Page(render_report(interactive_report([result, worse], tiny.open())))
        assert len(page.all("image")) == 12
        assert "fake + slow" in page.words
        assert "Clicks per object during annotation" in page.words
        assert "fake, frozen needs 1.0 (+100 %)" in page.words
        assert len(page.all("td", "worse")) >= 3

    def test_bounded_number_of_pictures_the_worst_included(
        self, tiny: TinyDataset, result: InteractiveResult, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr("samadapt.benchmark.interactive.report._MOST_FIRST", 2)
        monkeypatch.setattr("samadapt.benchmark.interactive.report._MOST_WORST", 1)
        rows = list(result.objects)
        rows[4] = replace(rows[4], ious=(0.1,))
        found = replace(result, objects=tuple(rows))
        page = Page(render_report(interactive_report([found], tiny.open())))
        labels = [svg["aria-label"] for svg in page.all("svg", "shot")]
        assert len(labels) == 3
        assert labels[-1] == "square in 2.png: 1 click, IoU 0.100"

    def test_nothing_from_the_data_becomes_markup(
        self, tiny: TinyDataset, result: InteractiveResult
    ):
        evil = '<script>alert("x")</script>'
        rows = tuple(replace(row, category=evil) for row in result.objects)
        environment = {**result.environment, "model": {"name": evil, "weights_hash": evil}}
        found = replace(result, objects=rows, environment=environment)
        page = Page(render_report(interactive_report([found, found], tiny.open(), title=evil)))
        assert page.all("script") == []
        assert 'alert("x")' in page.words

    def test_a_curve_of_one_point_is_a_point_between_whole_numbers(self, result: InteractiveResult):
        few = replace(result, objects=result.objects[:3])
        plot = clicks_plot([[few], [few]], Goal(0.85, 20), "few", "few")
        drawing = plot.svg
        markers = re.findall(r'<use href="#few-m[^"]*"[^>]*style="fill: var\(--series-', drawing)
        assert len(markers) == 2
        ticks = re.findall(r"<!-- ([\d.]+) -->", drawing)
        assert ticks[:3] == ["2", "3", "4"]

    def test_ids_are_unique_across_plots(self, result: InteractiveResult):
        text = render_report(interactive_report([result, result]))
        page = Page(text)
        used = {a["href"][1:] for _, a in page.elements if a.get("href", "").startswith("#")}
        known = [a["id"] for _, a in page.elements if "id" in a]
        assert used <= set(known)
        assert len(known) == len(set(known))

    def test_skipped_images_are_told(self, tiny: TinyDataset):
        tiny.truncate(2)
        found = run_interactive(tiny.open(), oracle())
        words = Page(render_report(interactive_report([found], tiny.open()))).words
        assert "1 image could not be evaluated" in words
        assert "2.png" in words

    def test_no_result(self):
        with pytest.raises(DataError, match="no result"):
            interactive_report([])

    def test_a_failure_leaves_the_old_report(self, tiny: TinyDataset, result: InteractiveResult):
        path = tiny.masks.with_name("report.html")
        path.write_text("old")
        (tiny.images / "1.png").unlink()
        with pytest.raises(DataError):
            write_report(path, interactive_report([result], tiny.open()))
        assert path.read_text() == "old"
        assert [p.name for p in path.parent.glob("*part*")] == []


class TestPictures:
    def test_outline_of_a_square(self):
        mask = np.zeros((10, 10), bool)
        mask[2:5, 3:7] = True
        numbers = [float(v) for v in re.findall(r"[\d.]+", outline(mask))]
        xs, ys = numbers[::2], numbers[1::2]
        assert (min(xs), max(xs), min(ys), max(ys)) == (3.25, 6.75, 2.25, 4.75)

    def test_holes_and_parts_have_their_own_lines(self):
        mask = np.zeros((20, 20), bool)
        mask[2:10, 2:10] = True
        mask[4:8, 4:8] = False
        mask[15:18, 15:18] = True
        assert outline(mask).count("M") == outline(mask).count("Z") == 3

    def test_a_single_pixel_has_an_inside(self):
        mask = np.zeros((5, 5), bool)
        mask[2, 3] = True
        numbers = [float(v) for v in re.findall(r"[\d.]+", outline(mask))]
        assert max(numbers[::2]) > min(numbers[::2])

    def test_nothing(self):
        assert outline(np.zeros((5, 5), bool)) == ""

    @pytest.mark.parametrize("size", [(40, 56), (3000, 200), (1, 900), (4, 4)])
    def test_crops_show_the_object_and_all_clicks(self, size: tuple[int, int]):
        height, width = size
        reference = np.zeros(size, bool)
        reference[height // 2, width // 2] = True
        row = object_row((Click(0, 0), Click(width / 2, height)), reference)
        crop = crop_around(reference, [row])
        assert 0 <= crop.left < crop.right <= width
        assert 0 <= crop.top < crop.bottom <= height
        picture = draw(np.zeros((*size, 3), np.uint8), reference, row, crop)
        assert max(picture.width, picture.height) <= LONGEST_SIDE
        for mark in picture.marks:
            assert 0 <= mark.x <= picture.width + 1
            assert 0 <= mark.y <= picture.height + 1

    def test_a_small_object_fills_its_crop(self):
        reference = np.zeros((1000, 1000), bool)
        reference[500:510, 500:510] = True
        crop = crop_around(reference, [object_row((Click(505, 505),), reference)])
        assert crop.right - crop.left == crop.bottom - crop.top == 48
        assert (crop.left + crop.right) / 2 == pytest.approx(505, abs=1)


class TestTable:
    def test_one_result_with_intervals_fits_80_columns(self, result: InteractiveResult):
        text = printed([result])
        assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
        assert text.count("\n") == 12
        assert re.search(r"NoC20@90 +clicks to IoU 0.90 \(at most 20\) +1.00 +1.00 to 1.00", text)

    def test_two_results_with_their_difference(
        self, result: InteractiveResult, worse: InteractiveResult
    ):
        values = dict.fromkeys(KEYS, 0.5) | {"noc20@90": 2.0}
        text = printed([result, replace(worse, summary=values)])
        assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
        assert re.search(r"NoC20@90 +1.00 +2.00 +\+1.00 \(\+1.00 to \+1.00\)", text)
        assert re.search(r"IoU@1 +1.000 +0.500 +-0.600 \(-0.600 to -0.600\)", text)

    def test_verdicts(self, result: InteractiveResult, worse: InteractiveResult):
        rows = {row.label: row for row in summary_rows([result, worse])}
        changes = {label: row.cells[-1] for label, row in rows.items()}
        assert changes["NoC20@90"].verdict == changes["IoU@1"].verdict == "worse"
        assert changes["FR20@90"].verdict == "", "no object changed"
        changes = {row.label: row.cells[-1] for row in summary_rows([worse, result])}
        assert changes["NoC20@90"].verdict == changes["IoU@1"].verdict == "better"

    def test_hidden_numbers_are_dashes_beside_others_and_no_row_alone(
        self, result: InteractiveResult
    ):
        hidden = replace(result, summary=dict(result.summary) | {"fr30@90": None})
        shown = replace(result, summary=dict(result.summary) | {"fr30@90": 0.5})
        (row,) = (r for r in summary_rows([hidden, shown]) if r.label == "FR30@90")
        assert row.cells[0].text == UNKNOWN
        assert "FR30@90" not in [r.label for r in summary_rows([hidden])]


def printed(results: list[InteractiveResult]) -> str:
    console = Console(width=80, file=io.StringIO(), color_system=None)
    console.print(terminal_table(summary_table(results)))
    return console.file.getvalue()


def object_row(clicks: tuple[Click, ...], mask: np.ndarray) -> ObjectResult:
    return ObjectResult(
        "a.png",
        1,
        1,
        "thing",
        clicks,
        (0.5,) * len(clicks),
        (0.1,) * len(clicks),
        {},
        Rle.from_mask(mask),
    )
