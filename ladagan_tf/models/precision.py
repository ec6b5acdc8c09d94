"""Computing a network in another precision than it was built for, with the same weights."""

import contextlib

import keras


@contextlib.contextmanager
def computing_in(network, dtype):
    """Within it, layers of `network` that compute in half precision compute in `dtype`.

    The weights, float32 in mixed precision, are the same. Graphs that were traced outside keep
    their precision, and those traced inside keep `dtype`.

    Args:
        network: keras.Model.
        dtype: str, e.g. "float32"; None leaves them as they are.
    """
    half = [
        (layer, layer.dtype_policy)
        for layer in (network._flatten_layers() if dtype else ())
        if keras.backend.standardize_dtype(layer.compute_dtype) in ("bfloat16", "float16")
    ]
    try:
        for layer, _ in half:
            layer.dtype_policy = dtype
        yield
    finally:
        for layer, policy in half:
            layer.dtype_policy = policy
