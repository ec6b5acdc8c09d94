"""CAT's networks: the published sizes, scales that do not mix, and GAT's generator as a part."""

import numpy as np
import pytest
from gat_in_numpy import affine, assert_close, number, rms_norm, silu
from gat_networks import (
    LABELS,
    K,
    S,
    in_one_program,
    tiny_cat_discriminator,
    tiny_generator,
)
from gat_paper_sizes import (
    CAT_DISCRIMINATOR,
    CAT_GENERATOR,
    CAT_WITHOUT_PROJECTOR,
    TABLE,
    sizes,
)

from ladagan_tf.models.blank import shapes_only
from ladagan_tf.models.gat.attention import rope_tables, sincos_table
from ladagan_tf.models.gat.networks import GatGenerator
from ladagan_tf.models.gat.scales import CatDiscriminator


@pytest.fixture
def pyramid(rng):
    """What the tiny discriminator takes: three scales of three samples."""
    return [rng.standard_normal((3, side, side, 3)).astype("float32") for side in (2, 4, S)]


# ------------------------------------------------------------------------- the published sizes


@pytest.mark.parametrize("name", CAT_GENERATOR)
def test_generator_has_the_published_parameters(name):
    """Which count the table of positions, and an unused embedding of an input (4 p^2 C + C)."""
    with shapes_only():
        generator = GatGenerator(**sizes(name, 2), modulation="shift_scale_gate")
    trained = sum(int(np.prod(w.shape)) for w in generator.trainable_variables)
    unused = 17 * generator.width
    assert trained + generator.grid**2 * generator.width + unused == CAT_GENERATOR[name]
    assert generator.count_params() == CAT_GENERATOR[name] - unused + 1000 * generator.width


def test_discriminator_has_the_parameters_of_the_reading():
    with shapes_only():
        counts = [CatDiscriminator(teacher_dim=n).count_params() for n in (768, None)]
    assert counts == [CAT_DISCRIMINATOR, CAT_WITHOUT_PROJECTOR]
    assert TABLE["B"] == 256 * 768  # one of four: the tables are counted


# ------------------------------------------------------------------------------------- scales


def test_a_change_of_one_scale_changes_its_logit_only(randomised, pyramid):
    discriminator = randomised(tiny_cat_discriminator())
    logits, *features = map(number, discriminator(pyramid, LABELS, return_features=True))
    assert logits.shape == (3, 3) and [f.shape for f in features] == [(3, 5), (3, 16, 5)]
    for k in range(3):
        other = [x + 1.0 if i == k else x for i, x in enumerate(pyramid)]
        changed, *seen = map(number, discriminator(other, LABELS, return_features=True))
        np.testing.assert_array_equal(changed != logits, [[i == k for i in range(3)]] * 3)
        assert all((a != b).any() == (k == 2) for a, b in zip(seen, features, strict=True))


