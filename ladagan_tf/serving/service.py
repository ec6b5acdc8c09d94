"""A generator over HTTP: /v1/generate, /healthz, /metrics and /docs, where / leads.

Every image is that of its seed, as `ladagan_tf.generate` makes it. /docs needs no internet. Errors
are JSON, `{"detail": "..."}`: 422 says what is accepted, 413 that the body is too long, 503 that
too many wait, 504 that the answer took too long.
"""

import asyncio
import base64
import contextlib
import io
import math
import time
from typing import Annotated

from PIL import Image

from ladagan_tf import extras, pictures
from ladagan_tf.errors import InputError
from ladagan_tf.sampling import seeds
from ladagan_tf.serving.telemetry import Telemetry
from ladagan_tf.serving.worker import QueueFullError, Worker

with extras.needed("serve", "serve"):
    import fastapi
    import fastapi_offline
    import pydantic

    from ladagan_tf.serving.asked import HUNG_UP, Route, explain, problem, refused, request_model
    from ladagan_tf.serving.listening import address, listen, serve_until_stopped

PATHS = ("/v1/generate", "/healthz", "/metrics")
RETRY_AFTER_S = 1
TAKE_S = 30  # that a client has to take its answer


class Problem(pydantic.BaseModel):
    """Every answer but 200."""

    detail: str


class EncodedImages(pydantic.BaseModel):
    """Images as JSON."""

    seed: int
    images: list[str] = pydantic.Field(description="of each seed in turn, a PNG in base64")
    labels: list[int] | None = pydantic.Field(None, description="the class of each; if there are")
    classes: list[str] | None = pydantic.Field(
        None, description="the name of each one's class; if they have names"
    )


class Health(pydantic.BaseModel):
    """What /healthz tells."""

    status: str
    model: str | None
    resolution: int
    noise_dim: int
    num_classes: int
    class_names: list[str] = pydantic.Field(description="by label; empty without names")
    truncates: bool


ANSWERS = {
    200: {
        "model": EncodedImages,
        "description": "The images",
        "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
    },
    400: {"model": Problem, "description": "The body is not JSON"},
    411: {"model": Problem, "description": "The body's length is not given"},
    413: {"model": Problem, "description": "The body is too long"},
    422: {"model": Problem, "description": "What is accepted"},
    503: {"model": Problem, "description": "Too many requests wait"},
    504: {"model": Problem, "description": "The answer took too long"},
}


def serve(sampler, host, port, *, max_batch=64, max_queue=256, timeout_s=30.0, say=print):
    """Answers requests until SIGTERM, SIGHUP or Ctrl-C, then finishes those that run.

    Args:
        sampler: Sampler.
        host: str, address to listen on.
        port: int, 0 for a free one.
        max_batch: int, most images of a request, and of one run of the model.
        max_queue: int, most requests that wait.
        timeout_s: float, seconds until a request is given up.
        say: function that prints a line once requests are answered.

    Raises:
        InputError: if the port cannot be listened on.
    """
    listener = listen(host, port)
    worker = Worker(sampler, max_batch, max_queue)
    # The first run is slow, and the largest takes the memory: both before the first request.
    worker.submit(range(max_batch)).result()
    application = make_app(worker, timeout_s)
    say(f"serving on {address(listener)}")
    grace = math.ceil(timeout_s) + 1
    serve_until_stopped(
        application,
        listener,
        answer_s=timeout_s + TAKE_S,
        on_malformed=application.state.on_malformed,
        timeout_graceful_shutdown=grace,
    )


