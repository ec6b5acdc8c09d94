"""The exported page makes in a browser what `generate` makes here, and tells what goes wrong."""

import base64
import functools
import gzip
import http.server
import io
import json
import shutil
import subprocess
import tarfile
import threading

import keras
import numpy as np
import pytest
from browser import chromium, findings
from in_process import command, error_line
from PIL import Image
from small_generators import SIZES

from ladagan_tf import export, pictures
from ladagan_tf.errors import InputError
from ladagan_tf.exporting import formats, rounding, web
from ladagan_tf.flags import export as export_flags
from ladagan_tf.models.lada.generator import Generator
from ladagan_tf.sampling import seeds, walks
from ladagan_tf.sampling.sampler import of_network

BAD_SEEDS = ["-1", "one", "", "1.5", "0-3", str(2**63), "9" * 40]
WASM = "ort-wasm-simd-threaded.wasm"
READY = "#grid[aria-busy=false]"
pytestmark = pytest.mark.usefixtures("eagerly")  # images of many batch sizes, few of each


@pytest.fixture(scope="session")
def runtime():
    """The files of onnxruntime-web, from npm or from the cache."""
    try:
        return web.find_runtime()
    except InputError as error:
        pytest.skip(f"no npm registry: {error}")


@pytest.fixture(scope="module")
def conditional():
    """`Sampler` of a LadaGAN of three classes, with weights so large that each shows."""
    sizes = {**SIZES, "num_classes": 3, "modulation": "vitgan_sln"}
    network, rng = Generator(**sizes), np.random.default_rng(0)
    network.set_weights([rng.normal(0, 0.2, w.shape) for w in network.get_weights()])
    return of_network(network, {"model": "conditional"})


@pytest.fixture(scope="module")
def site(conditional, runtime, tmp_path_factory):
    """A page of a LadaGAN with three classes and psi, which says where it looks; float16."""
    pytest.importorskip("tf2onnx", reason="tf2onnx is optional: the page is not tested")
    out = tmp_path_factory.mktemp("web") / "site"
    how = {"weights": "float16", "runtime": runtime, "say": lambda line: None}
    with pytest.MonkeyPatch.context() as patch:
        for module, name, few in (  # of one size: compiled once
            (formats, "BATCHES", (2,)),
            (formats, "COLUMNS", 2),
            (rounding, "COMPARED", 2),
        ):
            patch.setattr(module, name, few)
        formats.export(conditional, out, ["web"], **how)
    return out


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


class Host(http.server.ThreadingHTTPServer):
    """A static host of a folder, as `python -m http.server`, that can be gone."""

    def __init__(self, folder, port=0):
        super().__init__(("127.0.0.1", port), functools.partial(Quiet, directory=folder))
        self.address = f"http://127.0.0.1:{self.server_port}/"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def leave(self):
        self.shutdown()
        self.server_close()

    def holds(self, folder):
        """Serves another folder, under the same address."""
        self.leave()
        return Host(folder, self.server_port)


@pytest.fixture(scope="module")
def browser():
    """Chromium with a GPU that is computed on the CPU, and says so."""
    with chromium("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader") as browser:
        yield browser


@pytest.fixture(scope="module")
def tab(browser, site):
    """A tab with the page of 360 px width, after its first images, on a machine of four cores."""
    host = Host(site)
    tab = browser.new_page(viewport={"width": 360, "height": 800}, accept_downloads=True)
    tab.add_init_script(has("hardwareConcurrency", "4"))
    tab.host, tab.asked, tab.failures = host, [], []
    tab.on("request", lambda request: tab.asked.append(request.url))
    tab.on("pageerror", lambda error: tab.failures.append(str(error)))
    tab.goto(host.address)
    tab.wait_for_selector(READY)
    yield tab


def has(name, value):
    """JavaScript that gives a page's `navigator` something."""
    return f"Object.defineProperty(navigator, '{name}', {{ value: {value} }})"


def without_service_worker(tab, name, answer):
    """A page as over HTTP without a secure connection, with another answer for one of its files."""
    tab.add_init_script(has("serviceWorker", "undefined"))
    tab.route(f"**/{name}", lambda route: route.fulfill(**answer))


def prefixed(code):
    """The worker's script behind some code, as an answer."""
    body = code + (web.PARTS / "worker.js").read_text()
    return {"body": body, "content_type": "text/javascript"}


