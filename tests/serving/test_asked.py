"""What the service is asked is what it says that it takes, or is refused in a line."""

import json

import pytest

pytest.importorskip("fastapi", reason="fastapi is optional: the service is not tested")
pytest.importorskip("uvicorn", reason="uvicorn is optional: the service is not tested")
pytest.importorskip("fastapi_offline", reason="it is optional: the service is not tested")

from service_clients import get, half_open


@pytest.mark.parametrize(
    "query, message",
    [
        ("num=0", "num: Input should be greater than or equal to 1; given '0'"),
        ("num=9", "num: Input should be less than or equal to 8; given '9'"),
        ("num=many", "num: Input should be a valid integer"),
        ("seed=-1", "seed: Input should be greater than or equal to 0"),
        (f"seed={2**63}", "seed: Input should be less than"),
        ("format=gif", "format: Input should be 'png' or 'json'; given 'gif'"),
        ("number=3", "number: Extra inputs are not permitted"),
        ("labels=1", "labels: this generator has no classes"),
        ("psi=0.5", "psi: this generator has no mean style; leave it out"),
        ("num=2&num=3", "num: it is given more than once"),
        ("psi=2", "psi: Input should be less than or equal to 1; given '2'"),
        ("num=", "num: Input should be a valid integer; given ''"),
        ("num=2.0", "num: Input should be a valid integer; given '2.0'"),
        ("num=0_2", "num: Input should be a valid integer; given '0_2'"),
        ("num=%202", "num: Input should be a valid integer; given ' 2'"),
        ("labels=", "labels.0: Input should be a valid integer; given ''"),
        ("truncation_z=1_0", "truncation_z: Input should be a valid number; given '1_0'"),
        ("truncation_z=0", "truncation_z: Input should be greater than or equal to 0.01"),
        ("truncation_z=nan", "truncation_z: Input should be a finite number"),
        ("truncation_z=inf", "truncation_z: Input should be a finite number"),
        ("a%0ab=1", "a b: Extra inputs are not permitted"),
    ],
)
def test_a_bad_request_says_what_is_accepted(address, query, message):
    status, _, content = get(address, f"/v1/generate?{query}")
    assert status == 422 and json.loads(content)["detail"].startswith(message)


def test_a_body_that_is_called_another_kind_is_told_the_header(address):
    kind = {"content-type": "application/x-www-form-urlencoded"}  # as curl -d sends it
    status, _, content = get(address, "/v1/generate", "POST", '{"num": 1}', kind)
    assert status == 422
    assert "content-type: application/json" in json.loads(content)["detail"]


@pytest.mark.parametrize(
    "body, status, message",
    [
        ('{"num": ', 400, "the body is not JSON"),
        (b'{"num": "\xff"}', 400, "the body is not JSON"),
        ("[" * 4000, 400, "the body is not JSON"),
        ("[]", 422, "body: Input should be"),
        ('{"num": null}', 422, "num: Input should be a valid integer"),
        ('{"seed": 1e400}', 422, "seed: Input should be a valid integer"),
        ('{"seed": NaN}', 422, "seed: Input should be a valid integer"),
        (f'{{"seed": {"1" * 4000}}}', 422, "seed: Input should be less than"),
        ('{"num": "2"}', 422, "num: Input should be a valid integer"),
        ('{"num": 2.0}', 422, "num: Input should be a valid integer"),
        ('{"num": true}', 422, "num: Input should be a valid integer"),
        ('{"num": 2, "seed": 1, "num": 3}', 422, "num: it is given more than once"),
        ('{"\\ud800": 1}', 422, "body: Input should be a valid string"),
        ('{"\\ud800": 1, "\\ud800": 2}', 422, "\\ud800: it is given more than once"),
    ],
)
def test_a_bad_body_is_refused(address, body, status, message):
    found, _, content = get(address, "/v1/generate", "POST", body)
    assert found == status and json.loads(content)["detail"].startswith(message)


@pytest.mark.parametrize(
    "method, path, message",
    [
        ("POST", "/v1/generate?num=2", "a POST has what is wanted in its body"),
        ("GET", "/v1/generate", "a GET has what is wanted in its query"),
        ("GET", "/healthz", "a GET has what is wanted in its query"),
    ],
)
def test_what_is_said_where_nobody_looks_is_refused(address, method, path, message):
    status, _, content = get(address, path, method, '{"num": 2}')
    assert status == 422 and json.loads(content)["detail"].startswith(message)


def test_a_body_of_two_kinds_is_refused(address):
    kind = b"content-type: application/json\r\ncontent-type: text/plain\r\n"
    head = b"POST /v1/generate HTTP/1.1\r\nhost: here\r\nconnection: close\r\n"
    (client,) = half_open(address, 1, head + kind + b"content-length: 2\r\n\r\n{}")
    answer = client.makefile("rb").read()
    client.close()
    assert answer.startswith(b"HTTP/1.1 422") and b"content-type: it is given more" in answer


@pytest.mark.parametrize(
    "path, method, body, status",
    [
        ("/v1/generate", "POST", "x" * 1_000_000, 413),
        ("/v1/generate", "POST", (b"{}" for _ in range(2)), 411),  # chunks, of unknown length
        ("/v1/generate", "DELETE", None, 405),
        ("/secret", "GET", None, 404),
    ],
)
def test_every_error_is_json_with_a_detail(address, path, method, body, status):
    found, headers, content = get(address, path, method, body)
    assert (found, headers["content-type"]) == (status, "application/json")
    assert isinstance(json.loads(content)["detail"], str) and len(content) < 600


@pytest.mark.parametrize(
    ("path", "allowed"), [("/v1/generate", "GET, POST"), ("/healthz", "GET, HEAD")]
)
def test_another_method_is_told_those_of_the_path(address, path, allowed):
    assert get(address, path, "DELETE")[1]["allow"] == allowed


def test_the_description_of_requests_and_answers_is_right(address):
    told = json.loads(get(address, "/openapi.json")[2])
    schema = told["components"]["schemas"]["GenerateRequest"]["properties"]
    labels, psi = schema["labels"], schema["psi"]
    assert (labels["type"], labels["items"], labels["maxItems"]) == (
        "array",
        {"type": "integer"},
        8,
    )
    assert (psi["type"], psi["minimum"], psi["maximum"]) == ("number", 0, 1)
    for method in ("get", "post"):
        answers = told["paths"]["/v1/generate"][method]["responses"]
        assert set(answers["200"]["content"]) == {"image/png", "application/json"}
        for status in ("400", "411", "413", "422", "503", "504"):
            assert answers[status]["content"]["application/json"]["schema"]["$ref"].endswith(
                "Problem"
            )
    (metrics,) = told["paths"]["/metrics"]["get"]["responses"]["200"]["content"]
    assert metrics == "text/plain"
