"""The hooked encoder writes plain x265's stream until somebody has something to say, and then only what was said."""

from __future__ import annotations

import re

import numpy as np
import pytest

from encoder_bridge.encoder import BuildInfo, SideInfo

PRESETS = ("ultrafast", "medium", "slow", "veryslow")
GOPS = {"intra": ("--keyint", "1"), "inter": ("--bframes", "3"), "lowdelay": ("--bframes", "0", "--no-scenecut")}


def neutral(clip, lambda_scale: float = 1.0) -> SideInfo:
    return SideInfo(np.ones(clip.grid(8), np.float32), lambda_scale=lambda_scale)


def random_info(clip, seed: int, weights: bool = True) -> SideInfo:
    rng = np.random.default_rng(seed)
    weight = np.exp(rng.normal(0, 0.6, clip.grid(8))).astype(np.float32)
    offset = rng.uniform(-5, 5, clip.grid(16)).astype(np.float32)
    return SideInfo(weight / weight.mean() if weights else None, offset)


def error(encoded, clip, columns: slice) -> float:
    """Mean squared luma error of some columns."""
    pairs = zip(encoded.decoded(), clip.frames, strict=True)
    return float(np.mean([(out[0][:, columns] - np.int32(src[0][:, columns])) ** 2 for out, src in pairs]))


def check_identity(hooked: BuildInfo, plain: BuildInfo, clip, args, encode, encode_hosted) -> None:
    expected = encode(plain, clip, args)
    assert expected.returncode == 0 and len(expected.stream) > 500, expected.stderr
    ones, flat = neutral(clip), SideInfo(qp_offset=np.zeros(clip.grid(16), np.float32))
    assert encode(hooked, clip, args).stream == expected.stream
    assert encode_hosted(hooked, clip, args, ones).stream == expected.stream
    assert encode_hosted(hooked, clip, args, flat).stream == expected.stream


@pytest.mark.parametrize("gop", ["intra", "inter"])
@pytest.mark.parametrize("preset", PRESETS)
def test_nothing_said_is_plain_x265(preset, gop, clip, x265_hooked, x265_plain, encode, encode_hosted):
    args = ("--preset", preset, "--qp", "30", *GOPS[gop])
    check_identity(x265_hooked, x265_plain, clip, args, encode, encode_hosted)


@pytest.mark.slow
@pytest.mark.parametrize("gop", ["intra", "inter"])
@pytest.mark.parametrize("preset", PRESETS)
def test_nothing_said_is_plain_x265_at_10_bit(
    preset, gop, make_clip_of, x265_hooked_10, x265_plain_10, encode, encode_hosted
):
    args = ("--preset", preset, "--qp", "30", "--output-depth", "10", *GOPS[gop])
    check_identity(x265_hooked_10, x265_plain_10, make_clip_of(depth=10), args, encode, encode_hosted)


@pytest.mark.parametrize(
    "extra",
    [
        ("--tskip", "--limit-tu", "4", "--tu-inter-depth", "4"),
        ("--crf", "27", "--aq-mode", "2"),
        ("--ctu", "16", "--rd", "2"),
        ("--slices", "2", "--rd", "6"),
    ],
    ids=lambda extra: extra[0],
)
def test_weights_of_one_are_plain_x265_with_other_tools(extra, clip, x265_hooked, x265_plain, encode, encode_hosted):
    rate = () if "--crf" in extra else ("--qp", "30")
    args = ("--preset", "slow", *rate, *extra)
    assert encode_hosted(x265_hooked, clip, args, neutral(clip)).stream == encode(x265_plain, clip, args).stream


@pytest.mark.parametrize("chroma", ["422", "444", "mono"])
def test_every_chroma_format(chroma, make_clip_of, x265_hooked, x265_plain, encode, encode_hosted):
    clip, args = make_clip_of(chroma=chroma, count=3), ("--preset", "slow", "--qp", "30")
    assert encode_hosted(x265_hooked, clip, args, neutral(clip)).stream == encode(x265_plain, clip, args).stream
    said = encode_hosted(x265_hooked, clip, args, random_info(clip, 1), group=16, recon=True)
    assert b"".join(plane.tobytes() for frame in said.decoded() for plane in frame) == said.recon


