"""What the service may be asked: its description, and the answers to what is not that."""

import json
import re
import reprlib
from typing import Annotated, Literal

import fastapi
import pydantic
import pydantic_core
from starlette.requests import ClientDisconnect

from ladagan_tf.errors import one_line
from ladagan_tf.sampling import seeds

REPEATED = {"labels"}  # of a query, a list
ONCE = ("content-type", "content-encoding")  # headers that say how to read a body
HUNG_UP = 499  # nobody gets it; the status that nginx counts such requests by


def _written(pattern, kind):
    """Lets through what is no text, as in JSON, and text that a pattern fits.

    Pydantic takes " 5", "1_0" and, as a whole number, "5.0".
    """

    def check(value):
        if isinstance(value, str) and not re.fullmatch(pattern, value):
            raise pydantic_core.PydanticCustomError("text", f"Input should be a valid {kind}")
        return value

    return pydantic.BeforeValidator(check)


Whole = Annotated[int, _written("-?[0-9]+", "integer")]
Decimal = Annotated[float, _written("[-+.0-9a-zA-Z]+", "number")]


def labels_in_words(sampler):
    """What labels are, with the names of the first classes, if they have any."""
    shown = ", ".join(f"{i} {name}" for i, name in enumerate(sampler.class_names[:20]))
    return "a class per image; in turn by default" + (f"; {shown}" if shown else "")


def request_model(max_batch, sampler, strict=False):
    """The pydantic model of a request to a generator, which also describes it in /docs.

    Args:
        max_batch: int, most images of a request.
        sampler: Sampler of the generator.
        strict: bool, for JSON, which has numbers: "5", 5.0 and true are no integers.
    """
    num_classes = sampler.num_classes

    class GenerateRequest(pydantic.BaseModel, extra="forbid", strict=strict):
        num: Whole = pydantic.Field(1, ge=1, le=max_batch, description="number of images")
        seed: Whole = pydantic.Field(
            0, ge=0, le=seeds.MAX_SEED + 1 - max_batch, description="seed of the first image"
        )
        labels: list[Whole] = pydantic.Field(
            None, max_length=max_batch, description=labels_in_words(sampler)
        )
        psi: Decimal = pydantic.Field(
            None, ge=0.0, le=1.0, description="truncation: 1 none, the default, 0 the class's mean"
        )
        truncation_z: Decimal = pydantic.Field(
            None,
            ge=seeds.LEAST_TRUNCATION,
            allow_inf_nan=False,
            description="components of latents beyond it are drawn again; not at all by default",
        )
        format: Literal["png", "json"] = pydantic.Field(
            "png", description="one PNG, a grid for several images; or JSON with a PNG each"
        )

        @pydantic.model_validator(mode="after")
        def check_psi(self):
            if self.psi is not None and sampler.truncated is None:
                raise ValueError("psi: this generator has no mean style; leave it out")
            return self

        @pydantic.model_validator(mode="after")
        def check_labels(self):
            if self.labels is None:
                return self
            if not num_classes:
                raise ValueError("labels: this generator has no classes; leave them out")
            if len(self.labels) != self.num:
                raise ValueError(f"labels: {len(self.labels)} for num={self.num} images")
            if not all(0 <= label < num_classes for label in self.labels):
                raise ValueError(f"labels={self.labels}: each must be from 0 to {num_classes - 1}")
            return self

    return GenerateRequest


def refused(request, longest):
    """The answer to a request that says a thing twice, or where nobody looks for it, or too long.

    FastAPI takes the last of two, and one of its own answers is no JSON. None of any other request.
    """
    query, headers = request.query_params, request.headers
    twice = [name for name in {*query} - REPEATED if len(query.getlist(name)) > 1]
    twice += [name for name in ONCE if len(headers.getlist(name)) > 1]
    if twice:
        return problem(422, f"{min(twice)}: it is given more than once")
    if request.method == "POST" and query:
        return problem(422, "a POST has what is wanted in its body; leave out the query")
    if "transfer-encoding" in headers:
        return problem(411, "give the body's content-length")
    length = int(headers.get("content-length", 0))
    if request.method in ("GET", "HEAD") and length:
        return problem(422, f"a {request.method} has what is wanted in its query; send no body")
    if length > longest:
        return problem(413, f"the body is longer than {longest} bytes")
    return None


class _Request(fastapi.Request):
    """A request whose JSON says nothing twice, of which Python would take the last."""

    async def body(self):
        try:
            return await super().body()
        except ClientDisconnect:
            raise fastapi.HTTPException(HUNG_UP, "the client hung up") from None

    async def json(self):
        try:
            return json.loads(await self.body(), object_pairs_hook=_once)
        except (ValueError, RecursionError):  # no UTF-8, and too deep, too
            raise fastapi.HTTPException(400, "the body is not JSON") from None


def _once(pairs):
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = min(name for name in names if names.count(name) > 1)
        raise fastapi.HTTPException(422, one_line(f"{twice}: it is given more than once"))
    return found


class Route(fastapi.routing.APIRoute):
    """A route whose requests are read as `_Request` reads them."""

    def get_route_handler(self):
        answer = super().get_route_handler()

        async def answer_strictly(request):
            return await answer(_Request(request.scope, request.receive))

        return answer_strictly


def problem(status, detail):
    """An answer in the form that all errors have."""
    return fastapi.responses.JSONResponse({"detail": one_line(detail)}, status)


async def explain(request, error):
    """Pydantic's findings as one line: where, what is accepted, what was given."""
    findings = []
    for found in error.errors():
        if isinstance(found["input"], bytes):  # not read, as the header names another kind
            findings.append("the body is JSON: give the header content-type: application/json")
        elif found["type"] == "value_error":  # of ours, which says it all
            findings.append(str(found["ctx"]["error"]))
        else:
            where = ".".join(str(part) for part in found["loc"][1:]) or "body"
            findings.append(f"{where}: {found['msg']}; given {reprlib.repr(found['input'])}")
    return problem(422, "; ".join(findings))