def blocks_in_one_pass(discriminator, tokens):
    """All scales' tokens (B, N_k, C) in one sequence, under a mask with a block for each scale."""
    d, counts = discriminator, [x.shape[1] for x in tokens]
    of = np.repeat(np.arange(len(counts)), counts)
    mask = np.where(of[:, None] == of[None], 0.0, -np.inf)  # (N, N)
    angles = [rope_tables(d.width // d.num_heads, grid, leading=1) for grid in d.grids]
    cos, sin = (np.concatenate(parts)[:, None] for parts in zip(*angles, strict=True))  # (N, 1, d)
    x = np.concatenate(tokens, axis=1)
    by_head = (len(x), sum(counts), d.num_heads, -1)

    def rotated(norm, part):
        part = rms_norm(part.reshape(by_head), 1.1920929e-07) * number(norm.weight)
        pairs = part.reshape(*part.shape[:-1], -1, 2)
        turned = np.stack([-pairs[..., 1], pairs[..., 0]], axis=-1).reshape(part.shape)
        return part * cos + turned * sin

    for block in d.blocks:
        attention, mlp = block.attention, block.mlp
        normed = rms_norm(x) * number(block.attention_norm.weight)
        q, k, v = np.split(affine(attention.qkv, normed), 3, axis=-1)
        q, k = rotated(attention.query_norm, q), rotated(attention.key_norm, k)
        scores = np.einsum("bnhd,bmhd->bhnm", q, k) / np.sqrt(q.shape[-1]) + mask
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        mixed = np.einsum("bhnm,bmhd->bnhd", weights, v.reshape(by_head)).reshape(x.shape)
        x = x + number(block.attention_scale) * affine(attention.output_projection, mixed)
        gate, value = np.split(
            affine(mlp.expand, rms_norm(x) * number(block.mlp_norm.weight)), 2, axis=-1
        )
        x = x + number(block.mlp_scale) * affine(mlp.contract, silu(gate) * value)
    return x


def test_a_pass_per_scale_is_one_pass_with_a_block_diagonal_mask(randomised, pyramid):
    """By the formulas in float64: embedding, positions, scale vectors, blocks, projection."""
    d = randomised(tiny_cat_discriminator(dtype="float64"))
    tokens = []
    for k, (x, grid) in enumerate(zip(pyramid, d.grids, strict=True)):
        table = sincos_table(d.width, grid)
        d.tables[k].assign(table)
        patches = x.reshape(3, grid, 2, grid, 2, 3).transpose(0, 1, 3, 2, 4, 5).reshape(3, -1, 12)
        placed = affine(d.to_tokens, patches) + table
        cls = np.broadcast_to(number(d.cls[k]), (3, 1, d.width))
        tokens.append(np.concatenate([cls, placed], axis=1) + number(d.scale_vectors[k]))
    seen = blocks_in_one_pass(d, tokens)
    starts = np.cumsum([0, *(x.shape[1] for x in tokens[:-1])])
    cls = affine(d.to_class, rms_norm(seen[:, starts]) * number(d.norm.weight))  # (B, K, class_dim)
    expected = np.einsum("bkc,bc->bk", cls, number(d.class_vectors(LABELS)))
    assert_close(in_one_program(d)(pyramid, LABELS), expected)


def test_scales_start_with_vectors_and_cls_tokens_of_their_own():
    d = tiny_cat_discriminator(width=256)
    for weights in (d.cls, d.scale_vectors):
        values = np.stack([number(w) for w in weights])
        assert np.std(values) == pytest.approx(0.02, rel=0.15) and (values[0] != values[1]).all()
    assert [tuple(table.shape) for table in d.tables] == [(1, 256), (4, 256), (16, 256)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"levels": 4}, r"levels=4: the latent_size 8 is no multiple of patch=2 times 2\^3"),
        ({"levels": 0}, "levels=0: give a positive integer"),
    ],
)
def test_scales_that_there_are_not_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        tiny_cat_discriminator(**changes)


def test_other_inputs_than_the_scales_are_refused(pyramid):
    discriminator = tiny_cat_discriminator(teacher_dim=None)
    with pytest.raises(ValueError, match="2 scales given, of levels=3"):
        discriminator(pyramid[1:], LABELS)
    with pytest.raises(ValueError, match="return_features=True: teacher_dim=None"):
        discriminator(pyramid, LABELS, return_features=True)


# ---------------------------------------------------------------------------------- generator


def test_without_shifts_it_is_the_generator_of_gat(randomised, z):
    """Its parts are (shift, scale, gate) for each branch, and (shift, scale) for each head."""
    gat = randomised(tiny_generator())
    cat = tiny_generator(modulation="shift_scale_gate")
    assert (gat.paper, cat.paper) == ("GAT", "CAT")
    width, values = gat.width, []
    for ours, theirs in zip(cat.weights, gat.weights, strict=True):
        value = number(theirs)
        if ours.shape != theirs.shape:
            parts = np.split(value, value.shape[-1] // width, axis=-1)
            zero = np.zeros_like(parts[0])
            branches = [parts] if len(parts) == 1 else [parts[:2], parts[2:]]
            value = np.concatenate([p for branch in branches for p in (zero, *branch)], axis=-1)
        values.append(value)
    cat.set_weights(values)
    ours, theirs = (network(z, LABELS, return_levels=True) for network in (cat, gat))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert len(ours) == K
