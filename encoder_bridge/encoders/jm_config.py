"""lencod's configuration file: every parameter that shapes the stream, said outright, from a CodingConfig."""

from __future__ import annotations

from fractions import Fraction

from encoder_bridge.config import CodingConfig
from encoder_bridge.frames import MATRIX_CODES, VideoFormat
from encoder_bridge.padding import padded_format

Settings = dict[str, int | float | str]

REFERENCES = 4
INTRA_PERIOD = 32
"""Pictures from one random access point to the next, as every encoder here has them."""
_B_FRAMES = 7
_MAIN, _HIGH, _HIGH_10 = 77, 100, 110
_YUV = {"400": 0, "420": 1}

PRESETS: dict[str, Settings] = {
    "main": {"Transform8x8Mode": 0},
    "high-fast": {
        "I16RDOpt": 0,
        "NumberReferenceFrames": 2,
        "SearchRange": 16,
        **{f"{slices}SliceSearch{size}": 0 for slices in "PB" for size in ("8x4", "4x8", "4x4")},
        "SkipIntraInInterSlices": 1,
    },
    "high": {},
    "slow": {},
}
"""What differs from JM's High profile with all modes and full rate-distortion decisions, which is "high".

"main" is Main profile: no 8x8 transform, 8-bit 4:2:0 alone. "high-fast" has two references, no partitions below 8x8 and
fewer intra modes tried. "slow" is "high" under the name that every encoder here has.
"""

_BASE: Settings = {
    "InputHeaderLength": 0,
    "StartFrame": 0,
    "FrameSkip": 0,
    "Interleaved": 0,
    "SourceResize": 0,
    "ProcessInput": 0,
    "RGBInput": 0,
    "NumberOfViews": 1,
    "Grayscale": 0,
    "ReconFile": '""',
    "TraceFile": '""',
    "StatsFile": '"stats.dat"',
    "NumberofLeakyBuckets": 2,
    "LeakyBucketParamFile": '"buckets.dat"',
    "Verbose": 1,
    "ReportFrameStats": 0,
    "DisplayEncParams": 0,
    # structure
    "AdaptiveIntraPeriod": 0,
    "AdaptiveIDRPeriod": 0,
    "IntraDelay": 0,
    "EnableIDRGOP": 0,
    "EnableOpenGOP": 0,
    "IntraProfile": 0,
    "NumberReferenceFrames": REFERENCES,
    "PList0References": 0,
    "BList0References": 0,
    "BList1References": 1,
    "Log2MaxFNumMinus4": 4,
    "Log2MaxPOCLsbMinus4": 4,
    "PicOrderCntType": 0,
    "GenerateMultiplePPS": 0,
    "ResendSPS": 2,
    "ResendPPS": 0,
    "SendAUD": 0,
    "SliceMode": 0,
    "num_slice_groups_minus1": 0,
    "PicInterlace": 0,
    "MbInterlace": 0,
    "OutFileMode": 0,
    "PartitionMode": 0,
    "UseRedundantPicture": 0,
    "SPPicturePeriodicity": 0,
    # tools
    "SymbolMode": 1,
    "ContextInitMethod": 1,
    "Transform8x8Mode": 1,
    "WeightedPrediction": 0,
    "WeightedBiprediction": 0,
    "DFParametersFlag": 0,
    "UseConstrainedIntraPred": 0,
    "DirectModeType": 1,
    "DirectInferenceFlag": 1,
    "EnableIPCM": 1,
    "LosslessCoding": 0,
    "ScalingMatrixPresentFlag": 0,
    "OffsetMatrixPresentFlag": 0,
    "AdaptiveRounding": 0,
    "ChromaQPOffset": 0,
    "CbQPOffset": 0,
    "CrQPOffset": 0,
    # motion search
    "SearchMode": 3,
    "SearchRange": 32,
    "RestrictSearchRange": 2,
    "DisableSubpelME": 0,
    "MEDistortionFPel": 0,
    "MEDistortionHPel": 2,
    "MEDistortionQPel": 2,
    "MDDistortion": 2,
    "ChromaMEEnable": 0,
    "ChromaMCBuffer": 1,
    "OnTheFlyFractMCP": 0,
    **{
        f"{slices}SliceSearch{size}": 1
        for slices in "PB"
        for size in ("16x16", "16x8", "8x16", "8x8", "8x4", "4x8", "4x4")
    },
    "PSliceSkip": 1,
    "BSliceDirect": 1,
    "BiPredMotionEstimation": 1,
    "BiPredSearch16x16": 1,
    "BiPredSearch16x8": 1,
    "BiPredSearch8x16": 1,
    "BiPredSearch8x8": 0,
    "BiPredMERefinements": 3,
    "BiPredMESearchRange": 16,
    "BiPredMESubPel": 2,
    "EPZSPattern": 2,
    "EPZSDualRefinement": 3,
    "EPZSFixedPredictors": 3,
    "EPZSAggressiveWindow": 0,
    "EPZSTemporal": 1,
    "EPZSSpatialMem": 1,
    "EPZSBlockType": 1,
    "EPZSSubPelME": 1,
    "EPZSSubPelMEBiPred": 1,
    "EPZSSubPelGrid": 1,
    "HMEEnable": 0,
    "UseDistortionReorder": 0,
    # decisions
    "RDOptimization": 1,
    "I16RDOpt": 1,
    "SubMBCodingState": 1,
    "FastCrIntraDecision": 1,
    "DisableThresholding": 1,
    "DisableBSkipRDO": 0,
    "BiasSkipRDO": 0,
    "ForceTrueRateRDO": 0,
    "SkipIntraInInterSlices": 0,
    "CtxAdptLagrangeMult": 0,
    "UseExplicitLambdaParams": 0,
    "DisableDistanceLambdaScale": 0,
    "UpdateLambdaChromaME": 0,
    "WeightY": 1,
    "WeightCb": 1,
    "WeightCr": 1,
    "DistortionSSIM": 0,
    "DistortionMS_SSIM": 0,
    "DistortionYUVtoRGB": 0,
    "RDPictureDecision": 0,
    "UseRDOQuant": 1,
    "RDOQ_DC": 1,
    "RDOQ_CR": 1,
    "RDOQ_DC_CR": 1,
    "RDOQ_QP_Num": 1,
    "RDOQ_CP_Mode": 0,
    "RDOQ_CP_MV": 0,
    "RDOQ_Fast": 0,
    # nothing that moves the QP by itself
    "RateControlEnable": 0,
    "ChangeQPFrame": 0,
    "MbLineIntraUpdate": 0,
    "RandomIntraMBRefresh": 0,
}

