"""A real server answers, refuses, gives up and ends as it should."""

import base64
import concurrent.futures
import dataclasses
import io
import json
import os
import re
import signal
import time

import numpy as np
import pytest
from absl import flags
from in_process import command, error_line
from PIL import Image

from ladagan_tf import demo, pictures, serve
from ladagan_tf.errors import InputError
from ladagan_tf.flags import demo as demo_flags
from ladagan_tf.flags import serve as serve_flags
from ladagan_tf.sampling import seeds
from ladagan_tf.sampling.sampler import of_network
from ladagan_tf.serving.worker import Worker

pytest.importorskip("fastapi", reason="fastapi is optional: the service is not tested")
pytest.importorskip("uvicorn", reason="uvicorn is optional: the service is not tested")
pytest.importorskip("fastapi_offline", reason="it is optional: the service is not tested")

from service_clients import SLOW_S, counters, get, half_open, serving

from ladagan_tf.serving import listening, service

SIGNALS = signal.SIGTERM, signal.SIGINT, signal.SIGHUP


def image(content):
    return np.asarray(Image.open(io.BytesIO(content)))


def test_an_image_is_that_of_its_seed(address, small):
    expected = pictures.to_uint8(small.generate(seeds.latents(range(5, 8), 8))).astype(int)
    status, headers, content = get(address, "/v1/generate?num=3&seed=5")
    assert (status, headers["content-type"]) == (200, "image/png")
    np.testing.assert_allclose(image(content), pictures.grid(expected, 2), atol=1)
    body = json.dumps({"num": 3, "seed": 5, "format": "json"})
    status, _, content = get(address, "/v1/generate", "POST", body)
    answer = json.loads(content)
    assert set(answer) == {"seed", "images"}
    assert (status, answer["seed"], len(answer["images"])) == (200, 5, 3)
    for encoded, right in zip(answer["images"], expected, strict=True):
        np.testing.assert_allclose(image(base64.b64decode(encoded)), right, atol=1)
    assert image(get(address, "/v1/generate")[2]).shape == (32, 32, 3)


def test_health_and_metrics(address):
    health = json.loads(get(address, "/healthz")[2])
    assert health["status"] == "ok" and health["noise_dim"] == 8 and health["class_names"] == []
    before = counters(address)
    get(address, "/v1/generate?num=2")
    get(address, "/v1/generate?num=0")
    get(address, "/secret")
    after = counters(address)
    for name, more in (
        ('ladagan_requests_total{path="/v1/generate",status="200"}', 1),
        ('ladagan_requests_total{path="/v1/generate",status="422"}', 1),
        ('ladagan_requests_total{path="other",status="404"}', 1),
        ("ladagan_errors_total", 2),
        ("ladagan_images_total", 2),
        ("ladagan_request_seconds_count", 1),
        ('ladagan_request_seconds_bucket{le="+Inf"}', 1),
        ("ladagan_queue_length", 0),
    ):
        assert after[name] - before.get(name, 0) == more, name


@pytest.mark.slow
@pytest.mark.usefixtures("eagerly")
def test_labels_are_used_and_checked(conditional):
    with serving(conditional) as address:
        z = seeds.latents([4], 8)
        for label, query in ((2, "&labels=2"), (4 % 3, "")):
            expected = pictures.to_uint8(conditional.network(z, np.asarray([label], np.int32)))
            got = image(get(address, f"/v1/generate?seed=4{query}")[2])
            np.testing.assert_allclose(got, expected[0].astype(int), atol=1)
        for query, message in (
            ("labels=3", "each must be from 0 to 2"),
            ("num=2&labels=1", "num=2"),
        ):
            status, _, content = get(address, f"/v1/generate?{query}")
            assert status == 422 and message in json.loads(content)["detail"]


@pytest.mark.usefixtures("eagerly")
def test_requests_of_one_psi_are_computed_together(tiny_gat):
    worker = Worker(of_network(tiny_gat), max_batch=8)
    labels = np.int32([1, 2])
    with worker._changed:  # nothing is taken while all are put in
        futures = [worker.submit([3, 4], labels, psi) for psi in (0.5, 0.5, None, 0.5)]
    results = [future.result() for future in futures]
    worker.close()
    assert worker.batches == 3
    for images, psi in zip(results, (0.5, 0.5, 1.0, 0.5), strict=True):
        right = pictures.to_uint8(tiny_gat(seeds.latents([3, 4], 8), labels, psi=psi))
        np.testing.assert_allclose(images, right.astype(int), atol=1)


