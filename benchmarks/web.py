"""What the exported page costs a visitor: bytes, seconds to the first image, images/s, memory.

Run `python benchmarks/web.py --out=benchmarks/results/web.json`: it exports a model as a page, an
ONNX and a LiteRT file, opens the page in headless Chromium twice (the second visit has what the
service worker kept), compares its first pictures with the live model's, and times the same images
one after the other in onnxruntime and LiteRT from Python. Under three minutes on two idle cores.
"""

import argparse
import base64
import contextlib
import datetime
import functools
import http.server
import io
import json
import os
import pathlib
import statistics
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
SEEN = "#grid canvas:not(.waiting)"
READY = "#grid[aria-busy=false]"
TIMEOUT_MS = 300_000
WARM = 5  # images in Python that are not counted
PARTS = 5  # of the images of a visit: memory is read after each
# Images one after the other, as the walk draws them: milliseconds of each.
DRAWN = """async (count) => {
  const position = document.getElementById("position"), canvas = document.getElementById("between");
  const times = [];
  for (let i = 0; i < count; i++) {
    const start = performance.now();
    const drawn = new Promise((done) => {
      const observer = new MutationObserver(() => {
        if (canvas.getAttribute("aria-busy") === "false") { observer.disconnect(); done(); }
      });
      observer.observe(canvas, { attributes: true, attributeFilter: ["aria-busy"] });
    });
    position.value = i % 101;
    position.dispatchEvent(new Event("input"));
    await drawn;
    times.push(performance.now() - start);
  }
  return times;
}"""


class Counting(http.server.SimpleHTTPRequestHandler):
    """A static host that counts the bytes of files it sends."""

    sent = 0

    def copyfile(self, source, outputfile):
        content = source.read()
        Counting.sent += len(content)
        outputfile.write(content)

    def log_message(self, *arguments):
        pass