_GOPS: dict[str, Settings] = {
    "intra": {"IntraPeriod": 1, "IDRPeriod": 1, "NumberBFrames": 0, "HierarchicalCoding": 0},
    "lowdelay": {"IntraPeriod": 0, "IDRPeriod": 0, "NumberBFrames": 0, "HierarchicalCoding": 0},
    "randomaccess": {
        "IntraPeriod": 0,
        "IDRPeriod": INTRA_PERIOD,
        "NumberBFrames": _B_FRAMES,
        "HierarchicalCoding": 2,
        "HierarchyLevelQPEnable": 1,
        "BReferencePictures": 0,
        "ReferenceReorder": 1,
        "PocMemoryManagement": 1,
    },
}

# Without 1.1, which JM takes for 1b in High profiles.
# ITU-T H.264, table A-1: level_idc, macroblocks a second, macroblocks of a picture, of the decoded picture buffer.
_LEVELS = (
    *((10, 1485, 99, 396), (12, 6000, 396, 2376), (13, 11880, 396, 2376)),
    *((21, 19800, 792, 4752), (22, 20250, 1620, 8100), (30, 40500, 1620, 8100), (31, 108000, 3600, 18000)),
    *((32, 216000, 5120, 20480), (40, 245760, 8192, 32768), (42, 522240, 8704, 34816), (50, 589824, 22080, 110400)),
    *((51, 983040, 36864, 184320), (52, 2073600, 36864, 184320), (60, 4177920, 139264, 696320)),
    *((61, 8355840, 139264, 696320), (62, 16711680, 139264, 696320)),
)


def macroblocks(fmt: VideoFormat) -> int:
    """Macroblocks of a picture."""
    return _across(fmt.width) * _across(fmt.height)


def level(fmt: VideoFormat, references: int) -> int:
    """Lowest level_idc that takes the pictures' size and rate and so many references; bit rates are not looked at."""
    total, longest = macroblocks(fmt), max(_across(fmt.width), _across(fmt.height))
    for idc, rate, largest, buffer in _LEVELS:
        fits = total <= largest and longest**2 <= 8 * largest and total * references <= buffer
        if fits and total * fmt.fps <= rate:
            return idc
    return _LEVELS[-1][0]


