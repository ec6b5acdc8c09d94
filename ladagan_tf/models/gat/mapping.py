"""GAT's styles: from noise and a class to what modulates the generator (arXiv 2509.24935)."""

import keras
from keras import ops

from ladagan_tf.models.checks import is_one
from ladagan_tf.models.classes import ClassTable, as_indices, check_one_each, rms_normalize
from ladagan_tf.models.gat.layers import EqualLinear

EPSILON = 1e-8
MEAN_STYLE_DECAY = 0.995


@keras.saving.register_keras_serializable(package="ladagan_tf")
class Mapping(keras.layers.Layer):
    """Noise and a class to a style, truncated and guided on request.

        style = W2 silu(W1 [RMS(class vector), RMS(z)])         both layers learn slowly
        truncated = m + psi (style - m)                         m: the class's mean style
        guided = c + guidance (truncated - c)                   c: mean over all classes, for this z

    The mean styles are a weight that training sets to `updated_mean_style`, not the optimizer.

    Args:
        num_classes: int.
        noise_dim: int, Z, size of z and of the class vectors.
        width: int, C, size of the styles.
        official_guidance: bool, compute c as the official code does: class vectors and z normed
            over the classes instead of their features, an oversight that turns z into its sign.

    Call arguments:
        z: float tensor (B, Z), standard normal noise.
        labels: int tensor (B,), classes in [0, num_classes).
        psi: float or scalar tensor, truncation: 1 none, 0 the class's mean style. (The official
            code counts the other way: its 0.3 is 0.7 here.)
        guidance: float or scalar tensor: 1 none, above 1 away from the mean over all classes.

    Returns:
        Float tensor (B, C).
    """

    def __init__(self, num_classes, noise_dim, width, official_guidance=False, **kwargs):
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.noise_dim = noise_dim
        self.width = width
        self.official_guidance = official_guidance

    def build(self, z_shape, labels_shape):
        self.mean_style = self.add_weight(
            (self.num_classes, self.width), "zeros", trainable=False, name="mean_style"
        )
        policy = self.dtype_policy
        self.classes = ClassTable(self.num_classes, self.noise_dim, dtype=policy, name="classes")
        self.hidden = EqualLinear(self.width, dtype=policy, name="hidden")
        self.output_layer = EqualLinear(self.width, dtype=policy, name="output_layer")
        self.classes.build(labels_shape)
        self.hidden.build((None, 2 * self.noise_dim))
        self.output_layer.build((None, self.width))

    def call(self, z, labels, psi=1.0, guidance=1.0):
        rows = rms_normalize(self.classes(labels), EPSILON)  # (B, Z)
        check_one_each(rows, z)
        style = self._map(rows, rms_normalize(z, EPSILON))  # (B, C)
        if not is_one(psi):
            mean = ops.take(self.mean_style, as_indices(labels), axis=0)  # (B, C)
            style = mean + psi * (style - mean)  # (B, C)
        if not is_one(guidance):
            centre = self._mean_over_classes(z)  # (B, C)
            style = centre + guidance * (style - centre)  # (B, C)
        return style

    def _map(self, rows, z):
        both = ops.concatenate([rows, z], axis=-1)  # (..., 2Z)
        return self.output_layer(ops.silu(self.hidden(both)))  # (..., C)

    def _mean_over_classes(self, z):
        table = ops.convert_to_tensor(self.classes.table)  # (classes, Z)
        if self.official_guidance:
            rows = ops.transpose(rms_normalize(ops.transpose(table), EPSILON))
            z = z * ops.rsqrt(ops.square(z) + EPSILON)  # (B, Z)
        else:
            rows, z = rms_normalize(table, EPSILON), rms_normalize(z, EPSILON)
        shape = (ops.shape(z)[0], self.num_classes, self.noise_dim)
        rows = ops.broadcast_to(rows, shape)  # (B, classes, Z)
        z = ops.broadcast_to(ops.expand_dims(z, 1), shape)  # (B, classes, Z)
        return ops.mean(self._map(rows, z), axis=1)  # (B, C)

    def updated_mean_style(self, styles, labels, total=lambda sums: sums):
        """What `mean_style` is to become: 0.995 of it and 0.005 of the batch's mean, by class.

        Classes without a sample keep theirs.

        Args:
            styles: float tensor (B, C), neither truncated nor guided.
            labels: int tensor (B,).
            total: function from a list of tensors to their sums over all replicas, for which the
                batch is that of all together. (The official code keeps a table per process.)

        Returns:
            Float tensor (num_classes, C), without gradient.
        """
        styles = ops.stop_gradient(styles)
        old = ops.convert_to_tensor(self.mean_style)  # (classes, C)
        sums = ops.segment_sum(styles, labels, self.num_classes)  # (classes, C)
        counts = ops.segment_sum(ops.ones_like(styles[:, :1]), labels, self.num_classes)
        sums, counts = total([sums, counts])
        means = sums / ops.maximum(counts, 1.0)  # (classes, C)
        new = MEAN_STYLE_DECAY * old + (1.0 - MEAN_STYLE_DECAY) * means
        return ops.where(counts > 0.0, new, old)

    def compute_output_shape(self, z_shape, labels_shape=None):
        return z_shape[0], self.width

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "noise_dim": self.noise_dim,
            "width": self.width,
            "official_guidance": self.official_guidance,
        }
