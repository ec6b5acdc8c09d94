"""A headless browser for what is to be seen and used in one."""

import contextlib
import pathlib
import shutil

import pytest

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
