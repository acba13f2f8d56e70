"""Level B inside the encoder, driven by a plugin in C: what is tried is undone, what is chosen is in the stream."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

GOPS = {"intra": ("--keyint", "1"), "inter": ("--bframes", "3"), "lowdelay": ("--bframes", "0", "--no-scenecut")}
PRESETS = ("ultrafast", "medium", "slow", "veryslow")
ONE, SAME = "0:1:0", "0:1:0,0:1:0,0:1:0"
MIXED = "0:1:0,-3:1:0,4:1.25:16,0:0.7:0"

PLUGIN = (Path(__file__).parent / "trials_plugin.c").read_text()


@pytest.fixture
def trials(compile_plugin, encode) -> Callable[..., object]:
    """(build, clip, args, options, recon=False) -> Encoded, with the plugin above; checked to have succeeded."""
    plugin = compile_plugin(PLUGIN, "-shared", "-fPIC", "-O2", "-pthread")

    def run(build, clip, args, options, recon=False):
        done = encode(build, clip, args, {"MRDO_PLUGIN": str(plugin), "MRDO_PLUGIN_OPTIONS": options}, recon)
        assert done.returncode == 0 and len(done.stream) > 500, done.stderr
        assert "WRONG SSE" not in done.stderr
        return done

    return run


def reconstruction(encoded) -> bytes:
    return b"".join(plane.tobytes() for frame in encoded.decoded() for plane in frame)


@pytest.mark.parametrize("gop", ["intra", "inter"])
@pytest.mark.parametrize("preset", PRESETS)
def test_trials_that_are_all_the_same_leave_no_trace(preset, gop, clip, x265_hooked, x265_plain, encode, trials):
    args = ("--preset", preset, "--qp", "30", *GOPS[gop])
    expected = encode(x265_plain, clip, args).stream
    assert trials(x265_hooked, clip, args, f"candidates={ONE}").stream == expected
    for pick in ("first", "last", "hash"):
        assert trials(x265_hooked, clip, args, f"candidates={SAME};pick={pick}").stream == expected, pick


@pytest.mark.parametrize(
    "extra",
    [
        ("--ctu", "16"),
        ("--ctu", "32", "--rd", "6"),
        ("--slices", "2"),
        ("--no-wpp",),
        ("--pmode",),
        ("--tskip", "--limit-tu", "4", "--tu-inter-depth", "4", "--tu-intra-depth", "4"),
        ("--rd", "1", "--bframes", "3"),
        ("--rd", "5", "--cu-lossless"),
        ("--crf", "27", "--aq-mode", "2", "--bframes", "3"),
        ("--ssim-rd", "--bframes", "2"),
    ],
    ids=lambda extra: extra[0] + extra[1] if len(extra) > 1 else extra[0],
)
def test_the_same_with_other_tools(extra, clip, x265_hooked, x265_plain, encode, trials):
    if "--pmode" in extra and x265_hooked.version.startswith("4"):
        pytest.skip("x265 4 has no --pmode any more")
    args = ("--preset", "slow", *(() if "--crf" in extra else ("--qp", "30")), *extra)
    expected = encode(x265_plain, clip, args).stream
    assert trials(x265_hooked, clip, args, f"candidates={SAME};pick=hash").stream == expected


@pytest.mark.slow
@pytest.mark.parametrize("gop", ["intra", "inter"])
@pytest.mark.parametrize("preset", PRESETS)
def test_the_same_at_10_bit(preset, gop, make_clip_of, x265_hooked_10, x265_plain_10, encode, trials):
    clip, args = make_clip_of(depth=10), ("--preset", preset, "--qp", "30", "--output-depth", "10", *GOPS[gop])
    expected = encode(x265_plain_10, clip, args).stream
    assert trials(x265_hooked_10, clip, args, f"candidates={SAME};pick=hash").stream == expected


@pytest.mark.parametrize("chroma", ["422", "444", "mono"])
def test_every_chroma_format(chroma, make_clip_of, x265_hooked, x265_plain, encode, trials):
    clip, args = make_clip_of(chroma=chroma, count=3), ("--preset", "slow", "--qp", "30")
    assert (
        trials(x265_hooked, clip, args, f"candidates={SAME};pick=hash").stream == encode(x265_plain, clip, args).stream
    )
    said = trials(x265_hooked, clip, args, f"candidates={MIXED};pick=hash", recon=True)
    assert reconstruction(said) == said.recon


@pytest.mark.parametrize("options", [f"candidates={MIXED}", "splits=16", f"candidates={MIXED};splits=32"])
@pytest.mark.parametrize("gop", GOPS)
def test_inside_and_outside_agree_on_squared_error(gop, options, clip, x265_hooked, trials):
    args = ("--preset", "slow", "--qp", "32", *GOPS[gop])
    outside = trials(x265_hooked, clip, args, f"{options};pick=sse", recon=True)
    inside = trials(x265_hooked, clip, args, f"{options};inside=1")
    assert outside.stream == inside.stream
    assert reconstruction(outside) == outside.recon


@pytest.mark.parametrize("options", [f"candidates={MIXED};pick=hash;group=1", "splits=16;pick=hash"])
@pytest.mark.parametrize("size", [(208, 144), (198, 130)])
@pytest.mark.parametrize("gop", GOPS)
def test_streams_decode_to_the_encoders_reconstruction(gop, size, options, make_clip_of, x265_hooked, trials):
    clip = make_clip_of(*size, count=6)
    done = trials(x265_hooked, clip, ("--preset", "medium", "--qp", "32", *GOPS[gop]), options, recon=True)
    assert reconstruction(done) == done.recon


@pytest.mark.slow
@pytest.mark.parametrize("extra", [(), ("--ctu", "32"), ("--ctu", "16"), ("--slices", "2")])
def test_10_bit_streams_decode_to_the_encoders_reconstruction(extra, make_clip_of, x265_hooked_10, trials):
    clip, args = make_clip_of(depth=10, count=5), ("--preset", "slow", "--qp", "32", "--output-depth", "10", *extra)
    done = trials(x265_hooked_10, clip, args, f"candidates={MIXED};splits=16;pick=hash", recon=True)
    assert reconstruction(done) == done.recon


@pytest.mark.parametrize("options", [f"candidates={MIXED}", "splits=16", f"candidates={MIXED};pick=hash;splits=32"])
@pytest.mark.parametrize("extra", [(), ("--slices", "2"), ("--ctu", "16")])
def test_intra_streams_do_not_depend_on_threads(options, extra, clip, x265_hooked, trials):
    args = ("--preset", "slow", "--qp", "32", *GOPS["intra"], *extra)
    runs = [("--frame-threads", str(f), "--pools", str(p)) for f, p in ((1, 1), (1, 4), (3, 4))]
    assert len({trials(x265_hooked, clip, (*args, *run), options).stream for run in runs}) == 1


@pytest.mark.parametrize("gop", ["inter", "lowdelay"])
def test_inter_streams_do_not_depend_on_the_pool_and_repeat_themselves(gop, clip, x265_hooked, trials):
    args = ("--preset", "slow", "--qp", "32", "--frame-threads", "2", *GOPS[gop])
    runs = [trials(x265_hooked, clip, (*args, "--pools", pool), f"candidates={MIXED}").stream for pool in "144"]
    assert len(set(runs)) == 1


def choices(encoded) -> np.ndarray:
    """(n, 13): poc x y width height level neighbours candidate bits sse rate_cost lambda trial."""
    rows = [line.split()[1:] for line in encoded.stderr.splitlines() if line.startswith("CHOICE ")]
    return np.array(rows, np.float64).reshape(-1, 13)


def test_choices_say_where_they_are_and_what_they_cost(make_clip_of, x265_hooked, trials):
    clip = make_clip_of(198, 130, count=2)
    args = ("--preset", "medium", "--qp", "32", *GOPS["intra"], "--frame-threads", "1")
    done = trials(x265_hooked, clip, args, "candidates=0:1:0,-3:1:0,3:1:0;log=1;group=1")
    rows = choices(done)
    assert len(rows) == 2 * 4 * 3 * 3
    first = rows[rows[:, 12] == 0]
    corners = {(int(r[1]), int(r[2])): r for r in first[first[:, 0] == 0]}
    assert {(x, y) for x in (0, 64, 128, 192) for y in (0, 64, 128)} == set(corners)
    assert tuple(corners[192, 128][3:5]) == (6, 2) and tuple(corners[64, 0][3:5]) == (64, 64)
    neighbours = {at: int(row[6]) for at, row in corners.items()}
    assert neighbours[0, 0] == 0 and neighbours[64, 0] == 1 and neighbours[0, 64] == 2 + 8
    assert neighbours[64, 64] == 15 and neighbours[192, 64] == 1 + 2 + 4
    np.testing.assert_allclose(rows[:, 10], rows[:, 8] * rows[:, 11])
    same, finer, coarser = (rows[rows[:, 7] == k] for k in range(3))
    assert (finer[:, 8].sum() > same[:, 8].sum() > coarser[:, 8].sum()) and (
        finer[:, 9].sum() < same[:, 9].sum() < coarser[:, 9].sum()
    )


def test_results_tell_what_was_kept(clip, x265_hooked, trials):
    args = ("--preset", "medium", "--qp", "32", *GOPS["intra"])
    done = trials(x265_hooked, clip, args, "candidates=0:1:0,-3:1:0,3:1:0;pick=hash;log=1;group=1")
    results = np.array([x.split()[1:] for x in done.stderr.splitlines() if x.startswith("CTU ")], np.float64)
    qps = {0: 32, 1: 29, 2: 35}
    assert len(results) == 8 * 4 * 3 and set(results[:, 2]) == {0, 1, 2}
    assert all(abs(qp - qps[int(k)]) < 1e-3 for k, qp in results[:, [2, 4]])
    kept = [(x // 16 * 7 + y // 16 * 13 + poc) % 3 for poc in range(8) for y in (0, 64, 128) for x in (0, 64, 128, 192)]
    assert results[np.lexsort((results[:, 1], results[:, 0])), 2].tolist() == kept


def test_a_mask_of_one_codes_that_candidate_without_asking(clip, x265_hooked, trials):
    args = ("--preset", "medium", "--qp", "32", *GOPS["intra"])
    asked = trials(x265_hooked, clip, args, "candidates=0:1:0,-3:1:0,3:1:0;pick=last;group=1")
    told = trials(x265_hooked, clip, args, "candidates=0:1:0,-3:1:0,3:1:0;mask=4;log=1;group=1")
    assert told.stream == asked.stream and len(choices(told)) == 0


def test_min_cu_forbids_small_blocks(clip, x265_hooked, trials):
    args = ("--preset", "medium", "--qp", "22", *GOPS["intra"])
    sizes = [len(trials(x265_hooked, clip, args, f"candidates=0:1:{m}").stream) for m in (0, 16, 32)]
    logged = trials(x265_hooked, clip, args, "candidates=0:1:32;splits=16;log=1")
    assert len(set(sizes)) == 3
    assert len(choices(logged)) == 0


@pytest.mark.parametrize("least", [16, 32, 64])
def test_split_choices_cover_every_size_down_to_the_one_asked_for(least, clip, x265_hooked, trials):
    args = ("--preset", "medium", "--qp", "27")
    intra = choices(trials(x265_hooked, clip, (*args, *GOPS["intra"]), f"splits={least};log=1"))
    inter = choices(trials(x265_hooked, clip, (*args, *GOPS["lowdelay"]), f"splits={least};log=1"))
    # HEVC has no intra CU of 64 in one piece: there is nothing to choose
    assert set(intra[:, 3]) == {size for size in (16, 32) if size >= least}
    assert set(inter[inter[:, 0] > 0, 3]) == {size for size in (16, 32, 64) if size >= least}
    assert set(inter[:, 5]) == {1}


def test_squared_error_with_more_ways_to_code_costs_less(clip, x265_hooked, trials):
    """The control of the design: λ multipliers under SSE lower the frame's D + λR."""
    args = ("--preset", "medium", "--qp", "32", *GOPS["intra"])
    plain = trials(x265_hooked, clip, args, f"candidates={ONE}")
    free = trials(x265_hooked, clip, args, "candidates=0:1:0,0:0.8:0,0:1.25:0;inside=1")
    lam = 0.85 * 2 ** ((32 - 12) / 3)  # near x265's λ² at QP 32; the sign is what is tested

    def cost(encoded) -> float:
        pairs = zip(encoded.decoded(), clip.frames, strict=True)
        sse = sum(
            float(np.square(o.astype(np.float64) - s).sum())
            for out, src in pairs
            for o, s in zip(out, src, strict=True)
        )
        return sse + lam * 8 * len(encoded.stream)

    assert cost(free) < cost(plain)