def status(tab):
    return tab.locator("#status").inner_text()


def pixels(tab, canvas):
    """uint8 array (H, W, 3) of a canvas, found by CSS."""
    url = tab.locator(canvas).evaluate("canvas => canvas.toDataURL('image/png')")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGB"))


def generated(sampler, numbers, labels=None):
    """What `generate --seeds` makes, by default with the classes in turn."""
    return np.concatenate([*walks.image_batches(sampler, *sampler.inputs(numbers, labels))])


def assert_same(seen, right):
    assert seen.shape == right.shape
    assert np.abs(seen.astype(int) - right).mean() < 1


def javascript(tab_or_none, expression):
    """A float array that an expression makes with latents.js, by node, else by the browser."""
    source = (web.PARTS / "latents.js").read_text()
    code = f"{source}\nconst made = {expression};\n"
    if node := shutil.which("node"):
        code += "process.stdout.write(Buffer.from(made.buffer).toString('base64'));"
        done = subprocess.run(
            [node, "--input-type=module"], input=code, capture_output=True, text=True, check=True
        )
        return base64.b64decode(done.stdout)
    module = base64.b64encode(f"{code}export {{ made }};".encode()).decode()
    tab = tab_or_none.new_page()
    made = tab.evaluate(f"import('data:text/javascript;base64,{module}').then(m => [...m.made])")
    return np.array(made, np.float32).tobytes()


def flat(lists):
    return f"Float32Array.from({lists}.flatMap((z) => [...z]))"


@pytest.fixture(scope="module")
def in_javascript(request):
    """`javascript`; a browser is started only where there is no node."""
    browser = None if shutil.which("node") else request.getfixturevalue("browser")
    return lambda expression: np.frombuffer(javascript(browser, expression), np.float32)


def test_latents_of_seeds_are_numpy_s_to_the_last_bit(in_javascript):
    """256,000 numbers come through every layer of the ziggurat, and 50 times its tail."""
    many = [*range(1996), 2**32, 2**53 + 1, 2**62, seeds.MAX_SEED]
    wanted = json.dumps([str(seed) for seed in many])
    made = in_javascript(flat(f"{wanted}.map((seed) => latent(BigInt(seed), 128))"))
    right = seeds.latents(many, 128)
    assert (np.abs(right) > 3.6541528853610088).sum() > 50
    np.testing.assert_array_equal(made.reshape(2000, 128), right)


def test_a_walk_is_that_of_generate(in_javascript):
    parts = "[0, 0.25, 0.5, 0.75].map((t) => between(latent(3n, 64), latent(4n, 64), t))"
    right = walks.walk(seeds.latents([3, 4], 64), 4)[:4]
    np.testing.assert_allclose(
        in_javascript(flat(parts)).reshape(4, 64), right, rtol=1e-5, atol=1e-6
    )
    same = "[0.5].map((t) => between(latent(3n, 64), latent(3n, 64), t))"
    np.testing.assert_allclose(
        in_javascript(flat(same)), seeds.latents([3], 64)[0], rtol=1e-5, atol=1e-6
    )


@pytest.mark.slow
def test_the_page_shows_the_images_of_generate(tab, conditional, site):
    right = generated(conditional, range(9))
    assert np.abs(np.diff(right.astype(int), axis=0)).mean(axis=(1, 2, 3)).min() > 5
    for i, image in enumerate(right):
        assert_same(pixels(tab, f"#grid button:nth-child({i + 1}) canvas"), image)
    assert_same(pixels(tab, "#closer"), right[0])
    elsewhere = [url for url in tab.asked if not url.startswith((tab.host.address, "data:"))]
    assert not elsewhere and not tab.failures
    assert tab.title() == "LadaGAN 32 x 32 - ladagan_tf"
    assert tab.get_by_label("Truncation psi").is_visible()


@pytest.mark.slow
def test_without_a_gpu_two_of_four_cores_compute_and_its_files_stay_where_they_are(tab):
    """This host sends no header that allows threads."""
    assert status(tab) == "The model is ready, in 2 threads."
    assert not [url for url in tab.asked if "gpu" in url or "jsep" in url]


