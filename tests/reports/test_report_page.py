"""A run's page tells what its files hold, loads nothing, and moves by the keyboard."""

import base64
import datetime
import html.parser
import io
import json
import re

import numpy as np
import pytest
from browser import chromium, findings
from PIL import Image
from reports.conftest import COLOURS, SIDE
from run_lines import lines_of, measurement
from runs.test_damaged_runs import SOME, mutants

from ladagan_tf.errors import InputError
from ladagan_tf.pictures import WIDE
from ladagan_tf.reports import gathering, page

VOID = {"meta", "img", "input", "br"}
NOW = datetime.datetime(2026, 11, 26, 12, 30, tzinfo=datetime.UTC)


def render(*runs):
    return page.render(gathering.read_runs(runs), NOW)


class Reader(html.parser.HTMLParser):
    """Rows of tables, attributes of images, addresses, and whether every tag is closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.rows, self.images, self.addresses = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.addresses += [attributes[n] for n in ("src", "href") if n in attributes]
        if tag == "img":
            self.images.append(attributes)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass  # of SVG

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def test_a_page_tells_what_the_files_hold(run):
    rows = {row[0]: row[1:] for row in Reader(render(run)).rows}
    assert rows["progress"] == ["10.008 of 20 kimg"]
    assert rows["speed"] == ["50 images/s, 20 s per kimg"]
    assert rows["best"] == ["fcd_classifier_1k 90 at 10 kimg"]
    assert rows["hardware"] == ["a CPU, 2 cores"]
    assert rows["last start"] == ["2026-11-26 14:58 UTC, 2 starts"]
    assert rows["fcd ↓"] == ["12.35"]
    assert rows["reference: count"] == ["10000"]
    assert rows["total_kimg"] == ["20.0"]
    assert rows["command"] == ["train.py"]


def test_it_loads_nothing_and_its_policy_forbids_it(run):
    text = render(run)
    assert all(address.startswith("data:image/webp;") for address in Reader(text).addresses)
    assert "default-src 'none'" in text and "url(" not in text and "@import" not in text


def test_every_picture_says_what_it_is(run):
    (image,) = Reader(render(run)).images
    assert image["alt"] == "Samples, run, after 10.01 kimg"
    (run / "reals.png").write_bytes((run / "samples" / "samples_000000.000kimg.png").read_bytes())
    real, image = Reader(render(run)).images
    assert real["alt"] == "Real images of shapes, run"


def decoded(uri):
    data = base64.b64decode(uri.removeprefix("data:image/webp;base64,"))
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def test_the_newest_picture_is_shown_and_the_others_wait_for_the_slider(run):
    text = render(run)
    data = json.loads(re.search(r'id="data">(.*?)</script>', text)[1])
    assert data["stops"] == [*COLOURS] and data["end"] == 10.008
    waiting, (image,) = data["moving"]["p0"], Reader(text).images
    uris = [*(uri for _, uri in waiting[:-1]), image["src"]]
    for uri, colour in zip(uris, COLOURS.values(), strict=True):
        np.testing.assert_allclose(decoded(uri).mean((0, 1)), colour, atol=4)
    assert waiting[-1] == [10.008, None]  # it is in the page once


def test_small_pictures_are_enlarged_by_a_whole_factor_and_large_ones_bounded(run):
    newest = run / "samples" / "samples_000010.008kimg.png"
    _, width, height = page.embedded(newest)
    assert (width, height) == (640, 640)
    wide = run / "wide.png"
    Image.new("RGB", (4000, 1000)).save(wide)
    assert page.embedded(wide)[1:] == (1280, 320)


@pytest.mark.parametrize("size", [(2, 3000), (40, 20_000), (3000, 20_000), (1, 1)])
def test_no_picture_is_larger_than_a_page_shows_whatever_its_shape(tmp_path, size):
    Image.new("L", size).save(tmp_path / "a.png")
    uri, width, height = page.embedded(tmp_path / "a.png")
    assert 1 <= width <= 2 * WIDE and 1 <= height <= page.HIGH
    picture = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
    assert picture.size == (width, height)


@pytest.mark.parametrize("count", [1, 2, 9, 10, 11, 57, 1000])
def test_of_many_pictures_some_are_kept_and_the_same_later(count):
    kept = page.spread([*range(count)], 10)
    assert len(kept) <= 10 and kept[0] == 0 and kept[-1] == count - 1
    later = page.spread([*range(2 * count)], 10)
    assert set(later[:-1]) <= {*kept} | {*range(count, 2 * count)}


def test_a_picture_that_is_being_written_is_left_out(run):
    newest = run / "samples" / "samples_000010.008kimg.png"
    newest.write_bytes(newest.read_bytes()[:40])
    (image,) = Reader(render(run)).images
    assert image["alt"].endswith("after 5 kimg")


def test_runs_stand_side_by_side_and_what_differs_comes_first(make_run):
    runs = make_run("a", g_lr="0.1"), make_run("b", g_lr="0.2")
    (runs[1] / "metrics.jsonl").write_text(lines_of(measurement(value=1.5)))
    reader = Reader(render(*runs))
    rows = {row[0]: row[1:] for row in reader.rows}
    assert rows["g_lr"] == ["0.1", "0.2"] and rows["system"] == ["lada", "lada"]
    names = [row[0] for row in reader.rows]
    assert names.index("g_lr") < names.index("system")
    assert rows["fcd ↓"] == ["12.35", "1.5"] and rows["is ↓"] == ["5", ""]
    assert [image["alt"].split(",")[1] for image in reader.images] == [" a", " b"]


def test_numbers_of_other_protocols_are_other_columns(run):
    other = measurement(value=3.0, engine="tfgan")
    (run / "metrics.jsonl").write_text(
        lines_of(measurement(value=1.0), measurement(value=2.0), other)
    )
    rows = {row[0]: row[1:] for row in Reader(render(run)).rows}
    assert rows["fcd ↓"] == ["2", ""] and rows["fcd by tfgan ↓"] == ["", "3"]


def test_classes_have_a_table_by_name(run):
    details = {"by_class": {"food-drink": {"value": 7.123456, "real": 60, "generated": 50}}}
    (run / "metrics.jsonl").write_text(lines_of(measurement("intra_fcd", details=details)))
    assert ["food-drink", "7.123", "50", "60"] in Reader(render(run)).rows


def test_rows_of_grids_are_named_where_classes_have_names(make_run):
    run = make_run("gat", grid="3", seed="7")
    names = ["flags", "food-drink", "objects", "symbols", "people"]
    models = {"generator": {"config": {"class_names": names}}}
    (run / "models.json").write_text(json.dumps(models))
    page_of_run = Reader(render(run))
    rows = {row[0]: row[1:] for row in page_of_run.rows}
    assert rows["rows of grids"] == ["flags, objects, people"]
    (image,) = page_of_run.images
    said = "Samples, gat, seed 7, rows: flags, objects, people, after 10.01 kimg"
    assert image["alt"] == said
    (run / "models.json").write_text('{"generator": {"config": {"class_names": []}}}')
    assert "rows of grids" not in {row[0] for row in Reader(render(run)).rows}


def test_nothing_in_a_run_s_files_becomes_markup(make_run):
    evil = '"><script>x</script>\udcff'.encode("utf-8", "replace").decode()
    run = make_run("a<b>", dataset=evil)
    (run / "metrics.jsonl").write_text(lines_of(measurement(evil, features=evil)))
    (run / "samples" / f"{evil.replace('/', '')}_1.0kimg.png").write_bytes(b"")
    text = render(run)
    assert "<script>x" not in text and "a<b>" not in text
    Reader(text)


def test_a_run_that_has_just_started_has_a_page(tmp_path):
    (tmp_path / "flags.cfg").write_text("--system=lada\n")
    rows = {row[0]: row[1:] for row in Reader(render(tmp_path)).rows}
    assert rows["progress"] == ["0 kimg"] and rows["system"] == ["lada"]


def test_large_numbers_have_no_exponents(make_run):
    run = make_run(total_kimg="20000000")
    (run / "stats.jsonl").write_text(lines_of({"step": 9, "kimg": 1234567.5, "d_loss": 0.5}))
    Image.new("RGB", (SIDE, SIDE)).save(run / "samples" / "samples_1234567.500kimg.png")
    text = render(run)
    assert "1234568 of 20000000 kimg" in text and "after 1234568 kimg" in text
    assert "e+0" not in text


def test_what_is_no_run_is_named(tmp_path):
    for path, words in ((tmp_path, "no flags.cfg in it"), (tmp_path / "no", "no such folder")):
        with pytest.raises(InputError, match=words):
            render(path)


def test_the_slider_moves_pictures_and_curves_by_the_keyboard(run):
    with chromium() as browser:
        page.write([run], run / "report.html")
        tab = browser.new_page(viewport={"width": 360, "height": 700})
        asked, failures = [], []
        tab.on("request", lambda request: asked.append(request.url.split(":")[0]))
        tab.on("pageerror", lambda error: failures.append(str(error)))
        tab.goto(f"file://{run / 'report.html'}")
        tab.focus("#kimg")
        for key, alt, share in (
            (None, "after 10.01 kimg", 1.0),
            ("ArrowLeft", "after 5 kimg", 5 / 10.008),
            ("Home", "after 0 kimg", 0.0),
            ("End", "after 10.01 kimg", 1.0),
        ):
            if key:
                tab.keyboard.press(key)
            image = tab.locator("#p0")
            assert image.get_attribute("alt") == f"Samples, run, {alt}"
            assert tab.locator(".at").inner_text() == alt
            at = tab.evaluate("document.documentElement.style.getPropertyValue('--at')")
            assert float(at) == pytest.approx(share)
        assert tab.evaluate("document.documentElement.scrollWidth") <= 360
        for scheme in ("light", "dark"):
            tab.emulate_media(color_scheme=scheme)
            assert findings(tab) == []
        assert set(asked) <= {"file", "data"} and failures == []


@pytest.mark.parametrize(
    "name", ["stats.jsonl", "metrics.jsonl", "environment.json", "flags.cfg", "samples"]
)
def test_whatever_became_of_a_file_there_is_a_page(run, name):
    details = {"by_class": {"food-drink": {"value": 7.5, "real": 60, "generated": 50}}}
    (run / "metrics.jsonl").write_text(lines_of(measurement(details=details), measurement("is")))
    damaged = run / name if name != "samples" else next((run / name).iterdir())
    for _ in mutants(damaged, SOME):
        Reader(render(run))