@pytest.mark.parametrize("gop", GOPS)
@pytest.mark.parametrize("size", [(208, 144), (198, 130)])
def test_streams_decode_to_the_encoders_reconstruction(size, gop, make_clip_of, x265_hooked, encode_hosted):
    clip = make_clip_of(*size, count=6)
    infos = [random_info(clip, seed, weights=seed % 2 == 0) for seed in range(6)]
    said = encode_hosted(x265_hooked, clip, ("--preset", "slow", "--qp", "32", *GOPS[gop]), infos, group=16, recon=True)
    assert said.returncode == 0, said.stderr
    assert b"".join(plane.tobytes() for frame in said.decoded() for plane in frame) == said.recon


@pytest.mark.slow
def test_10_bit_streams_decode_to_the_encoders_reconstruction(make_clip_of, x265_hooked_10, encode_hosted):
    clip = make_clip_of(depth=10, count=4)
    args = ("--preset", "slow", "--qp", "32", "--output-depth", "10")
    said = encode_hosted(x265_hooked_10, clip, args, random_info(clip, 3), group=16, recon=True)
    assert b"".join(plane.tobytes() for frame in said.decoded() for plane in frame) == said.recon


def test_intra_streams_do_not_depend_on_threads(clip, x265_hooked, encode_hosted):
    infos = [random_info(clip, seed) for seed in range(len(clip.frames))]
    settings = (("--frame-threads", "1", "--pools", "1"), ("--frame-threads", "3", "--pools", "4"))
    args = ("--preset", "slow", "--qp", "30", "--keyint", "1")
    one, many = (encode_hosted(x265_hooked, clip, (*args, *threads), infos, group=32) for threads in settings)
    assert one.stream == many.stream


def test_inter_streams_repeat_themselves(clip, x265_hooked, encode_hosted):
    infos = [random_info(clip, seed) for seed in range(len(clip.frames))]
    args = ("--preset", "medium", "--qp", "30", "--frame-threads", "2")
    first, second = (encode_hosted(x265_hooked, clip, args, infos, group=32) for _ in range(2))
    assert first.stream == second.stream


def nal_units(stream: bytes) -> list[bytes]:
    return [unit.rstrip(b"\0") for unit in re.split(b"\0\0\1", stream) if unit.rstrip(b"\0")]


PPS = b"\x44\1"


