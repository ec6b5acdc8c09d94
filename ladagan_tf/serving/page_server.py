"""The page on the network: what of Gradio it answers, how it looks, and its end.

The page itself is `page.build`.
"""

import os
import pathlib
import sys
import tempfile
import traceback

from ladagan_tf import extras
from ladagan_tf.serving.page import build

with extras.needed("demo", "demo"):
    import fastapi
    import gradio as gr

    from ladagan_tf.serving.listening import address, listen, serve_until_stopped

LONGEST = 65536  # bytes of what a browser sends
# What the page asks of Gradio, which answers much else: uploads, requests to other hosts, edits.
ASKED = {
    "GET": ("app_id", "file=", "heartbeat/", "info", "startup-events", "theme.css"),
    "POST": ("run/",),
}
API = "/gradio_api/"
CSS = """
.gradio-container { width: 100% !important; max-width: 1240px !important;
  margin: 0 auto !important }
.picture, .picture * { border-radius: 0 !important; justify-content: flex-start !important }
.picture img { image-rendering: pixelated; width: auto !important; height: auto !important;
  max-width: 100% }
.picture .icon-button-wrapper { display: none }
#samples img { cursor: pointer }
.message:has([role="alert"]:empty) { position: absolute }  /* without a gap for it */
.message p { margin: 0; color: #b91c1c; font-weight: 600 }
.dark .message p { color: #fca5a5 }
/* Gradio's own are a faint glow, or none. */
:focus-visible, label:has(> input:focus-visible) {
  outline: 3px solid #4338ca !important; outline-offset: 2px !important
}
.dark :focus-visible, .dark label:has(> input:focus-visible) { outline-color: #a5b4fc !important }
.min_value, .max_value { color: var(--body-text-color) !important }
.dark { --color-accent: #a5b4fc !important }
/* What a tab shows is as high as what any other does, and nothing moves sideways. */
html { scrollbar-gutter: stable }
.tabs { min-height: 640px }
"""


class OnlyThePage:
    """ASGI middleware that answers 404 to whatever the page itself does not ask."""

    def __init__(self, application):
        self.application = application

    async def __call__(self, scope, receive, send):
        application = self.application
        if scope["type"] == "http" and not _is_asked(scope["method"], scope["path"]):
            application = fastapi.responses.JSONResponse({"detail": "not of this page"}, 404)
        await application(scope, receive, send)


class _OfOurs:
    """What Gradio prints tracebacks with: only those that lead through this package.

    The others are of what a client sends wrong: thousands of them would fill the disk.
    """

    @staticmethod
    def print_exc():
        ours = str(pathlib.Path(__file__).parents[1])
        if any(at.filename.startswith(ours) for at in traceback.extract_tb(sys.exc_info()[2])):
            traceback.print_exc()


def _is_asked(method, path):
    method = "GET" if method == "HEAD" else method
    if method == "GET" and not path.startswith(API):
        return True  # the page and its parts
    return path.startswith(API) and path.removeprefix(API).startswith(ASKED.get(method, ()))


def make_app(sampler, folder):
    """The web application of the page.

    Args:
        sampler: Sampler.
        folder: pathlib.Path of a folder for pictures; they are deleted after `KEPT_S` seconds.

    Returns:
        fastapi.FastAPI.
    """
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    gr.routes.traceback = _OfOurs
    application = fastapi.FastAPI(openapi_url=None, max_body_size=LONGEST)
    application.add_middleware(OnlyThePage)
    # The browser's own fonts: nothing to load.
    theme = gr.themes.Default(
        primary_hue="indigo",
        neutral_hue="slate",
        font=["system-ui", "sans-serif"],
        font_mono=["monospace"],
    ).set(  # contrast of 4.5 and more, on white and on dark
        color_accent="*primary_600",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
    )
    return gr.mount_gradio_app(
        application,
        build(sampler, folder),
        path="/",
        footer_links=[],
        css=CSS,
        theme=theme,
        ssr_mode=False,
        run_history=False,
        enable_monitoring=False,
    )


def serve(sampler, host, port, say=print):
    """Serves the page until SIGTERM, SIGHUP or Ctrl-C.

    Args:
        sampler: Sampler.
        host: str, address to listen on.
        port: int, 0 for a free one.
        say: function that prints a line once the page can be opened.

    Raises:
        InputError: if the port cannot be listened on.
    """
    listener = listen(host, port)
    with tempfile.TemporaryDirectory(prefix="ladagan_tf_demo_") as folder:
        application = make_app(sampler, pathlib.Path(folder))
        say(f"page on {address(listener)}")
        # A page that is open keeps a connection open: it is not waited for.
        serve_until_stopped(
            application, listener, log_level="critical", timeout_graceful_shutdown=1
        )