@contextlib.contextmanager
def served(folder):
    """Yields the address of a folder."""
    handler = functools.partial(Counting, directory=folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()


def resident_mib(folder="/proc"):
    """Resident memory of Chromium's renderers in MiB, as Linux tells it: the page and its threads.

    Args:
        folder: where processes are told.
    """
    pages, total = os.sysconf("SC_PAGE_SIZE"), 0
    for place in pathlib.Path(folder).glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            command = (place / "cmdline").read_bytes()
            parents = (place / "stat").read_text().rpartition(")")[2].split()
            if b"--type=renderer" in command and descends(int(parents[1])):
                total += int((place / "statm").read_text().split()[1]) * pages
    return round(total / 2**20, 1)


def descends(process):
    """Whether a process comes from this one."""
    while process > 1:
        if process == os.getpid():
            return True
        stat = pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        process = int(stat[1])
    return False


def memory(tab):
    """What a page holds once its garbage is collected: dict of plain values.

    Resident memory of all renderers, which is the page, its worker and WebAssembly; the page's own
    heap of JavaScript; and how many nodes and listeners it has. The worker's garbage is collected
    when it pleases the browser, so the first goes up and down by some MiB.
    """
    session = tab.context.new_cdp_session(tab)
    session.send("HeapProfiler.collectGarbage")
    heap, held = session.send("Runtime.getHeapUsage"), session.send("Memory.getDOMCounters")
    session.detach()
    return {
        "resident_mib": resident_mib(),
        "heap_mib": round(heap["usedSize"] / 2**20, 2),
        "nodes": held["nodes"],
        "listeners": held["jsEventListeners"],
    }


def visit(tab, images):
    """Seconds and memory of one visit, whose page is loading: dict of plain values."""
    start = time.perf_counter()
    tab.wait_for_selector(SEEN, timeout=TIMEOUT_MS)
    first = time.perf_counter() - start
    tab.wait_for_selector(READY, timeout=TIMEOUT_MS)
    tab.evaluate(DRAWN, 10)
    held, times = {0: memory(tab)}, []
    for _ in range(PARTS):
        times += tab.evaluate(DRAWN, images // PARTS)
        held[len(times)] = memory(tab)
    return {
        "seconds_to_first_image": round(first, 2),
        "status": tab.locator("#status").inner_text(),
        "images_per_second": round(1000 * len(times) / sum(times), 1),
        "p50_ms": round(statistics.median(times), 1),
        "p95_ms": round(sorted(times)[int(0.95 * len(times))], 1),
        "memory_after_images": held,
    }


def difference(tab, sampler):
    """Mean and largest difference of the first grid's pictures from a live model's, in levels."""
    import numpy as np
    from PIL import Image

    from ladagan_tf.sampling import walks

    levels, canvases = [], tab.locator("#grid canvas").all()
    numbers = range(len(canvases))
    right = walks.image_batches(sampler, *sampler.inputs(numbers))
    for canvas, image in zip(canvases, np.concatenate(list(right)), strict=True):
        url = canvas.evaluate("canvas => canvas.toDataURL('image/png')")
        picture = Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGB")
        levels.append(np.abs(np.asarray(picture).astype(int) - image))
    return {"mean": round(float(np.mean(levels)), 4), "largest": int(np.max(levels))}


def visited(site, images, sampler, screenshot):
    """Two visits of a site: dict of plain values.

    Args:
        site: path of a folder.
        images: int, drawn after the warm-up in each visit.
        sampler: Sampler, the live model.
        screenshot: path of a PNG file of the first visit; None for none.
    """
    from browser import chromium

    before = Counting.sent
    with served(site) as address, chromium() as browser:
        tab = browser.new_page(viewport={"width": 800, "height": 1200})
        tab.goto(address, wait_until="commit")
        result = {"first_visit": visit(tab, images)}
        first = Counting.sent
        result["downloaded_mb"] = round((first - before) / 1e6, 2)
        result["levels_from_live_model"] = difference(tab, sampler)
        if screenshot:
            tab.screenshot(path=screenshot, full_page=True)
        tab.reload(wait_until="commit")
        result["second_visit"] = visit(tab, images)
        result["downloaded_again_mb"] = round((Counting.sent - first) / 1e6, 2)
    return result


def in_python(exported, sampler, images):
    """Median milliseconds, and images/s, of an exported model's images one after the other."""
    times = []
    for seed in range(images + WARM):
        inputs = sampler.inputs([seed])
        start = time.perf_counter()
        exported(*inputs)
        times.append(time.perf_counter() - start)
    times = times[WARM:]
    per_second = round(len(times) / sum(times), 1)
    return {"p50_ms": round(1000 * statistics.median(times), 1), "images_per_second": per_second}


def measure(sampler, weights, images, screenshot):
    """The page, and the same model in Python, with weights stored in one way."""
    from ladagan_tf.exporting import formats, web

    kept = {"onnx": "onnxruntime", "litert": "litert"}
    with tempfile.TemporaryDirectory() as folder:
        site = pathlib.Path(folder, "site")
        said = []
        how = {"weights": weights, "runtime": web.find_runtime(), "say": said.append}
        formats.export(sampler, site, ["web", *kept], **how)
        result = {"model": sampler.about["model"], "weights": weights, "exported": said}
        result |= {"resolution": sampler.resolution, **visited(site, images, sampler, screenshot)}
        for name, runtime in kept.items():
            form = formats.FORMATS[name]
            exported = form.load(site / form.file)
            result[runtime] = in_python(exported, sampler, images)
            result[runtime]["file_mb"] = round((site / form.file).stat().st_size / 1e6, 2)
    return result


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="zoo:emoji64", help="default zoo:emoji64")
    parser.add_argument("--weights", default="float16,int8", help="default float16,int8")
    parser.add_argument("--images", type=int, default=500, help="in each visit; default 500")
    parser.add_argument("--screenshot", help="PNG file to write, of the last page")
    parser.add_argument("--remark", help="of the conditions, kept beside the numbers")
    parser.add_argument("--out", help="JSON file to write as well")
    given = parser.parse_args()
    if given.images < PARTS:
        parser.error(f"--images must be {PARTS} or more")
    from ladagan_tf.hardware import hardware  # late: a mistaken flag is told at once
    from ladagan_tf.sampling import opening

    sampler = opening.open_model(given.model)
    about = {**hardware(), "date": datetime.date.today().isoformat()}
    if given.remark:
        about["remark"] = given.remark
    results = [
        {**measure(sampler, weights, given.images, given.screenshot), **about}
        for weights in given.weights.split(",")
    ]
    text = json.dumps(results, indent=1)
    print(text)
    if given.out:
        pathlib.Path(given.out).write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