def test_delta_qp_is_signalled_by_the_frames_with_a_map_alone(clip, x265_hooked, x265_plain, encode, encode_hosted):
    args = ("--preset", "fast", "--qp", "30", "--keyint", "1", "--frame-threads", "2")
    infos = [SideInfo(qp_offset=random_info(clip, 1).qp_offset) if i == 4 else SideInfo() for i in range(8)]
    plain, said = encode(x265_plain, clip, args).stream, encode_hosted(x265_hooked, clip, args, infos).stream
    pairs = list(zip(nal_units(plain), nal_units(said), strict=True))
    differ = [i for i, (a, b) in enumerate(pairs) if a != b]
    assert [pairs[i][1].startswith(PPS) for i in differ] == [True, False]
    assert [i // (len(pairs) // 8) for i in differ] == [4, 4]


@pytest.mark.parametrize("repeat", [(), ("--repeat-headers", "--keyint", "4", "--no-scenecut")], ids=["once", "repeat"])
def test_inter_streams_get_a_second_pps_when_first_needed(repeat, clip, x265_hooked, x265_plain, encode, encode_hosted):
    args = ("--preset", "fast", "--qp", "30", "--bframes", "0", *repeat)
    infos = [SideInfo(qp_offset=random_info(clip, 1).qp_offset) if i >= 2 else SideInfo() for i in range(8)]
    plain = nal_units(encode(x265_plain, clip, args).stream)
    said = nal_units(encode_hosted(x265_hooked, clip, args, infos).stream)
    first = next(i for i, (a, b) in enumerate(zip(plain, said, strict=False)) if a != b)
    assert said[first].startswith(PPS) and first == 2 + len([u for u in plain[:first] if u[0] >> 1 >= 32])
    extra = sum(unit.startswith(PPS) for unit in said) - sum(unit.startswith(PPS) for unit in plain)
    assert extra == len(said) - len(plain) == (2 if repeat else 1)


@pytest.mark.parametrize("rate", [("--qp", "32"), ("--crf", "30"), ("--bitrate", "400")], ids=lambda rate: rate[0])
@pytest.mark.parametrize("gop", ["intra", "lowdelay"])
def test_qp_offsets_arrive(gop, rate, clip, x265_hooked, encode_hosted):
    offset = np.full(clip.grid(16), 4, np.float32)
    offset[:, : clip.grid(16)[1] // 2] = -4
    args = ("--preset", "slow", *rate, *GOPS[gop])
    said = encode_hosted(x265_hooked, clip, args, SideInfo(qp_offset=offset), group=16)
    left, right = (error(said, clip, columns) for columns in (slice(0, 96), slice(112, 208)))
    assert left < 0.55 * right
    assert len(said.records) == len(clip.frames)
    if gop == "intra":
        assert all(abs(record.result.mean_qp - record.call.qp - 0.3) < 1 for record in said.records)


@pytest.mark.parametrize("gop", GOPS)
def test_weights_move_error_to_where_it_weighs_little(gop, clip, x265_hooked, x265_plain, encode, encode_hosted):
    weight = np.full(clip.grid(8), 0.3, np.float32)
    weight[:, : clip.grid(8)[1] // 2] = 1.7
    args = ("--preset", "slow", "--qp", "32", *GOPS[gop])
    plain, said = encode(x265_plain, clip, args), encode_hosted(x265_hooked, clip, args, SideInfo(weight))
    before, after = (error(e, clip, slice(0, 96)) / error(e, clip, slice(112, 208)) for e in (plain, said))
    assert after < 0.75 * before
    assert error(said, clip, slice(0, 96)) < error(plain, clip, slice(0, 96))


def test_weights_beside_a_map_do_not_count_twice(clip, x265_hooked, encode_hosted):
    """A map's own weights, divided out by the host, leave ones: nearly the map alone, but for λ of other groups."""
    offset = np.full(clip.grid(16), 3, np.float32)
    offset[:, :6] = -3
    args = ("--preset", "slow", "--qp", "32", "--keyint", "1")
    alone = encode_hosted(x265_hooked, clip, args, SideInfo(qp_offset=offset), group=64)
    ones = np.ones(clip.grid(8), np.float32)
    both = encode_hosted(x265_hooked, clip, args, SideInfo(ones, offset), group=64)
    twice = encode_hosted(
        x265_hooked, clip, args, SideInfo(np.exp2(-np.kron(offset, np.ones((2, 2), np.float32)) / 3), offset), group=64
    )
    ratio = [error(e, clip, slice(128, 208)) / error(e, clip, slice(0, 64)) for e in (alone, both, twice)]
    assert abs(ratio[1] / ratio[0] - 1) < 0.1
    assert ratio[2] > 1.3 * ratio[0]


def test_lambda_scale_trades_bits_for_error(clip, x265_hooked, encode_hosted):
    args = ("--preset", "slow", "--qp", "30", "--keyint", "1")
    small, large = (encode_hosted(x265_hooked, clip, args, SideInfo(lambda_scale=scale)) for scale in (0.25, 4.0))
    assert len(large.stream) < 0.9 * len(small.stream)
    assert error(large, clip, slice(None)) > error(small, clip, slice(None))