class Gated(keras.Model):
    """Images of 8 px: a product, split in two."""

    noise_dim, resolution = 4, 8

    def __init__(self):
        super().__init__()
        self.both = keras.layers.Dense(2 * 8 * 8 * 3, kernel_initializer="random_normal")
        self.built = True
        self.both.build((None, 4))

    def call(self, z, training=None):
        value, gate = keras.ops.split(self.both(z) * 20.0, 2, axis=-1)
        return keras.ops.reshape(keras.ops.tanh(value) * keras.ops.sigmoid(gate), (-1, 8, 8, 3))


@pytest.fixture(scope="module")
def gated(runtime, tmp_path_factory):
    """(Host, Sampler) of a page with so small a model that a GPU in software draws it soon."""
    pytest.importorskip("tf2onnx", reason="tf2onnx is optional: the page is not tested")
    sampler, folder = of_network(Gated()), tmp_path_factory.mktemp("gated")
    web.write_model(sampler.network, folder / web.MODEL)
    web.write_page(folder, sampler, runtime, "float32")
    host = Host(folder)
    yield host, sampler
    host.leave()


@pytest.mark.slow
def test_a_gpu_makes_the_same_images(browser, gated):
    host, sampler = gated
    tab = browser.new_page()
    hardware = "{ get: () => false }"  # says the software that is to be taken for it
    tab.add_init_script(
        f"Object.defineProperty(GPUAdapterInfo.prototype, 'isFallbackAdapter', {hardware})"
    )
    tab.goto(host.address)
    if not tab.evaluate("navigator.gpu?.requestAdapter().then(Boolean)"):
        pytest.skip("no Chromium with WebGPU in software")
    tab.wait_for_selector(READY)
    assert status(tab) == "The model is ready, on the GPU."
    assert_same(pixels(tab, "#closer"), generated(sampler, [0])[0])
    tab.close()


@pytest.mark.slow
def test_from_a_gpu_that_fails_the_model_moves_to_webassembly(browser, gated):
    host, sampler = gated
    tab = browser.new_page()
    tab.add_init_script(has("gpu", "{ requestAdapter: async () => ({ info: {} }) }"))
    without_service_worker(tab, "worker.js", prefixed(f"{has('gpu', 'undefined')};"))
    tab.goto(host.address)
    tab.wait_for_selector(READY)
    assert tab.locator("#moved").inner_text().startswith("The GPU could not run it (")
    assert status(tab) == "The model is ready."
    assert_same(pixels(tab, "#closer"), generated(sampler, [0])[0])
    tab.close()


@pytest.mark.slow
def test_nothing_hinders_people_and_nothing_is_too_wide(tab):
    for colours in ("light", "dark"):
        tab.emulate_media(color_scheme=colours)
        assert findings(tab) == []
    assert tab.evaluate("document.documentElement.scrollWidth") == 360


@pytest.mark.slow
def test_keys_alone_draw_a_seed_of_a_class_and_save_it(tab, conditional, tmp_path):
    tab.get_by_label("First seed").focus()
    tab.keyboard.press("ControlOrMeta+a")
    tab.keyboard.type("7")
    tab.keyboard.press("Tab")
    tab.keyboard.press("4")  # images
    tab.wait_for_selector("#grid button:nth-child(4):last-child")
    tab.get_by_label("Class").select_option("2")
    tab.wait_for_selector(READY)
    right = generated(conditional, range(7, 11), [2] * 4)
    assert_same(pixels(tab, "#closer"), right[0])
    assert np.abs(right[0].astype(int) - generated(conditional, [7])[0]).mean() > 5
    with tab.expect_download() as download:
        tab.locator("#save-grid").press("Enter")
    assert download.value.suggested_filename == "seeds-7.png"
    download.value.save_as(tmp_path / "grid.png")
    saved = np.asarray(Image.open(tmp_path / "grid.png").convert("RGB"))
    assert_same(saved, pictures.grid(right, 2))


@pytest.mark.slow
def test_it_shows_where_the_model_looks(tab, conditional):
    tab.locator("#grid button:nth-child(3)").press("Space")
    seed = int(tab.locator("#chosen").inner_text())
    label = int(tab.get_by_label("Class").input_value() or seed % 3)
    tab.get_by_label("Attention").select_option("16 x 16, head 2")
    z = seeds.latents([seed], 8)
    images, maps = conditional.network.attention_maps(z, np.int32([label]))
    image = pictures.to_uint8(images)[0]
    right = pictures._overlay(image, np.asarray(maps[1])[0, 1])
    assert_same(pixels(tab, "#closer"), right)
    tab.get_by_label("Attention").select_option("none")
    assert_same(pixels(tab, "#closer"), image)


