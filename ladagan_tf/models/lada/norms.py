"""LadaGAN's norms (arXiv 2401.09596, Sec. III): layer norm, SLN and batch norm; and group norm."""

import keras
from keras import ops

from ladagan_tf.models.one_by_one import one_by_one
from ladagan_tf.models.orthogonal import dense, zero_dense

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

LN_EPSILON = 1e-6
GROUP = 16  # channels, at most: as good as 32 groups (Wu and He 2018, Table 3)


def normalize(x):
    """Layer norm without parameters over the last axis, biased variance, epsilon 1e-6.

    The variance takes the mean as a constant when it is differentiated. For one derivative that is
    exact, because the deviations sum to zero; for the two that R1 takes it leaves out a term of
    order 1/D. The official code's layer norm (`tf.nn.moments`) does so, and its recorded gradients
    are reproduced here under every backend. Batch norm there was a fused kernel, which is exact.
    """
    return _normalize(x) if one_by_one() else _normal_and_gradient(x)[0]


def _normal_and_gradient(x):
    """What `normalize` returns, and a function from a gradient to it to one to x, as autodiff's."""
    dtype, precise = x.dtype, keras.backend.result_type(x.dtype, "float32")
    x = ops.cast(x, precise)
    mean = _mean(x)
    centred = x - ops.stop_gradient(mean)
    scale = ops.rsqrt(_mean(ops.square(centred)) + LN_EPSILON)
    normal = x * scale - mean * scale  # as the official code rounds it

    def gradient(upstream):
        g = ops.cast(upstream, precise)
        along = centred * (scale * _mean(g * normal))
        return ops.cast((g - _mean(g) - along) * scale, dtype)

    return ops.cast(normal, dtype), gradient


_normalize = ops.custom_gradient(_normal_and_gradient)  # three quarters of autodiff's time


def _mean(x):
    return ops.mean(x, axis=-1, keepdims=True)


