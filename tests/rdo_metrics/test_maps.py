"""Maps: a contract for every registered one, laws, and closed forms on a toy network."""

from __future__ import annotations

import numpy as np
import pytest

from encoder_bridge.config import MapConfig
from encoder_bridge.errors import ConfigError, MetricInputError
from rdo_metrics.maps import MAPS, FileMap, MapContext, make_map
from rdo_metrics.maps.attribution import attribution
from rdo_metrics.maps.base import smooth
from rdo_metrics.maps.fisher import fisher
from rdo_metrics.maps.kl import kl_divergence
from rdo_metrics.weights import block_mean, shrink_weights, side_info

CLASSES = 4
ASKING = [name for name in MAPS.names() if not name.startswith("learned")]
"""Maps that ask the network itself; what a learned map says is its own network's business."""
LEARNED = [name for name in MAPS.names() if name not in ASKING]


class ToyNetwork:
    """logits = A·blur(rgb)/255 + b, optionally times a mask; every derivative is known in closed form."""

    def __init__(self, blur=True, gain=8.0, mask=None):
        rng = np.random.default_rng(5)
        self.matrix = gain * rng.standard_normal((CLASSES, 3)).astype(np.float32) / 255
        self.bias = rng.standard_normal(CLASSES).astype(np.float32)
        self.blur = blur
        self.mask = np.float32(1) if mask is None else mask.astype(np.float32)
        self.calls = 0

    def filtered(self, x):
        """Circular 3-tap binomial blur in both directions: its own adjoint."""
        if not self.blur:
            return x
        for axis in (-1, -2):
            x = (np.roll(x, 1, axis) + 2 * x + np.roll(x, -1, axis)) / 4
        return x

    def log_p(self, x):
        """(N, 3, H, W) → (N, C, H, W)."""
        logits = np.einsum("kc,nchw->nkhw", self.matrix, self.filtered(x)) * self.mask + self.bias[:, None, None]
        logits = logits - logits.max(axis=1, keepdims=True)
        return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)

    def log_probs(self, rgb):
        self.calls += 1
        return self.log_p(rgb.transpose(0, 3, 1, 2).astype(np.float32))

    def logp_signed_grad(self, x, labels, signs):
        onehot = (np.arange(CLASSES)[:, None, None] == labels[:, None]).astype(np.float32)
        outer = (onehot - np.exp(self.log_p(x))) * signs[:, None] * self.mask
        return self.filtered(np.einsum("kc,nkhw->nchw", self.matrix, outer)).astype(np.float32)

    def loss_and_grad(self, x, labels):
        loss = -np.take_along_axis(self.log_p(x), labels[:, None], axis=1).sum(axis=(1, 2, 3), dtype=np.float64)
        return loss, -self.logp_signed_grad(x, labels, np.ones(labels.shape, dtype=np.float32))


