"""The demo page has the controls of its model, and a browser sees its pictures."""

import concurrent.futures
import contextlib
import dataclasses
import io
import json
import os
import queue
import signal
import sys
import threading
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
from browser import chromium, findings
from in_process import command, error_line
from page_truth import INVALID, Truncating, expected
from PIL import Image

from ladagan_tf import demo, pictures
from ladagan_tf.flags import demo as demo_flags
from ladagan_tf.sampling.sampler import of_network
from ladagan_tf.serving import page_pictures
from ladagan_tf.serving.page_pictures import View

PAGE = "page on http://"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    pytest.importorskip("gradio", reason="gradio is optional: the page is not tested")
    from ladagan_tf.serving import page

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("gradio")))  # each app's own
        yield page


def labels_shown(page, source, folder):
    components = page.build(source, folder).blocks.values()
    return {c.label for c in components if getattr(c, "label", None) and c.visible}


def test_only_controls_that_the_model_has_are_shown(page, small, conditional, tiny_gat, tmp_path):
    always = {"First seed", "Images", "Seed", "From seed", "To seed", "Position (%)"}
    of_z = {"Truncation of z (4: none)"}
    moves = {"Directions", *(f"Direction {number}" for number in range(1, 9))}
    for source, more in (
        (small, {"Attention", "Resolution", "Head", *of_z, *moves}),
        (conditional, {"Attention", "Resolution", "Head", "Class", *of_z, *moves}),
        (of_network(Truncating()), {"Closer", "Truncation psi"}),
        (of_network(tiny_gat), {"Closer", "Class", "Truncation psi", *moves}),
        (dataclasses.replace(small, network=None), {"Closer", *of_z}),  # of a SavedModel
    ):
        shown = labels_shown(page, source, tmp_path)
        assert always <= shown
        known = {"Attention", "Closer", "Resolution", "Head", "Class", "Truncation psi"}
        known |= of_z | moves
        assert shown & known == more


def test_a_missing_package_is_one_line(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    for name in ("ladagan_tf.serving.page", "ladagan_tf.serving.page_server"):
        monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.delattr(name, raising=False)
    with command(demo, demo_flags.define) as call:
        line = error_line(call, ["--model=x.keras"], capsys)
    hint = "pip install 'gradio>=6.31,<7'"
    assert line.startswith("error: demo: it needs packages") and line.endswith(hint)


def test_wrong_flags_are_one_line(page, tmp_path, capsys):
    with command(demo, demo_flags.define) as call:
        for arguments, message in (
            (["--model=a", "--run_dir=b"], "error: give either --run_dir or --model"),
            (
                [f"--model={tmp_path}"],
                f"{tmp_path}: it is no model; give a .keras file, a SavedModel",
            ),
        ):
            assert message in error_line(call, arguments, capsys)


def test_the_command_serves_the_page_of_its_model(page, small, tmp_path, monkeypatch):
    small.network.save(tmp_path / "small.keras")
    served = []
    monkeypatch.setattr("ladagan_tf.serving.page_server.serve", lambda *to, say: served.extend(to))
    with command(demo, demo_flags.define) as call:
        call(f"--model={tmp_path / 'small.keras'}", "--port=7")
    source, host, port = served
    assert (host, port) == ("127.0.0.1", 7)
    assert source.about["model"] == str(tmp_path / "small.keras")


@contextlib.contextmanager
def running(application):
    """http://host:port of a page in a thread of this process."""
    from ladagan_tf.serving import listening

    listener = listening.listen("127.0.0.1", 0)
    server = listening.Server(application, listener, timeout_graceful_shutdown=1)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield listening.address(listener)
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def address(page, small, tmp_path_factory):
    from ladagan_tf.serving import page_server

    with running(page_server.make_app(small, tmp_path_factory.mktemp("demo"))) as address:
        yield address


def answer(address, name, *values):
    """What a function of the page answers its browser."""
    body = json.dumps({"data": values, "session_hash": "a visitor"}).encode()
    request = urllib.request.Request(
        f"{address}/gradio_api/run/{name}", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as response:
        return json.load(response)["data"]


def read(picture):
    """Pixels of a picture or download that the page answered with."""
    with urllib.request.urlopen((picture.get("value") or picture)["url"]) as file:
        return np.asarray(Image.open(io.BytesIO(file.read())).convert("RGB")).astype(int)


@pytest.mark.slow
def test_a_page_answers_until_a_signal_ends_it(page, small):
    from ladagan_tf.serving import page_server

    said = queue.Queue()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}

    def visit():
        try:
            line = said.get(timeout=60)
            assert line.startswith(PAGE)
            check_answers(line.removeprefix("page on "), small)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    try:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            visited = pool.submit(visit)
            page_server.serve(small, "127.0.0.1", 0, say=said.put)
            visited.result()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def check_answers(address, small):
    for count in (1, 4):
        given = ("5", count, None, 1.0, 4.0)
        message, picture, _, _, download, slider, chosen = answer(address, "samples", *given)
        assert message == "" and chosen == "5" and slider["visible"] == (count > 1)
        right = expected(small, range(5, 5 + count))
        sheet = pictures.grid(right, pictures.square_columns(count))
        np.testing.assert_allclose(read(download), sheet, atol=1)
        np.testing.assert_allclose(read(picture), framed(right, 0), atol=1)
    for text in INVALID:
        message = answer(address, "samples", text, 4, None, 1.0, 4.0)[0]
        assert "is not a whole number from 0 to" in message


@pytest.fixture(scope="module")
def hasty(page, small, tmp_path_factory):
    """(address, folder) of a page in this process that keeps pictures for a second."""
    from ladagan_tf.serving import page_server

    folder = tmp_path_factory.mktemp("pictures")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "KEPT_S", 1)
        patch.setattr(page, "TIDIED_S", 1)
        application = page_server.make_app(small, folder)
    with running(application) as address:
        yield address, folder