@pytest.mark.slow
def test_the_slider_walks_between_seeds(tab, conditional):
    tab.get_by_label("Class").select_option("1")
    tab.get_by_label("To seed").fill("5")
    tab.get_by_label("Position (%)").fill("75")
    z = walks.walk(seeds.latents([0, 5], 8), 4)[3:4]
    right = next(iter(walks.image_batches(conditional, z, np.int32([1]))))[0]
    tab.wait_for_timeout(100)
    tab.wait_for_selector("#between[aria-busy=false]")
    assert_same(pixels(tab, "#between"), right)


@pytest.mark.slow
def test_a_bad_seed_shows_a_message_and_keeps_the_images(tab):
    tab.wait_for_selector(READY)
    before, field = pixels(tab, "#closer"), tab.get_by_label("First seed")
    for text in BAD_SEEDS:
        field.fill(text)
        field.press("Enter")
        said = f"The seed '{text}' is not a whole number from 0 to 9223372036854775807."
        assert tab.get_by_role("alert").inner_text() == said
        np.testing.assert_array_equal(pixels(tab, "#closer"), before)
    field.fill(str(seeds.MAX_SEED))
    field.press("Enter")
    assert "Seeds end at" in tab.get_by_role("alert").inner_text()
    field.fill("7")
    field.press("Enter")
    tab.get_by_role("alert").wait_for(state="hidden")
    assert not tab.failures


@pytest.mark.slow
def test_a_worker_that_fails_later_is_told_and_asked_again(tab):
    (worker,) = [one for one in tab.workers if one.url.endswith("worker.js")]
    throws = "setTimeout(() => { throw new Error('out of order') })"
    worker.evaluate(f"() => {{ self.kept = postMessage; self.postMessage = () => {throws}; }}")
    tab.locator("#first").fill("11")
    tab.locator("#first").press("Enter")
    tab.locator("#message", has_text="out of order").wait_for()
    worker.evaluate("() => { self.postMessage = self.kept; }")
    tab.locator("#first").press("Enter")
    tab.locator("#message").wait_for(state="hidden")
    tab.locator(READY).wait_for()
    assert set(tab.failures) == {"out of order"}
    tab.failures.clear()


@pytest.mark.slow
def test_it_opens_again_without_its_host(tab, conditional):
    tab.host.leave()
    tab.reload()
    tab.wait_for_selector(READY)
    assert_same(pixels(tab, "#closer"), generated(conditional, [0])[0])


@pytest.mark.slow
def test_what_is_missing_is_told(browser, site):
    host = Host(site)
    no_memory = "Response.prototype.arrayBuffer = () => { throw new RangeError('failed'); };"
    for name, answer, line in (
        (f"{web.MODEL}*", {"status": 404}, "model.onnx.gz is missing on this host (status 404)."),
        (web.ABOUT, {"status": 404}, "model.json is missing on this host."),
        (
            "worker.js",
            prefixed("WebAssembly.validate = () => false;\n"),
            "This browser has no WebAssembly with SIMD",
        ),
        (
            "worker.js",
            prefixed(no_memory),
            "There is not enough memory for this model (failed).",
        ),
    ):
        tab = browser.new_page()
        without_service_worker(tab, name, answer)
        tab.goto(host.address)
        tab.wait_for_selector("#message:visible")
        assert tab.get_by_role("alert").inner_text().startswith(line)
        assert not tab.locator("#use").is_visible()
        tab.close()
    host.leave()


@pytest.fixture(scope="module")
def cat_model(cat, tmp_path_factory):
    """A folder with the page's model of a CAT with its autoencoder."""
    pytest.importorskip("tf2onnx", reason="tf2onnx is optional: the page is not tested")
    folder = tmp_path_factory.mktemp("cat")
    web.write_model(cat.network, folder / web.MODEL)
    return folder


