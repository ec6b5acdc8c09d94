"""What the exported page costs a visitor: bytes, seconds to the first image, images/s, memory.

Run `python benchmarks/web.py --site=site`, a folder that `ladagan_tf.export --format=web` made; it
is served from here, opened in headless Chromium, and JSON is printed. With --model the pictures of
seeds 0 to 8 are compared with the live model's. The second visit has what the service worker kept.
"""

import argparse
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
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
SEEN = "#grid canvas:not(.waiting)"
READY = "#grid[aria-busy=false]"
TIMEOUT_MS = 300_000
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


def visit(tab, images, parts):
    """Seconds and memory of one visit, whose page is loading: dict of plain values."""
    start = time.perf_counter()
    tab.wait_for_selector(SEEN, timeout=TIMEOUT_MS)
    first = time.perf_counter() - start
    tab.wait_for_selector(READY, timeout=TIMEOUT_MS)
    tab.evaluate(DRAWN, 10)
    memory, times = {0: resident_mib()}, []
    for _ in range(parts):
        times += tab.evaluate(DRAWN, images // parts)
        memory[len(times)] = resident_mib()
    return {
        "seconds_to_first_image": round(first, 2),
        "status": tab.locator("#status").inner_text(),
        "images_per_second": round(1000 * len(times) / sum(times), 1),
        "p50_ms": round(statistics.median(times), 1),
        "p95_ms": round(sorted(times)[int(0.95 * len(times))], 1),
        "memory_mib": memory,
    }


def difference(tab, model):
    """Mean and largest difference of the first grid's pictures from a live model's, in levels."""
    import base64

    import numpy as np
    from PIL import Image

    from ladagan_tf.sampling import opening, seeds, walks

    sampler, levels = opening.open_model(model), []
    canvases = tab.locator("#grid canvas").all()
    numbers = range(len(canvases))
    labels = walks.labels_in_turn(numbers, range(sampler.num_classes or 1))
    given = labels if sampler.num_classes else None
    right = walks.image_batches(sampler, seeds.latents(numbers, sampler.noise_dim), given)
    for canvas, image in zip(canvases, np.concatenate(list(right)), strict=True):
        url = canvas.evaluate("canvas => canvas.toDataURL('image/png')")
        picture = Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGB")
        levels.append(np.abs(np.asarray(picture).astype(int) - image))
    return {"mean": round(float(np.mean(levels)), 4), "largest": int(np.max(levels))}


def measure(site, images, model, screenshot):
    """Two visits of a site.

    Args:
        site: path of a folder.
        images: int, drawn after the warm-up in each visit.
        model: what `--model` takes; None compares nothing.
        screenshot: path of a PNG file of the first visit; None for none.

    Returns:
        Dict of plain values.
    """
    from browser import chromium

    about = json.loads((pathlib.Path(site) / "model.json").read_text())
    result = {name: about[name] for name in ("model", "weights", "resolution")}
    with served(site) as address, chromium() as browser:
        tab = browser.new_page(viewport={"width": 800, "height": 1200})
        tab.goto(address, wait_until="commit")
        result["first_visit"] = visit(tab, images, 5)
        result["downloaded_mb"] = round(Counting.sent / 1e6, 2)
        if model:
            result["levels_from_live_model"] = difference(tab, model)
        if screenshot:
            tab.screenshot(path=screenshot, full_page=True)
        tab.reload(wait_until="commit")
        result["second_visit"] = visit(tab, images, 5)
        result["downloaded_again_mb"] = round(Counting.sent / 1e6, 2) - result["downloaded_mb"]
    return result


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--site", required=True, help="folder with the page")
    parser.add_argument("--images", type=int, default=500, help="in each visit; default 500")
    parser.add_argument("--model", help="compare pictures with this one's, e.g. zoo:emoji64")
    parser.add_argument("--screenshot", help="PNG file to write")
    parser.add_argument("--remark", help="of the conditions, kept beside the numbers")
    given = parser.parse_args()
    if given.images < 5:
        parser.error("--images must be 5 or more")
    from ladagan_tf.hardware import hardware  # late: a mistaken flag is told at once

    result = measure(given.site, given.images, given.model, given.screenshot)
    about = {**hardware(), "date": datetime.date.today().isoformat()}
    if given.remark:
        about["remark"] = given.remark
    print(json.dumps({**result, **about}, indent=1))


if __name__ == "__main__":
    main()