def test_images_of_so_many_visitors_are_kept_for_a_day(page, small, tmp_path):
    blocks = page.build(small, tmp_path)
    states = [part for part in blocks.blocks.values() if isinstance(part, page.gr.State)]
    assert [state.time_to_live for state in states] == [page.SHOWN_S, page.SHOWN_S]
    assert blocks.state_session_capacity == page.VISITORS


def test_no_answer_waits_in_gradios_queue_whose_page_loses_clicks(page, small, tmp_path):
    assert [fn.api_name for fn in page.build(small, tmp_path).fns.values() if fn.queue] == []


@pytest.mark.slow
def test_a_position_between_two_steps_is_the_nearest_and_its_files_are_deleted(hasty, small):
    address, folder = hasty
    answer(address, "samples", "5", 4, None, 1.0, 4.0)
    message, picture = answer(address, "between", "0", "1", 33.3, None, 1.0, 4.0)
    assert message == ""
    right = View(small).between("0", "1", 33, None, 1.0)
    np.testing.assert_allclose(read(picture), right.astype(int), atol=1)
    assert any(path.is_file() for path in folder.rglob("*"))
    end = time.monotonic() + 20
    while any(path.is_file() for path in folder.rglob("*")):
        assert time.monotonic() < end, "what a visitor saw is still there"
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "method, path",
    [
        ("POST", "upload"),
        ("GET", "upload_progress?upload_id=1"),
        ("GET", "proxy=https://example.com"),
        ("POST", "vibe-edit"),
        ("POST", "queue/join"),
        ("PUT", "queue/join"),
    ],
)
def test_what_the_page_does_not_ask_for_is_closed(hasty, method, path):
    request = urllib.request.Request(f"{hasty[0]}/gradio_api/{path}", b"x", method=method)
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(request)


@pytest.mark.slow
def test_a_visitor_cannot_send_a_long_body(hasty):
    request = urllib.request.Request(f"{hasty[0]}/gradio_api/run/samples", b"x" * 100_000)
    with pytest.raises(urllib.error.HTTPError, match="413"):
        urllib.request.urlopen(request)


def framed(images, chosen):
    return page_pictures.framed_grid(images.astype(np.uint8), chosen).astype(int)


@pytest.fixture(scope="module")
def tab(address):
    """A tab of a headless browser with the page; every address it asks for is in `tab.asked`."""
    with chromium() as browser:
        tab = browser.new_page(viewport={"width": 1280, "height": 1000})
        tab.asked, tab.failures = [], []
        tab.on("request", lambda request: tab.asked.append(request.url))
        tab.on("pageerror", lambda error: tab.failures.append(str(error)))
        tab.goto(address)
        yield tab


def shown(tab, name):
    """Pixels of a picture of the page, once they are there."""
    picture = tab.locator(f"#{name} img")
    picture.wait_for(timeout=30_000)
    with urllib.request.urlopen(picture.get_attribute("src")) as answer:
        return np.asarray(Image.open(io.BytesIO(answer.read())).convert("RGB")).astype(int)


def becomes(tab, name, right, crop=lambda pixels: pixels):
    """Waits until a picture, cropped, is the right one: what came before may still arrive.

    Then the tab has it, too, and can tell where in it a click is.
    """
    end = time.monotonic() + 90
    while True:
        got = crop(shown(tab, name))
        if got.shape == right.shape and np.abs(got - right).max() <= 1:
            drawn = "picture => picture.complete && picture.naturalWidth > 0"
            tab.wait_for_function(f"({drawn})(document.querySelector('#{name} img'))")
            return
        assert time.monotonic() < end, f"{name} did not become the expected picture"
        tab.wait_for_timeout(100)


def field(tab, name):
    return tab.locator(f"#{name} input, #{name} textarea").first


@pytest.mark.slow
def test_a_browser_loads_the_page_and_asks_no_other_host(tab, address, small):
    becomes(tab, "samples", framed(expected(small, range(25)), 0))
    assert tab.title() == "small - ladagan_tf"
    assert shown(tab, "closer").shape[1] > shown(tab, "closer").shape[0]
    elsewhere = [url for url in tab.asked if not url.startswith((address, "data:", "blob:"))]
    assert not elsewhere and not tab.failures