def make_app(worker, timeout_s):
    """The web application.

    Args:
        worker: worker.Worker; closed with the application.
        timeout_s: float, see `serve`.

    Returns:
        fastapi.FastAPI, whose `state` has the `on_malformed` of `listening.Server`.
    """
    telemetry = Telemetry()
    by_query, by_body = (
        request_model(worker.max_batch, worker.sampler, strict) for strict in (False, True)
    )
    longest = 4096 + 32 * worker.max_batch  # bytes of a body; a label takes at most 20

    @contextlib.asynccontextmanager
    async def lifespan(app):
        yield
        await asyncio.to_thread(worker.close)

    app = fastapi_offline.FastAPIOffline(
        title="ladagan_tf",
        lifespan=lifespan,
        redoc_url=None,
        swagger_ui_parameters={"validatorUrl": None},  # a badge of another host
    )
    app.router.route_class = Route
    app.state.on_malformed = lambda: telemetry.record("other", 400, 0.0)
    app.add_exception_handler(fastapi.exceptions.RequestValidationError, explain)
    app.add_exception_handler(Exception, _apologize)

    @app.exception_handler(405)
    async def name_methods(request, error):
        """All that the path has: Starlette knows those of its first route."""
        here = (r.methods for r in app.routes if r.path == request.url.path)
        allow = {"Allow": ", ".join(sorted(set().union(*here)))}
        return fastapi.responses.JSONResponse({"detail": error.detail}, 405, allow)

    @app.middleware("http")
    async def measure(request, call_next):
        start, status = time.perf_counter(), 500
        try:
            response = refused(request, longest) or await call_next(request)
            status = response.status_code
        finally:
            # Only known paths: anybody can ask for new ones.
            path = request.url.path if request.url.path in PATHS else "other"
            telemetry.record(path, status, time.perf_counter() - start)
        return response

    @app.head("/", include_in_schema=False)  # load balancers ask by HEAD
    @app.get("/", include_in_schema=False)
    async def root():
        return fastapi.responses.RedirectResponse("docs")  # behind a proxy's path, too

    @app.get("/v1/generate", responses=ANSWERS)
    async def generate_by_query(
        wanted: Annotated[by_query, fastapi.Query()], request: fastapi.Request
    ):
        return await _generate(worker, wanted, timeout_s, request)

    @app.post("/v1/generate", responses=ANSWERS)
    async def generate_by_body(wanted: by_body, request: fastapi.Request):
        return await _generate(worker, wanted, timeout_s, request)

    @app.head("/healthz", include_in_schema=False)
    @app.get("/healthz", response_model=Health)
    async def healthz():
        sampler = worker.sampler
        shape = {k: getattr(sampler, k) for k in ("resolution", "noise_dim", "num_classes")}
        shape["class_names"] = sampler.class_names
        shape["truncates"] = sampler.truncated is not None
        return {"status": "ok", "model": sampler.about.get("model"), **shape}

    @app.head("/metrics", include_in_schema=False)
    @app.get("/metrics", response_class=fastapi.responses.PlainTextResponse)
    async def metrics():
        text = telemetry.text(
            queue_length=worker.waiting,
            batches_total=worker.batches,
            images_total=worker.images,
        )
        return fastapi.Response(text, media_type="text/plain; version=0.0.4")

    return app


async def _generate(worker, wanted, timeout_s, request):
    chosen, sampler = range(wanted.seed, wanted.seed + wanted.num), worker.sampler
    labels = wanted.labels
    if labels is None and sampler.num_classes:
        labels = seeds.labels(chosen, sampler.num_classes, "balanced").tolist()
    try:
        asked = worker.submit(chosen, labels, wanted.psi, wanted.truncation_z)
    except QueueFullError:
        raise fastapi.HTTPException(
            503,
            f"{worker.max_queue} requests wait already; try again later",
            {"Retry-After": str(RETRY_AFTER_S)},
        ) from None
    future = asyncio.wrap_future(asked)
    hung_up = asyncio.create_task(_hung_up(request))
    try:
        await asyncio.wait(
            [future, hung_up],
            timeout=timeout_s,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if future.done():
            of_what = _classes(labels, sampler.class_names)
            try:
                images = future.result()
            except InputError as error:  # of the model, not of this request
                raise fastapi.HTTPException(500, str(error)) from None
            return await asyncio.to_thread(_response, images, wanted, of_what)
        if hung_up.done():
            raise fastapi.HTTPException(HUNG_UP, "the client hung up")
        raise fastapi.HTTPException(504, f"no answer within {timeout_s:g} s")
    finally:
        future.cancel()  # what still waits is never computed
        hung_up.cancel()


async def _hung_up(request):
    """Returns once the client is gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _classes(labels, names):
    """What JSON says of the classes of images: a dict, empty where there are none."""
    if labels is None:
        return {}
    return {"labels": labels} | ({"classes": [names[label] for label in labels]} if names else {})


def _response(images, wanted, of_what):
    if wanted.format == "png":
        sheet = pictures.grid(images, pictures.square_columns(len(images)))
        return fastapi.Response(_png(sheet), media_type="image/png")
    encoded = [base64.b64encode(_png(image)).decode() for image in images]
    return fastapi.responses.JSONResponse({"seed": wanted.seed, **of_what, "images": encoded})


def _png(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="PNG")
    return file.getvalue()


async def _apologize(request, error):
    return problem(500, "internal error; the server's log has it")
