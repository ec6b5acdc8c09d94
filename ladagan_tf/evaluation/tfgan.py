"""FID, KID and the Inception Score computed by tensorflow-gan: an independent second opinion.

TF-GAN 2.1.0 is imported here only, and only when a function is called. It is made for TensorFlow
before 2.16: its estimators need `tf.estimator`, which is gone (tensorflow/gan#55). Its metrics do
not, so a stand-in takes the estimators' place while it is imported.
"""

import functools
import importlib
import sys
import types
import warnings

import numpy as np
import tensorflow as tf

from ladagan_tf.errors import InputError

_ESTIMATORS = "tensorflow_gan.python.estimator"


@functools.cache
def _eval():
    """The module `tensorflow_gan.eval`; a failed import leaves nothing behind."""
    loaded = set(sys.modules)
    missing = not hasattr(tf, "estimator")
    try:
        if missing:
            tf.estimator = types.SimpleNamespace(SessionRunHook=object)
            sys.modules.setdefault(_ESTIMATORS, types.ModuleType(_ESTIMATORS))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its old idioms: distutils, pkg_resources
            return importlib.import_module("tensorflow_gan").eval
    except Exception as error:  # not only ImportError: old code meets new libraries
        for name in set(sys.modules) - loaded:
            if name.split(".")[0] == "tensorflow_gan":
                del sys.modules[name]
        raise InputError(
            "--engine=tfgan needs the package tensorflow-gan of requirements.txt, which does not "
            f"import here: {type(error).__name__}: {' '.join(str(error).split())}"
        ) from error
    finally:
        if missing:
            del tf.estimator


def check():
    """Raises InputError unless tensorflow-gan can be imported."""
    _eval()


def _doubles(*arrays):
    return [tf.constant(np.asarray(a, np.float64)) for a in arrays]


def frechet_distance(real, fake):
    """FID of feature banks (M, D) and (N, D), in float64; a float.

    Raises:
        InputError: if tensorflow-gan cannot be imported.
    """
    return float(_eval().frechet_classifier_distance_from_activations(*_doubles(real, fake)))


def kernel_distance(real, fake):
    """KID of feature banks `real` (M, D) and `fake` (N, D), in float64; a float.

    Sets of up to 8192 rows give the unbiased estimate over all pairs. Larger ones are
    cut into consecutive blocks, whose estimates are averaged: less precise, and it needs rows in
    random order.

    Raises:
        InputError: if tensorflow-gan cannot be imported.
    """
    function = _eval().kernel_classifier_distance_from_activations
    return float(function(*_doubles(real, fake), max_block_size=8192))


def inception_score(logits):
    """Inception Score of logits (N, classes) as one split, in float64; a float.

    A class whose probability underflows to 0 everywhere gives NaN, which is TF-GAN's answer.

    Raises:
        InputError: if tensorflow-gan cannot be imported.
    """
    return float(_eval().classifier_score_from_logits(*_doubles(logits)))