@pytest.mark.slow
def test_the_model_of_a_cat_takes_psi_and_knows_its_classes(cat, cat_model):
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is optional")
    path = cat_model / web.MODEL
    session = onnxruntime.InferenceSession(gzip.decompress(path.read_bytes()))
    names = session.get_modelmeta().custom_metadata_map["class_names"]
    assert json.loads(names) == ["flags", "food-drink", "crane, machine"]
    z, labels = seeds.latents(range(2), 8), np.int32([1, 2])
    (images,) = session.run(None, {"z": z, "labels": labels, "psi": np.array(0.5, np.float32)})
    np.testing.assert_allclose(images, cat.at(0.5).generate(z, labels), atol=1e-4)
    z, labels = seeds.latents(range(7), 8), np.int32([1, 2, 0, 1, 2, 0, 1])
    whole = web.load_model(path)(z, labels)
    np.testing.assert_allclose(whole, cat.generate(z, labels), atol=1e-4)


@pytest.mark.slow
def test_a_new_export_is_seen_at_once_and_one_of_a_cat_truncates_a_class_by_name(
    tab, cat, cat_model, runtime
):
    """Under the address of another model, whose page was kept."""
    web.write_page(cat_model, cat, runtime, "float32")
    tab.host = tab.host.holds(cat_model)
    tab.goto(tab.host.address)
    tab.wait_for_selector(READY)
    assert_same(pixels(tab, "#closer"), generated(cat, [0])[0])
    assert not tab.get_by_label("Attention").is_visible()
    tab.get_by_label("Class").select_option("crane, machine")
    tab.get_by_label("Truncation psi").fill("0.5")
    tab.wait_for_selector("#psi-value:text('0.5')")
    tab.wait_for_timeout(200)
    tab.wait_for_selector(READY)
    right = generated(cat.at(0.5), [0], [2])[0]
    assert_same(pixels(tab, "#closer"), right)
    assert np.abs(right.astype(int) - generated(cat, [0], [2])[0]).mean() > 2
    kept = "caches.open('ladagan_tf ' + location.href).then((cache) => cache.keys())"
    urls = tab.evaluate(f"{kept}.then((requests) => requests.map(({{ url }}) => url))")
    assert len([url for url in urls if web.MODEL in url]) == 1
    assert not tab.failures


@pytest.mark.slow
def test_another_page_under_its_address_is_left_alone(tab, tmp_path):
    (tmp_path / "index.html").write_text("<p>Mine</p>")
    tab.host = tab.host.holds(tmp_path)
    tab.goto(tab.host.address)
    tab.wait_for_function("navigator.serviceWorker.getRegistrations().then((all) => !all.length)")
    tab.reload()
    assert tab.locator("p").inner_text() == "Mine"
    assert not tab.evaluate("crossOriginIsolated")


def test_only_the_runtime_that_was_tried_is_taken(runtime, tmp_path):
    (tmp_path / "dist").mkdir()
    for name, content in runtime.items():
        (tmp_path / "dist" / name).write_bytes(content)
    assert web.find_runtime(tmp_path) == web.find_runtime(tmp_path / "dist") == runtime
    (tmp_path / "dist" / WASM).write_bytes(b"other")
    with pytest.raises(InputError, match=r"ort_web=.*: its .*wasm is not that of 1.20.1; give"):
        web.find_runtime(tmp_path)
    (tmp_path / "dist" / WASM).unlink()
    with pytest.raises(InputError, match=r"ort_web=.*cannot be read .*ort-wasm"):
        web.find_runtime(tmp_path)


def test_a_wrong_runtime_is_one_line(tmp_path, capsys):
    (tmp_path / "text.tgz").write_text("text")
    with tarfile.open(tmp_path / "empty.tgz", "w:gz"):
        pass
    with command(export, export_flags.define) as main:
        for name in ("none.tgz", "text.tgz", "empty.tgz"):
            arguments = ["--model=zoo:shapes", "--format=web", "--out=o"]
            line = error_line(main, [*arguments, f"--ort_web={tmp_path / name}"], capsys)
            assert f"ort_web={tmp_path / name}: it cannot be read" in line
            assert "npm pack onnxruntime-web@1.20.1" in line
        line = error_line(main, ["--model=zoo:shapes", "--ort_web=x", "--out=o"], capsys)
        assert "ort_web=x: it is for --format=web" in line
        line = error_line(main, ["--model=zoo:shapes", "--weights=int8", "--out=o"], capsys)
        assert (
            "weights=int8: format saved_model cannot hold them, only onnx, litert, web can" in line
        )