def settings(config: CodingConfig, fmt: VideoFormat, frames: int, names: tuple[str, str]) -> Settings:
    """Parameter names and values; ``names`` are the input's and the stream's files."""
    coded = padded_format(fmt)
    assert config.qp is not None
    chosen: Settings = {**_BASE, **_GOPS[config.gop], **PRESETS[config.preset]}
    references = int(chosen["NumberReferenceFrames"])
    if config.gop == "randomaccess":
        chosen["NumberReferenceFrames"] = references = REFERENCES  # what a pyramid of eight needs
    profile = _MAIN if config.preset == "main" else _HIGH_10 if config.bit_depth == 10 else _HIGH
    return {
        "InputFile": f'"{names[0]}"',
        "OutputFile": f'"{names[1]}"',
        "FramesToBeEncoded": frames,
        "FrameRate": f"{float(fmt.fps):.6f}",
        "SourceWidth": coded.width,
        "SourceHeight": coded.height,
        "OutputWidth": coded.width,
        "OutputHeight": coded.height,
        "YUVFormat": _YUV[fmt.chroma],
        "ProfileIDC": profile,
        "LevelIDC": level(coded, references),
        **_depths(config, fmt),
        **_qps(config),
        **chosen,
        **_colour(fmt),
    }


def config_text(config: CodingConfig, fmt: VideoFormat, frames: int, source: str, stream: str) -> str:
    """The configuration file for ``frames`` pictures of ``fmt`` in the file ``source``, coded into ``stream``."""
    return "".join(f"{name} = {value}\n" for name, value in settings(config, fmt, frames, (source, stream)).items())


def _across(samples: int) -> int:
    return (samples + 15) // 16


def _depths(config: CodingConfig, fmt: VideoFormat) -> Settings:
    differ = config.bit_depth != fmt.bit_depth
    return {
        **{f"SourceBitDepth{plane}": fmt.bit_depth for plane in ("Luma", "Chroma")},
        "SourceBitDepthRescale": int(differ),
        **{f"OutputBitDepth{plane}": config.bit_depth for plane in ("Luma", "Chroma")},
    }


def _qps(config: CodingConfig) -> Settings:
    """One QP for I and P; pyramids add 1 a level for B."""
    assert config.qp is not None
    b = min(config.qp + 1, 51)
    return {"QPISlice": config.qp, "QPPSlice": config.qp, "QPBSlice": b, "BRefPicQPOffset": 0}


def _colour(fmt: VideoFormat) -> Settings:
    ticks = Fraction(fmt.fps)
    return {
        "EnableVUISupport": 1,
        "VUI_aspect_ratio_info_present_flag": int(fmt.sar != 1),
        "VUI_aspect_ratio_idc": 255,
        "VUI_sar_width": fmt.sar.numerator,
        "VUI_sar_height": fmt.sar.denominator,
        "VUI_video_signal_type_present_flag": 1,
        "VUI_video_format": 5,
        "VUI_video_full_range_flag": int(fmt.range == "full"),
        "VUI_colour_description_present_flag": 1,
        "VUI_colour_primaries": fmt.primaries,
        "VUI_transfer_characteristics": fmt.transfer,
        "VUI_matrix_coefficients": MATRIX_CODES[fmt.matrix],
        "VUI_timing_info_present_flag": 1,
        "VUI_num_units_in_tick": ticks.denominator,
        "VUI_time_scale": 2 * ticks.numerator,
        "VUI_fixed_frame_rate_flag": 1,
        "VUI_nal_hrd_parameters_present_flag": 0,
        "VUI_vcl_hrd_parameters_present_flag": 0,
        "VUI_pic_struct_present_flag": 0,
        "VUI_bitstream_restriction_flag": 0,
    }


CONFIG_KEYS = {
    name.lower()
    for name in (
        *("InputFile", "OutputFile", "FramesToBeEncoded", "FrameRate", "SourceWidth", "SourceHeight", "OutputWidth"),
        *("OutputHeight", "YUVFormat", "SourceBitDepthLuma", "SourceBitDepthChroma", "SourceBitDepthRescale"),
        *("OutputBitDepthLuma", "OutputBitDepthChroma", "QPISlice", "QPPSlice", "QPBSlice", "InputHeaderLength"),
        *("StartFrame", "FrameSkip", "IntraPeriod", "IDRPeriod", "NumberBFrames", "OutFileMode", "RateControlEnable"),
        *("Bitrate", "Verbose", "NumberOfViews", "SourceResize", "InputFile2", "InputFile3", "EnableVUISupport"),
        *("ChangeQPFrame", "ChangeQPI", "ChangeQPP", "ChangeQPB", "BRefPicQPOffset", "PicOrderCntType"),
    )
}
"""Lower-case names of what a configuration or the wrapper itself sets; given twice, the record would be wrong."""