def picture(height, width, seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 215, (height // 12 + 2, width // 12 + 2, 3))
    big = coarse.repeat(12, 0).repeat(12, 1)[:height, :width]
    return np.clip(big + rng.normal(0, 6, big.shape), 0, 255).astype(np.uint8)


def luma(rgb):
    return np.rint(rgb @ np.array([0.2126, 0.7152, 0.0722])).astype(np.uint8)


def context(network, height=70, width=90, error=8.0, **changes):
    rgb = picture(height, width)
    noise = np.random.default_rng(1).normal(0, error, rgb.shape)
    coded = np.clip(np.rint(rgb + noise), 0, 255).astype(np.uint8) if error else rgb
    fields = {
        "log_probs": network.log_probs,
        "reconstruction_rgb": coded,
        "reconstruction_luma": luma(coded),
        "loss_and_grad": network.loss_and_grad,
        "logp_signed_grad": network.logp_signed_grad,
    }
    return MapContext(rgb, luma(rgb), **(fields | changes))


# --- every registered map ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [16, 8])
@pytest.mark.parametrize("name", ASKING)
def test_contract_shape_type_range_and_determinism(name, block):
    weights = MAPS.get(name)().weights(context(ToyNetwork(), 71, 93, block=block))
    assert weights.shape == (-(-71 // block), -(-93 // block))
    assert weights.dtype == np.float32
    assert np.isfinite(weights).all() and weights.min() >= 0 and np.ptp(weights) > 0
    again = MAPS.get(name)().weights(context(ToyNetwork(), 71, 93, block=block))
    assert (weights == again).all()


@pytest.mark.parametrize("name", ASKING)
def test_contract_needs_are_what_the_map_says(name):
    network, map_ = ToyNetwork(), MAPS.get(name)()
    no_pass = {"reconstruction_rgb": None, "reconstruction_luma": None}
    no_gradient = {"loss_and_grad": None, "logp_signed_grad": None}
    for needed, without in (
        (map_.needs_first_pass, no_pass),
        (map_.needs_gradient, no_gradient),
        (map_.needs_network, {"log_probs": None, **no_gradient}),
    ):
        ctx = context(network, **without)
        if needed:
            with pytest.raises(MetricInputError, match="needs"):
                map_.weights(ctx)
        else:
            assert map_.weights(ctx).shape == ctx.grid


@pytest.mark.parametrize("name", ASKING)
def test_contract_indifferent_regions_get_the_least(name):
    mask = np.zeros((96, 128))
    mask[:, 80:] = 1
    weights = MAPS.get(name)(sigma=0.5).weights(context(ToyNetwork(mask=mask), 96, 128))
    assert weights[:, :3].max() < 0.4 * weights[:, 5:].mean()


@pytest.mark.parametrize("name", ASKING)
def test_contract_a_frame_with_no_network_response_says_nothing(name):
    ctx = context(ToyNetwork(mask=np.zeros((70, 90))))
    assert side_info(MAPS.get(name)().weights(ctx), MapConfig(weights=True), ctx.size).weight is None


@pytest.mark.parametrize("name", ["kl", "attribution"])
def test_without_coding_error_the_weights_are_uniform(name):
    ctx = context(ToyNetwork(), error=0)
    assert (shrink_weights(MAPS.get(name)().weights(ctx)) == 1).all()


@pytest.mark.parametrize("name", ASKING)
def test_the_original_is_inferred_once_for_all_operating_points(name):
    network = ToyNetwork()
    ctx = context(network)
    for _ in range(6):
        MAPS.get(name)().weights(ctx.with_reconstruction(ctx.reconstruction_rgb, ctx.reconstruction_luma))
    assert network.calls == (7 if name == "kl" else 1)


# --- KL ---------------------------------------------------------------------------------------------------------------


def test_kl_golden_and_laws():
    p, q = np.array([0.5, 0.25, 0.25]), np.array([0.25, 0.25, 0.5])
    lp, lq = (np.log(v).astype(np.float32).reshape(3, 1, 1) for v in (p, q))
    assert kl_divergence(lp, lq)[0, 0] == pytest.approx(0.5 * np.log(2) - 0.25 * np.log(2), rel=1e-6)
    assert kl_divergence(lp, lp)[0, 0] == 0
    hard = np.log(np.array([1.0, 1e-45, 0.0]) + 1e-300).astype(np.float32).reshape(3, 1, 1)
    hard[2] = -np.inf
    assert kl_divergence(hard, hard)[0, 0] == 0
    assert np.isfinite(kl_divergence(lp, hard)).all()
    with pytest.raises(MetricInputError, match="expected the same"):
        kl_divergence(lp, lq[:2])


def test_kl_map_is_the_formula():
    network = ToyNetwork()
    ctx = context(network, 64, 96)
    lp, lq = network.log_probs(ctx.original_rgb[None])[0], network.log_probs(ctx.reconstruction_rgb[None])[0]
    kl = (np.exp(lp) * (lp - lq)).sum(axis=0)
    e2 = (ctx.original_luma.astype(float) - ctx.reconstruction_luma) ** 2
    blocks = [a.reshape(4, 16, 6, 16).mean(axis=(1, 3)).astype(np.float32) for a in (kl, e2)]
    expected = smooth(blocks[0], 2, 16) / (smooth(blocks[1], 1, 16) + 1)
    assert MAPS.get("kl")().weights(ctx) == pytest.approx(expected, rel=1e-4)


def test_smoothing_keeps_sums_and_constants():
    grid = np.random.default_rng(0).random((7, 9)).astype(np.float32)
    assert smooth(grid, 1.5, 16).sum() == pytest.approx(grid.sum(), rel=1e-5)
    assert smooth(np.ones((5, 5), np.float32), 2, 16) == pytest.approx(np.ones((5, 5)), rel=1e-6)
    assert (smooth(grid, 0, 16) == grid).all()
    # The same extent in pixels on the finer grid.
    fine = smooth(grid.repeat(2, 0).repeat(2, 1), 1.5, 8).reshape(7, 2, 9, 2).mean(axis=(1, 3))
    assert fine == pytest.approx(smooth(grid, 1.5, 16), rel=0.05)


def test_squared_error_is_per_sample_in_8_bit_units():
    y = np.full((20, 20), 100, dtype=np.uint8)
    rgb = np.zeros((20, 20, 3), np.uint8)
    ctx = MapContext(rgb, y, reconstruction_rgb=rgb, reconstruction_luma=y + 3)
    assert ctx.squared_error().tolist() == [[9, 9], [9, 9]]
    ten = y.astype(np.uint16) * 4
    deep = MapContext(rgb, ten, reconstruction_rgb=rgb, reconstruction_luma=ten - 12, bit_depth=10)
    assert deep.squared_error().tolist() == [[9, 9], [9, 9]]


# --- attribution ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("blur", [False, True])
@pytest.mark.parametrize("error", [3.0, 12.0])
def test_attribution_is_complete(blur, error):
    network = ToyNetwork(blur=blur)
    ctx = context(network, error=error)
    labels = ctx.labels()[None]
    before, after = (
        network.loss_and_grad(rgb.transpose(2, 0, 1)[None].astype(np.float32), labels)[0][0]
        for rgb in (ctx.original_rgb, ctx.reconstruction_rgb)
    )
    assert abs(after - before) > 0.5
    assert attribution(ctx).sum(dtype=np.float64) == pytest.approx(after - before, rel=0.01)


def test_attribution_is_zero_where_nothing_was_lost_and_signed_elsewhere():
    ctx = context(ToyNetwork())
    part = ctx.original_rgb.copy()
    part[20:40, 30:60] = ctx.reconstruction_rgb[20:40, 30:60]
    a = attribution(ctx.with_reconstruction(part, luma(part)))
    outside = np.ones(ctx.size, bool)
    outside[20:40, 30:60] = False
    assert (a[outside] == 0).all()
    assert (a < 0).any() and (a > 0).any()


def test_attribution_map_is_the_formula():
    ctx = context(ToyNetwork(), 64, 96)
    a, e2 = block_mean(attribution(ctx), 16), ctx.squared_error()
    expected = np.maximum(smooth(a, 1, 16), 0) / (smooth(e2, 1, 16) + 1)
    assert MAPS.get("attribution")().weights(ctx) == pytest.approx(expected, rel=1e-6)
    with pytest.raises(MetricInputError, match="0 integration steps"):
        attribution(ctx, steps=0)


# --- Fisher -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("blur", [False, True])
@pytest.mark.parametrize("full_range", [False, True])
def test_fisher_matches_the_closed_form_of_a_linear_softmax(blur, full_range):
    # A low gain: labels of probability 1e-4 would carry the sum and need very many draws.
    network = ToyNetwork(blur=blur, gain=2.0)
    ctx = context(network, 64, 64, full_range=full_range)
    p = np.exp(ctx.original_log_probs().astype(np.float64))
    slope = network.matrix.sum(axis=1).astype(np.float64) * (1 if full_range else 255 / 219)
    mean = np.einsum("k,khw->hw", slope, p)
    local = np.einsum("k,khw->hw", slope**2, p) - mean**2
    # Through the blur B, F = Σ_j B_ji²·local_j: the squared kernel is (1, 4, 1)/16 in each direction.
    if blur:
        for axis in (0, 1):
            local = (np.roll(local, 1, axis) + 4 * local + np.roll(local, -1, axis)) / 16
    sampled = block_mean(fisher(ctx, draws=300, jitter=0.0), 16)
    assert sampled == pytest.approx(block_mean(local, 16), rel=0.06)


def test_few_draws_already_rank_the_blocks():
    ctx = context(ToyNetwork(), 128, 160, error=0)
    few, many = (block_mean(fisher(ctx, draws=d), 16).ravel() for d in (6, 200))
    assert np.corrcoef(few, many)[0, 1] > 0.85


def test_fisher_predicts_the_divergence_of_small_luma_errors():
    network = ToyNetwork(blur=False, gain=4.0)
    ctx = context(network, 64, 64, full_range=True)
    shifted = ctx.original_rgb.astype(np.float32) + 1
    moved = network.log_p(shifted.transpose(2, 0, 1)[None])[0]
    kl = kl_divergence(ctx.original_log_probs(), moved).mean()
    assert 0.5 * fisher(ctx, draws=300, jitter=0.0).mean() == pytest.approx(kl, rel=0.1)


def test_fisher_seed_and_frame_decide_the_draws():
    first, same, seed, frame = (
        fisher(context(ToyNetwork(), **change)) for change in ({}, {}, {"seed": 1}, {"index": 1})
    )
    assert (first == same).all()
    assert (first != seed).any() and (first != frame).any()
    with pytest.raises(MetricInputError, match="0 Fisher draws"):
        fisher(context(ToyNetwork()), draws=0)


def test_both_is_between_its_parts_in_the_logarithm():
    ctx = context(ToyNetwork())
    parts = [np.log(shrink_weights(MAPS.get(n)().weights(ctx))) for n in ("attribution", "fisher")]
    both = np.log(MAPS.get("both")().weights(ctx))
    assert both == pytest.approx((parts[0] + parts[1]) / 2, abs=1e-4)
    assert np.log(MAPS.get("both")(share=1.0).weights(ctx)) == pytest.approx(parts[0], abs=1e-4)


# --- files, names, contexts -------------------------------------------------------------------------------------------


def test_file_map_for_every_frame_or_one_each(tmp_path):
    path = tmp_path / "map.npy"
    maps = np.random.default_rng(0).random((3, 5, 6))
    np.save(path, maps)
    map_ = make_map(MapConfig(name=str(path)))
    assert isinstance(map_, FileMap) and not (map_.needs_network or map_.needs_first_pass or map_.needs_gradient)
    assert map_.weights(context(ToyNetwork(), index=2)) == pytest.approx(maps[2])
    assert map_.weights(context(ToyNetwork(), index=1, block=8))[8, 11] == pytest.approx(maps[1, 4, 5])
    with pytest.raises(MetricInputError, match="3 maps, frame 3 has none"):
        map_.weights(context(ToyNetwork(), index=3))
    with pytest.raises(MetricInputError, match=r"maps of \(5, 6\) blocks; expected \(6, 8\) for 128x96 pictures"):
        map_.weights(context(ToyNetwork(), 96, 128))
    for single in (maps[0], maps[:1]):
        np.save(path, single)
        assert FileMap(path).weights(context(ToyNetwork(), index=7)) == pytest.approx(maps[0])


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.full((5, 6), -1.0), "negative"),
        (np.full((5, 6), np.nan), "negative, NaN or infinite"),
        (np.zeros(6), "expected numbers of shape"),
        (np.zeros((0, 5, 6)), "expected numbers of shape"),
        (np.full((5, 6), "a"), "expected numbers of shape"),
        (np.full((5, 6), None, dtype=object), "not a readable .npy"),
    ],
)
def test_file_maps_are_checked(tmp_path, array, words):
    path = tmp_path / "bad.npy"
    np.save(path, array, allow_pickle=True)
    with pytest.raises(MetricInputError, match=words):
        FileMap(path)


def test_files_that_are_no_arrays(tmp_path):
    (tmp_path / "text.npy").write_text("hello")
    (tmp_path / "empty.npy").touch()
    for name, words in (("text.npy", "not a readable"), ("empty.npy", "not a readable"), ("none.npy", "no such file")):
        with pytest.raises(MetricInputError, match=words):
            FileMap(tmp_path / name)


def test_make_map_by_name_hands_on_sigma():
    assert {"kl", "attribution", "fisher", "both"} <= set(MAPS.names())
    assert make_map(MapConfig(name="kl", sigma=0.7)).sigma == 0.7
    assert make_map(MapConfig(name="kl")).sigma == 2.0
    with pytest.raises(ConfigError, match=r"unknown map 'entropy'; known: attribution, both, fisher, kl"):
        make_map(MapConfig(name="entropy"))


def test_context_refuses_what_does_not_fit():
    rgb = picture(32, 48)
    with pytest.raises(MetricInputError, match=r"original_rgb of shape \(32, 48, 3\); expected \(32, 40, 3\)"):
        MapContext(rgb, luma(rgb)[:, :40])
    with pytest.raises(MetricInputError, match="reconstruction_luma"):
        MapContext(rgb, luma(rgb), reconstruction_luma=luma(rgb)[:8])
    with pytest.raises(MetricInputError, match="grid of 4"):
        MapContext(rgb, luma(rgb), block=4)
    small = MapContext(rgb, luma(rgb), log_probs=lambda x: np.zeros((1, 4, 8, 12), np.float32))
    with pytest.raises(MetricInputError, match=r"expected \(1, C, 32, 48\)"):
        small.labels()


# --- learned maps -----------------------------------------------------------------------------------------------------


def guided(name, height=70, width=90, block=16, **changes):
    """A context as a learned map wants it, and what its network was given."""
    map_, given = MAPS.get(name)(), []
    rgb = picture(-(-height // map_.reduction), -(-width // map_.reduction))

    def guide(*inputs):
        given.extend(inputs)
        return np.arange(30, dtype=np.float32).reshape(5, 6)

    fields = {"guide": guide, "reduction": map_.reduction, "log_probs": ToyNetwork().log_probs, "block": block}
    fields |= {"reconstruction_rgb": rgb, "reconstruction_luma": luma(picture(height, width))}
    return map_, MapContext(rgb, luma(picture(height, width)), **(fields | changes)), given


@pytest.mark.parametrize("block", [16, 8])
@pytest.mark.parametrize("name", LEARNED)
def test_a_learned_map_hands_its_weights_on_at_either_grid(name, block):
    map_, ctx, given = guided(name, block=block)
    weights = map_.weights(ctx)
    assert weights.shape == ctx.grid and weights.dtype == np.float32
    assert weights[0, 0] == 0 and weights[-1, -1] == 29
    shapes = {"learned": [(35, 45, 3)], "learned-pass": [(35, 45, 3)] * 2, "learned-head": [(CLASSES, 70, 90)]}
    assert given[0] == ctx.qp and [g.shape for g in given[1:]] == shapes[name]


@pytest.mark.parametrize("name", LEARNED)
def test_a_learned_map_says_what_it_needs(name):
    map_, ctx, _ = guided(name, reconstruction_rgb=None, reconstruction_luma=None, log_probs=None)
    if map_.needs_first_pass or map_.needs_network:
        with pytest.raises(MetricInputError, match="needs"):
            map_.weights(ctx)
    else:
        assert map_.weights(ctx).shape == ctx.grid
    with pytest.raises(MetricInputError, match="network"):
        map_.weights(guided(name, guide=None)[1])