@pytest.mark.slow
def test_a_click_changes_the_images(tab, small):
    right = expected(small, range(100, 125))
    field(tab, "seed").fill("100")
    tab.locator("#generate").click()
    becomes(tab, "samples", framed(right, 0))
    # The second image of the third row.
    box = tab.locator("#samples img").bounding_box()
    spot = {"x": box["width"] * 0.3, "y": box["height"] * 0.5}
    tab.locator("#samples img").click(position=spot)
    becomes(tab, "samples", framed(right, 11))
    view = View(small)
    for side, head in ((8, 1), (16, 1), (16, 2)):
        tab.get_by_label(f"{side} x {side}").click()
        tab.locator("#head").get_by_label(str(head)).click()
        becomes(tab, "closer", view.look("111", None, 1.0, side, head).astype(int))
    assert field(tab, "chosen").input_value() == "111"
    tab.locator("#random").click()
    tab.wait_for_function(
        "() => document.querySelector('#seed input, #seed textarea').value != 100"
    )
    first = int(field(tab, "seed").input_value())
    becomes(tab, "samples", framed(expected(small, range(first, first + 25)), 0))


def alternative(tab, name, text):
    """Waits until a picture of the page says `text` to those who do not see it."""
    tab.locator(f'#{name} img[alt="{text}"]').wait_for(timeout=30_000)


@pytest.mark.slow
def test_an_image_is_chosen_by_the_keyboard_and_pictures_say_what_they_are(tab, small):
    field(tab, "seed").fill("40")
    field(tab, "seed").press("Enter")
    alternative(tab, "samples", "25 images of seeds 40 to 64; chosen: seed 40")
    tab.locator("#closer img[alt^='Seed 40, ']").wait_for()  # or what follows moves the slider back
    for seed in (41, 42):
        tab.locator("#pick input[type=range]").press("ArrowRight")
        alternative(tab, "samples", f"25 images of seeds 40 to 64; chosen: seed {seed}")
    becomes(tab, "samples", framed(expected(small, range(40, 65)), 2))
    tab.locator("#closer img[alt^='Seed 42, and where head ']").wait_for(timeout=30_000)
    assert field(tab, "chosen").input_value() == "42"


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_on_the_page_hinders_anybody_and_a_tab_moves_nothing(tab, scheme):
    tab.emulate_media(color_scheme=scheme)
    # Colours between two schemes are of neither.
    dark = scheme == "dark"
    tab.wait_for_function("dark => document.body.classList.contains('dark') === dark", arg=dark)
    tab.wait_for_function("document.getAnimations().every(one => one.playState !== 'running')")
    places = []
    for name in ("Attention", "Between two seeds", "Directions"):
        tab.get_by_role("tab", name=name).click()
        tab.locator("#closer img, #between img, #moved img").locator("visible=true").wait_for()
        assert findings(tab) == []
        places.append(tab.locator("#samples").bounding_box())
    assert places[0] == places[1] == places[2]


@pytest.mark.slow
def test_the_slider_walks_between_two_seeds(tab, small):
    tab.get_by_role("tab", name="Between two seeds").click()
    view = View(small)
    for position in (50, 100):
        tab.locator("#position input[type=range]").fill(str(position))
        becomes(tab, "between", view.between("0", "1", position, None, 1.0).astype(int))


@pytest.mark.slow
def test_a_slider_moves_a_seed_along_a_direction_and_a_button_back(tab, small):
    tab.get_by_role("tab", name="Directions").click()
    view, steps = View(small), np.zeros(8)
    tab.locator("#direction_2 input[type=range]").fill("1.5")
    steps[1] = 1.5
    becomes(tab, "moved", view.moved("0", steps, None, 1.0).astype(int))
    alternative(tab, "moved", "Seed 0, 1.5 along direction 2")
    tab.locator("#back").click()
    becomes(tab, "moved", view.moved("0", np.zeros(8), None, 1.0).astype(int))


@pytest.mark.slow
def test_an_invalid_seed_shows_a_message_and_keeps_the_images(tab, small):
    before = shown(tab, "samples")
    for text in ("-1", "one", str(2**63)):
        refused = tab.get_by_text(f"The seed '{text}' is not a whole number from 0 to")
        for _ in range(4):  # on a busy machine a click can come before the page took the text
            field(tab, "seed").fill(text)
            tab.locator("#generate").click()
            tab.wait_for_timeout(1_000)
            if refused.is_visible():
                break
        refused.wait_for()
        assert tab.get_by_role("alert").filter(has=refused).count() == 1
        np.testing.assert_array_equal(shown(tab, "samples"), before)
    field(tab, "seed").fill("7")
    tab.locator("#generate").click()
    tab.get_by_text("is not a whole number").wait_for(state="hidden")
    becomes(tab, "samples", framed(expected(small, range(7, 32)), 0))
    assert not tab.failures