def normalize_batch(x, gamma, beta, epsilon):
    """Batch norm over (B, H, W) with statistics of x, exact for two derivatives.

    Args:
        x: float tensor (B, H, W, C).
        gamma, beta: float tensors (C,), at least float32, for moments in half are too coarse.
        epsilon: float.

    Returns:
        Tensor like x, mean (C,) and unbiased variance (C,); these two are not to be differentiated.
    """
    precise = keras.backend.standardize_dtype(gamma.dtype)
    if one_by_one() and precise == "float32":
        # One kernel, a fifth of the time of what follows.
        return tf.compat.v1.nn.fused_batch_norm(x, gamma, beta, epsilon=epsilon)
    dtype = x.dtype
    x = ops.cast(x, precise)
    # Not ops.moments: TensorFlow's stops the mean's gradient inside the variance, which is right
    # for one derivative but not for the two that R1 takes.
    mean = ops.mean(x, axis=(0, 1, 2))  # (C,)
    variance = ops.mean(ops.square(x - mean), axis=(0, 1, 2))  # (C,)
    y = ops.cast((x - mean) * (gamma * ops.rsqrt(variance + epsilon)) + beta, dtype)
    count = ops.cast(ops.size(x) // x.shape[-1], precise)
    return y, mean, variance * (count / ops.maximum(count - 1.0, 1.0))


def relu_of_sum(x, y=None):
    """max(x + y, 0), or max(x, 0), of outputs of dense layers."""
    if y is None:
        return ops.relu(x)
    # Not ops.relu: of product, bias, sum and Relu on a CPU TensorFlow 2.21's remapper makes a node
    # without a name, and then optimises nothing.
    return ops.maximum(x + y, 0)


@keras.saving.register_keras_serializable(package="ladagan_tf")
class LayerNormalization(keras.layers.Layer):
    """Layer norm over the channels with a learned scale and offset; see `normalize`.

    Call arguments:
        x: float tensor (..., D).

    Returns:
        Float tensor (..., D).
    """

    def build(self, x_shape):
        self.gamma = self.add_weight(x_shape[-1:], "ones", name="gamma")
        self.beta = self.add_weight(x_shape[-1:], "zeros", name="beta")

    def call(self, x):
        return normalize(x) * self.gamma + self.beta

    def compute_output_shape(self, x_shape):
        return tuple(x_shape)


@keras.saving.register_keras_serializable(package="ladagan_tf")
class SelfModulatedLayerNorm(keras.layers.Layer):
    """SLN: layer norm whose scale and shift are computed from the latent (LadaGAN, Sec. III-B).

        h = relu(W_h z + b_h);  y = LN(x) * (W_s h + b_s) + (W_t h + b_t)

    A class's vector r, if there is one, is seen beside the latent, at first by zero weights (ours):

        h = relu(W_h z + U_h r + b_h)

    The normalisation has no parameters of its own; the scale is used as it is, not as 1 + scale.

    Args:
        own_mlp: bool, the hidden layer h is this norm's own. Without it h = z, for a latent that a
            shared network has mapped: the SLN of ViTGAN (arXiv 2107.04589, Eq. 20).
        conditional: bool, the hidden layer sees a class's vector too.

    Call arguments:
        x: float tensor (B, N, D).
        z: float tensor (B, Z), the latent.
        r: float tensor (B, Z), the class's vector; only when conditional.

    Returns:
        Float tensor (B, N, D).
    """

    def __init__(self, own_mlp=True, conditional=False, **kwargs):
        super().__init__(**kwargs)
        self.own_mlp = own_mlp
        self.conditional = conditional

    def build(self, x_shape, z_shape):
        width = x_shape[-1]
        if self.own_mlp:
            self.hidden = dense(width, self.dtype_policy, "hidden")
            self.hidden.build(z_shape)
        if self.conditional:
            self.class_hidden = zero_dense(width, self.dtype_policy, "class_hidden")
            self.class_hidden.build(z_shape)
        self.scale = dense(width, self.dtype_policy, "scale")
        self.shift = dense(width, self.dtype_policy, "shift")
        for layer in (self.scale, self.shift):
            layer.build((z_shape[0], width if self.own_mlp else z_shape[-1]))

    def call(self, x, z, r=None):
        h = z  # (B, Z)
        if self.own_mlp:
            h = relu_of_sum(self.hidden(z), self.class_hidden(r) if self.conditional else None)
        scale = ops.expand_dims(self.scale(h), 1)  # (B, 1, D)
        shift = ops.expand_dims(self.shift(h), 1)  # (B, 1, D)
        return normalize(x) * scale + shift  # (B, N, D)

    def compute_output_shape(self, x_shape, z_shape, r_shape=None):
        return tuple(x_shape)

    def get_config(self):
        config = {"own_mlp": self.own_mlp, "conditional": self.conditional}
        return {**super().get_config(), **config}


@keras.saving.register_keras_serializable(package="ladagan_tf")
class BatchNormalization(keras.layers.Layer):
    """Batch normalisation over (B, H, W) whose moving variance is the unbiased one.

    Training normalises with the biased batch variance; the moving variance receives
    n / (n - 1) of it, as TensorFlow's fused kernel did in the official code (Keras 3 alone would
    store the biased one). Statistics are those of one call on one device: real and generated
    images never share them, and every replica normalises with its own.

    Args:
        momentum: float, share of the old moving statistics kept at each training call.
        epsilon: float, added to the variance.

    Call arguments:
        x: float tensor (B, H, W, C).
        training: bool, normalise with batch statistics and update the moving ones.

    Returns:
        Float tensor (B, H, W, C).
    """

    def __init__(self, momentum=0.99, epsilon=1e-3, **kwargs):
        super().__init__(**kwargs)
        self.momentum = momentum
        self.epsilon = epsilon

    def build(self, x_shape):
        shape = (x_shape[-1],)
        self.gamma = self.add_weight(shape, "ones", name="gamma", autocast=False)
        self.beta = self.add_weight(shape, "zeros", name="beta", autocast=False)
        self.moving_mean = self.add_weight(
            shape, "zeros", trainable=False, autocast=False, name="moving_mean"
        )
        self.moving_variance = self.add_weight(
            shape, "ones", trainable=False, autocast=False, name="moving_variance"
        )

    def call(self, x, training=False):
        if training:
            y, mean, variance = normalize_batch(x, self.gamma, self.beta, self.epsilon)
            for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
                value = ops.stop_gradient(value)
                moving.assign(moving * self.momentum + value * (1.0 - self.momentum))
            return y
        scale = self.gamma * ops.rsqrt(self.moving_variance + self.epsilon)
        precise = ops.cast(x, self.variable_dtype)
        return ops.cast((precise - self.moving_mean) * scale + self.beta, x.dtype)

    def compute_output_shape(self, x_shape):
        return tuple(x_shape)

    def get_config(self):
        return {**super().get_config(), "momentum": self.momentum, "epsilon": self.epsilon}


@keras.saving.register_keras_serializable(package="ladagan_tf")
class GroupNormalization(keras.layers.Layer):
    """Group norm (Wu and He 2018): each image by itself, over places and a group of channels.

    A group is the largest divisor of C up to `GROUP`. Like batch norm it hides how large values
    are, but an image's do not depend on the others of its batch. Exact for two derivatives, as
    `BatchNormalization`.

    Args:
        epsilon: float, added to the variance.

    Call arguments:
        x: float tensor (B, H, W, C).
        training: bool, of no effect.

    Returns:
        Float tensor (B, H, W, C).
    """

    def __init__(self, epsilon=1e-5, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, x_shape):
        width = x_shape[-1]
        self.group = max(size for size in range(1, GROUP + 1) if width % size == 0)
        self.gamma = self.add_weight((width,), "ones", name="gamma", autocast=False)
        self.beta = self.add_weight((width,), "zeros", name="beta", autocast=False)

    def call(self, x, training=False):
        dtype, (height, width, channels) = x.dtype, x.shape[1:]
        x = ops.cast(x, self.variable_dtype)
        x = ops.reshape(x, (-1, height * width, channels // self.group, self.group))
        x = x - ops.mean(x, axis=(1, 3), keepdims=True)
        x = x * ops.rsqrt(ops.mean(ops.square(x), axis=(1, 3), keepdims=True) + self.epsilon)
        x = ops.reshape(x, (-1, height, width, channels))
        return ops.cast(x * self.gamma + self.beta, dtype)

    def compute_output_shape(self, x_shape):
        return tuple(x_shape)

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}