@pytest.mark.slow
def test_latents_are_truncated_where_a_request_asks(noise):
    worker = Worker(noise, 8)
    found = worker.submit(range(3), truncation_z=0.5).result()
    worker.close()
    z = seeds.latents(range(3), noise.noise_dim, 0.5)
    np.testing.assert_array_equal(found, pictures.to_uint8(noise.generate(z)))


@pytest.mark.usefixtures("eagerly")
def test_a_gat_is_served_with_psi(tiny_gat):
    with serving(of_network(tiny_gat)) as address:
        health = json.loads(get(address, "/healthz")[2])
        assert health["truncates"] is True
        assert health["class_names"] == [*tiny_gat.class_names]
        answer = json.loads(get(address, "/v1/generate?seed=4&num=3&format=json")[2])
        count = len(tiny_gat.class_names)
        assert answer["labels"] == [4 % count, 5 % count, 6 % count]
        assert answer["classes"] == [tiny_gat.class_names[i] for i in answer["labels"]]
        for query, psi in (("", 1.0), ("&psi=0.25", 0.25)):
            expected = tiny_gat(seeds.latents([4], 8), np.int32([2]), psi=psi)
            got = image(get(address, f"/v1/generate?seed=4&labels=2{query}")[2])
            right = pictures.to_uint8(expected)[0].astype(int)
            np.testing.assert_allclose(got, right, atol=1)


@pytest.mark.slow
def test_requests_that_wait_are_computed_together(slow):
    with serving(slow) as address, concurrent.futures.ThreadPoolExecutor(8) as pool:
        before = counters(address)["ladagan_batches_total"]
        answers = list(pool.map(lambda _: get(address, "/v1/generate")[0], range(8)))
        assert answers == [200] * 8
        assert counters(address)["ladagan_batches_total"] - before <= 4


@pytest.mark.slow
def test_a_full_queue_is_refused_at_once(slow):
    with (
        serving(slow, max_batch=1, max_queue=1) as address,
        concurrent.futures.ThreadPoolExecutor(2) as pool,
    ):
        running = pool.submit(get, address, "/v1/generate")
        time.sleep(SLOW_S / 4)
        waiting = pool.submit(get, address, "/v1/generate")
        time.sleep(SLOW_S / 4)
        status, headers, content = get(address, "/v1/generate")
        assert (status, headers["retry-after"]) == (503, "1")
        assert json.loads(content)["detail"] == "1 requests wait already; try again later"
        assert counters(address)["ladagan_queue_length"] == 1
        assert running.result()[0] == waiting.result()[0] == 200


@pytest.mark.slow
def test_a_late_answer_is_given_up_and_what_waited_is_not_computed(slow):
    with (
        serving(slow, max_batch=1, timeout_s=SLOW_S / 2) as address,
        concurrent.futures.ThreadPoolExecutor(3) as pool,
    ):
        before = counters(address)["ladagan_batches_total"]
        answers = list(pool.map(lambda _: get(address, "/v1/generate"), range(3)))
        assert [status for status, _, _ in answers] == [504] * 3
        assert json.loads(answers[0][2])["detail"] == f"no answer within {SLOW_S / 2:g} s"
        time.sleep(SLOW_S)
        assert counters(address)["ladagan_batches_total"] - before == 1


def test_only_this_machine_is_answered_unless_another_host_is_asked_for():
    for module, verb in ((serve, serve_flags), (demo, demo_flags)):
        with command(module, verb.define):
            assert flags.FLAGS["host"].default == "127.0.0.1"


@pytest.mark.usefixtures("eagerly")
def test_200_clients_at_once_get_their_images(small):
    with (
        serving(small, max_batch=64) as address,
        concurrent.futures.ThreadPoolExecutor(200) as pool,
    ):
        answers = pool.map(lambda i: get(address, f"/v1/generate?seed={i}")[0], range(200))
        assert list(answers) == [200] * 200


@pytest.mark.parametrize("path", ["/", "/healthz", "/metrics"])
def test_head_is_answered_as_get_is_without_a_body(address, path):
    status, headers, _ = get(address, path)
    there, found, nothing = get(address, path, "HEAD")
    assert (there, found["content-type"], nothing) == (status, headers["content-type"], b"")


@pytest.mark.usefixtures("eagerly")
def test_errors_of_ours_and_of_no_http_are_json_too(small, monkeypatch):
    monkeypatch.setattr(service, "_response", lambda *_: 1 / 0)
    with serving(small) as address:
        status, headers, content = get(address, "/v1/generate")
        assert (status, headers["content-type"]) == (500, "application/json")
        assert json.loads(content)["detail"].startswith("internal error")
        (connection,) = half_open(address, 1, b"\x00\r\n\r\n")
        answer = connection.makefile("rb").read()
        connection.close()
        assert counters(address)['ladagan_requests_total{path="other",status="400"}'] == 1
    assert answer.startswith(b"HTTP/1.1 400") and b"application/json" in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["detail"]


