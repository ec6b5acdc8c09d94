"""Inception's weights: found, downloaded or refused in one line; one hash in every format."""

import hashlib
import io
import json
import urllib.error
import urllib.request

import numpy as np
import pytest
import tensorflow as tf
from rule_weights import rule_weights
from safetensors.numpy import save_file

from ladagan_tf.errors import InputError
from ladagan_tf.files import cache_folder
from ladagan_tf.models.blank import shapes_only
from ladagan_tf.models.features.inception import Inception
from ladagan_tf.weights import inception_weights
from ladagan_tf.weights.download import PublishedFile, find_published
from ladagan_tf.weights.inception_weights import NAME, canonical, find, graph_names, load
from ladagan_tf.weights.reading import read_weights

CONTENT = b"as if these were weights"


def refusal(call, *arguments, **keywords):
    with pytest.raises(InputError) as caught:
        call(*arguments, **keywords)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def published(monkeypatch):
    """Makes `CONTENT` the published file."""
    monkeypatch.setattr(inception_weights, "SHA256", hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture
def network_answers(monkeypatch):
    """`network_answers(value)`: what a download gives; an exception is raised. Returns the URLs."""

    def answer(value):
        urls = []

        def urlopen(url, timeout):
            urls.append(url)
            assert timeout > 0
            if isinstance(value, Exception):
                raise value
            response = io.BytesIO(value)
            response.length = len(value)
            return response

        monkeypatch.setattr(urllib.request, "urlopen", urlopen)
        return urls

    return answer


# -------------------------------------------------------------------------------------- find


def test_a_given_file_wins_and_is_not_checked(tmp_path, network_answers):
    urls = network_answers(OSError("no network in this test"))
    (tmp_path / NAME).write_bytes(b"cached")
    (tmp_path / "mine.npz").write_bytes(b"anything")
    assert find(tmp_path / "mine.npz", tmp_path) == tmp_path / "mine.npz"
    assert not urls


def test_a_given_file_that_is_missing_is_refused(tmp_path):
    message = refusal(find, tmp_path / "absent.pth", tmp_path)
    assert "--inception_weights" in message and "absent.pth" in message


def test_a_cached_file_is_used_without_the_network(tmp_path, published, network_answers):
    urls = network_answers(OSError("no network in this test"))
    (tmp_path / NAME).write_bytes(CONTENT)
    assert find(cache_dir=tmp_path) == tmp_path / NAME
    assert not urls


def test_a_cached_file_of_another_hash_is_refused(tmp_path):
    (tmp_path / NAME).write_bytes(CONTENT)
    message = refusal(find, cache_dir=tmp_path)
    found = hashlib.sha256(CONTENT).hexdigest()[:12]
    for part in (str(tmp_path / NAME), found, inception_weights.SHA256[:12], "delete it"):
        assert part in message


@pytest.mark.parametrize(
    "failure", [urllib.error.URLError("Name or service\nnot known"), TimeoutError()]
)
def test_offline_the_message_says_which_file_goes_where(tmp_path, network_answers, failure):
    network_answers(failure)
    folder = tmp_path / "new" / "cache"
    message = refusal(find, cache_dir=folder)
    for part in (inception_weights.URL, str(folder / NAME), "--inception_weights"):
        assert part in message
    assert not list(folder.iterdir())


def test_without_download_the_network_is_not_asked(tmp_path, network_answers):
    urls = network_answers(CONTENT)
    assert "downloading is off" in refusal(find, cache_dir=tmp_path, download=False)
    assert not urls


def test_a_download_is_checked_and_kept(tmp_path, published, network_answers):
    urls = network_answers(CONTENT)
    for _ in range(2):
        assert find(cache_dir=tmp_path / "cache").read_bytes() == CONTENT
    assert urls == [inception_weights.URL]
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [NAME]


def test_a_damaged_download_leaves_nothing_behind(tmp_path, published, network_answers):
    network_answers(CONTENT[:-1])
    assert "arrived with SHA-256" in refusal(find, cache_dir=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_download_that_breaks_off_is_not_kept(tmp_path, monkeypatch):
    """Of a file whose hash nobody published, only the length tells."""
    response = io.BytesIO(CONTENT)
    response.length = len(CONTENT) + 1
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: response)
    published = PublishedFile("the weights", "a.bin", "https://a.example/a.bin", None, "--a")
    said = refusal(find_published, published, tmp_path)
    assert f"arrived with {len(CONTENT):,} of {len(CONTENT) + 1:,} bytes" in said
    assert not list(tmp_path.iterdir())


def test_the_cache_is_in_the_users_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "ladagan_tf"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/somewhere")
    assert str(cache_folder()) == "/somewhere/.cache/ladagan_tf"


# -------------------------------------------------------------------------------------- load


@pytest.fixture(scope="module")
def rule():
    with shapes_only():
        return rule_weights(Inception().tensor_shapes(), gain=2.0)


def as_graph(tensors):
    """A frozen graph with the tensors' constants, kernels in TF's layout, and one that is none."""
    graph = tf.compat.v1.GraphDef()
    layouts = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}
    arrays = {n: tensors[t].transpose(layouts[tensors[t].ndim]) for n, t in graph_names().items()}
    for name, array in {**arrays, "mixed/join/concat_dim": np.array(3, "int32")}.items():
        node = graph.node.add(name=name, op="Const")
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(array))
    return graph.SerializeToString()


def test_graph_names_are_the_published_table(oracle_dir):
    table = json.loads((oracle_dir / "tf_graph_names.json").read_text())
    assert graph_names() == {name: entry["torch"] for name, entry in table.items()}
    constants = {name: np.zeros(entry["tf_shape_HWIO"], "i1") for name, entry in table.items()}
    shapes = {name: array.shape for name, array in canonical(constants).items()}
    with shapes_only():
        assert shapes == Inception().tensor_shapes()


def test_the_same_weights_have_the_same_hash_in_every_format(rule, tmp_path):
    np.savez(tmp_path / "w.npz", **rule)
    save_file({**rule, "x.num_batches_tracked": np.array(1)}, tmp_path / "w.safetensors")
    (tmp_path / "w.pb").write_bytes(as_graph(rule))
    (first, digest), (second, another) = (load(tmp_path / f"w.{s}") for s in ("safetensors", "pb"))
    assert digest == another and len(digest) == 64
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert inception_weights.content_sha256(read_weights(tmp_path / "w.npz")) == digest


def test_other_weights_have_another_hash(rule):
    changed = {**rule, "fc.bias": np.nextafter(rule["fc.bias"], np.float32(1))}
    hashes = {inception_weights.content_sha256(weights) for weights in (rule, changed)}
    assert len(hashes) == 2


def test_a_file_of_other_weights_is_named_and_its_names_listed(tmp_path):
    np.savez(tmp_path / "w.npz", **{"conv.weight": np.zeros(3)})
    message = refusal(load, tmp_path / "w.npz")
    assert message.startswith(f"{tmp_path / 'w.npz'}: ")
    assert "472 missing" in message and "1 unknown (conv.weight)" in message


def test_a_graph_that_lacks_constants_is_refused(oracle_dir):
    message = refusal(load, oracle_dir / "formats" / "tiny_inception_like.pb")
    assert "missing" in message and "of another shape" in message and "unknown" not in message
