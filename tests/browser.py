"""A headless browser for what is to be seen and used in one."""

import contextlib
import html
import io
import pathlib
import shutil

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")


@contextlib.contextmanager
def chromium(*options):
    """Yields a browser of Playwright; skips the test where there is none.

    Args:
        options: further arguments of Chromium.
    """
    api = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
    found = [path for path in map(shutil.which, BROWSERS) if path]
    with api.sync_playwright() as playwright:
        executable = found[0] if found else playwright.chromium.executable_path
        if not pathlib.Path(executable).exists():
            pytest.skip("no Chromium: apt-get install chromium-headless-shell")
        arguments = ["--no-sandbox", *options]
        browser = playwright.chromium.launch(executable_path=executable, args=arguments)
        yield browser
        browser.close()


def findings(tab):
    """What axe-core finds on a page that hinders people: list of (rule, elements)."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="it brings axe-core")
    found = axe.Axe().run(tab).response["violations"]
    return [(rule["id"], [node["html"][:200] for node in rule["nodes"]]) for rule in found]


TERMINAL = """<meta charset="utf-8"><style>
body { margin: 0; background: #15181b; color: #e6e6e6 }
pre { margin: 0; padding: 14px 18px; font: 13px/18.85px "DejaVu Sans Mono", monospace }
</style><pre>"""


def take_terminal(text, path, width=980):
    """Writes a picture of a terminal that shows `text`; the .png holds it as its description."""
    with chromium() as browser:
        tab = browser.new_page(viewport={"width": width, "height": 1})
        tab.set_content(TERMINAL + html.escape(text.rstrip("\n")))
        picture = Image.open(io.BytesIO(tab.screenshot(full_page=True)))
    said = PngInfo()
    said.add_itxt("Description", text)
    picture.convert("RGB").quantize(64).save(path, optimize=True, pnginfo=said)


def described(path):
    """The text that a picture of `take_terminal` shows."""
    with Image.open(path) as picture:
        return picture.text["Description"]