def test_a_model_that_makes_no_pictures_says_so(noise):
    def generate(z, *labels):
        return np.full((len(z), 16, 16, 3), np.nan, np.float32)

    with serving(dataclasses.replace(noise, generate=generate)) as address:
        status, _, content = get(address, "/v1/generate")
    assert status == 500
    assert "images that are NaN or infinite" in json.loads(content)["detail"]


def test_a_request_whose_pictures_are_none_is_refused_alone(noise):
    def generate(z):
        images = np.zeros((len(z), 16, 16, 3), np.float32)
        images[0] = np.nan
        return images

    worker = Worker(dataclasses.replace(noise, generate=generate, num_classes=0), max_batch=8)
    with worker._changed:  # nothing is taken while all are put in
        bad, good = worker.submit([1, 2]), worker.submit([3])
    assert good.result().shape == (1, 16, 16, 3)
    with pytest.raises(InputError, match="NaN or infinite"):
        bad.result()
    worker.close()
    assert (worker.batches, worker.images) == (1, 1)


def test_every_metric_says_what_it_is(address):
    lines = get(address, "/metrics")[2].decode().splitlines()
    named = {re.match(r"ladagan_[a-z_]+?(?=_(?:bucket|sum|count)\b|[ {])", line)[0]
             for line in lines if line[0] != "#"}  # fmt: skip
    for name in named:
        (text,) = [line for line in lines if line.startswith(f"# HELP {name} ")]
        assert text.endswith(".") and lines[lines.index(text) + 1].startswith(f"# TYPE {name} ")


def test_the_root_leads_to_the_docs(address):
    status, headers, _ = get(address, "/")
    assert (status, headers["location"]) == (307, "docs")


def test_the_docs_need_no_other_host(address):
    text = get(address, "/docs")[2].decode()
    parts = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert len(parts) >= 3 and all(part.startswith("/") for part in parts)
    assert all(get(address, part)[0] == 200 for part in parts)
    assert '"validatorUrl": null' in text


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_lets_running_requests_finish(slow, number):
    listener = listening.listen("127.0.0.1", 0)
    address = listening.address(listener).removeprefix("http://")
    application = service.make_app(Worker(slow), 30.0)
    before = {n: signal.getsignal(n) for n in SIGNALS}

    def refused_after_the_signal():
        time.sleep(SLOW_S / 2)
        os.kill(os.getpid(), number)
        time.sleep(SLOW_S / 4)
        with pytest.raises(OSError):
            get(address, "/healthz")

    try:
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            running = pool.submit(get, address, "/v1/generate")
            signalled = pool.submit(refused_after_the_signal)
            listening.serve_until_stopped(application, listener, timeout_graceful_shutdown=31)
            assert running.result()[0] == 200 and signalled.result() is None
    finally:
        for n, handler in before.items():
            signal.signal(n, handler)


@pytest.mark.slow
def test_a_port_in_use_and_a_missing_model_are_one_line(address, tmp_path, capsys):
    port = address.rsplit(":", 1)[1]
    with command(serve, serve_flags.define) as call:
        for arguments, message in (
            (
                ["--model=zoo:shapes", f"--port={port}"],
                f"port={port}: 127.0.0.1 cannot be",
            ),
            (
                [f"--model={tmp_path}"],
                f"model={tmp_path}: it is no model; give a .keras file, a SavedModel",
            ),
        ):
            assert message in error_line(call, arguments, capsys)


@pytest.mark.usefixtures("eagerly")
def test_latents_are_served_decoded_by_the_autoencoder_that_is_named(
    tiny_gat, tmp_path, monkeypatch
):
    tiny_gat.generator.save(tmp_path / "latents.keras")
    tiny_gat.vae.save(tmp_path / "vae.keras")
    served = []
    monkeypatch.setattr(service, "serve", lambda source, *_, **__: served.append(source))
    with command(serve, serve_flags.define) as call:
        call(f"--model={tmp_path / 'latents.keras'}", f"--vae={tmp_path / 'vae.keras'}")
    z, labels = seeds.latents(range(2), 8), np.int32([0, 2])
    np.testing.assert_allclose(served[0].generate(z, labels), tiny_gat(z, labels), atol=1e-5)