@pytest.mark.parametrize(
    ("args", "options", "says"),
    [
        (("--nr-intra", "100"), f"candidates={SAME}", "nr-intra"),
        (("--vbv-bufsize", "1000", "--vbv-maxrate", "1000"), f"candidates={SAME}", "vbv-bufsize"),
        (("--rd", "1"), "splits=16", "--rd 1"),
        (("--lossless",), "candidates=0:1:0,3:1:0", "lossless"),
        ((), "candidates=0:1:0,99:1:0", "candidate 1"),
        ((), "candidates=0:1:0,0:1000:0", "lambda scale"),
        ((), "splits=24", "24"),
        ((), "candidates=0:1:0;mask=8", "mask"),
    ],
)
def test_what_cannot_be_served_is_refused(args, options, says, clip, x265_hooked, encode, compile_plugin):
    plugin = compile_plugin(PLUGIN, "-shared", "-fPIC", "-O2", "-pthread")
    rate = () if "--lossless" in args else ("--crf", "30") if "--vbv-bufsize" in args else ("--qp", "30")
    env = {"MRDO_PLUGIN": str(plugin), "MRDO_PLUGIN_OPTIONS": options}
    done = encode(x265_hooked, clip, ("--preset", "medium", *rate, *args), env)
    assert done.returncode == 86 and len(done.complaints) == 1 and says in done.complaints[0]
