"""A segmentation network in ONNX Runtime: RGB pictures in, logits or labels of the same size out."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from encoder_bridge.errors import DeviceError, ModelError
from models.metadata import IGNORE, InputSpec, ModelOptions, logits_layout, resolve

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
FLOATS = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}
LABEL_TYPES = ("tensor(int64)", "tensor(int32)", "tensor(uint8)", "tensor(int16)")
COARSEST = 64
"""Pictures may be this many times larger than the logits, per side; beyond it nothing is segmented."""

Rgb = NDArray[np.uint8]
"""(N, H, W, 3) or (H, W, 3) uint8 RGB."""


class TaskModel:
    """Runs a semantic segmentation network.

    Layout, colour order, range, normalisation and class names come from the file's ``mrdo.*`` metadata; ``options``
    override them. The network's output is (N, C, h, w) or (N, h, w, C) logits at any resolution (brought to the
    picture's size bilinearly; ``mrdo.output_layout`` settles a doubtful axis order) or an (N, h, w) integer label
    map. A fixed input size is served by resizing the picture to it and the answer back.

    Args:
        path: ``.onnx`` file.
        device: "cpu" or "cuda"; never falls back from one to the other.
        threads: CPU threads inside an operator, None for ONNX Runtime's choice.
        options: what the file does not say, or says wrongly.

    Raises:
        ModelError: absent, unreadable or unsuitable file. DeviceError: the device is not here.
    """

    def __init__(
        self, path: Path | str, device: str = "cpu", threads: int | None = None, options: ModelOptions | None = None
    ) -> None:
        self.path = Path(path)
        self.name = self.path.stem
        self.options = options or ModelOptions()
        self._session = open_session(self.path, device, threads)
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            raise ModelError(f"{self.path}: {len(inputs)} inputs; expected one image")
        self._input = inputs[0].name
        self._dtype = self._input_dtype(inputs[0].type)
        metadata = self._session.get_modelmeta().custom_metadata_map
        self.spec: InputSpec = resolve(str(self.path), metadata, inputs[0].shape, self.options)
        if self._dtype is np.uint8 and (
            self.spec.range != "0..255" or any(self.spec.mean) or self.spec.std != (1, 1, 1)
        ):
            raise ModelError(f"{self.path}: a uint8 input cannot be normalised; expected range 0..255, mean 0, std 1")
        self._output, self._gives_labels = self._choose_output()
        self._declared = next(o.shape for o in self._session.get_outputs() if o.name == self._output)
        self.classes: tuple[str, ...] = self.spec.classes

    @property
    def gives_labels(self) -> bool:
        """True for a network that answers with a label map, so that there are no logits."""
        return self._gives_labels

    def logits(self, rgb: Rgb) -> NDArray[np.float32]:
        """(N, C, H, W) float32 logits, unnormalised log-probabilities; a single picture gives N = 1.

        Raises ModelError where the network gives label maps only, or answers with a shape it should not
        or with NaN or infinity.
        """
        if self._gives_labels:
            raise ModelError(f"{self.path}: its output is a label map; logits are needed, and it has none")
        pictures = _as_batch(rgb)
        raw = self._run(pictures)
        return _resize_planes(self._as_nchw(raw, self.spec.size or pictures.shape[1:3]), pictures.shape[1:3])

    def log_probs(self, rgb: Rgb) -> NDArray[np.float32]:
        """(N, C, H, W) float32 natural-log class probabilities (log-softmax of ``logits``), ≤ 0."""
        scores = self.logits(rgb)
        scores -= scores.max(axis=1, keepdims=True)
        scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
        return scores

    def labels(self, rgb: Rgb) -> NDArray[np.uint8]:
        """(N, H, W) uint8 most likely class of every pixel. Raises ModelError where uint8 cannot hold the classes."""
        if not self._gives_labels:
            scores = self.logits(rgb)
            if scores.shape[1] > IGNORE:
                raise ModelError(
                    f"{self.path}: {scores.shape[1]} classes; expected at most {IGNORE}, as labels are 8 bit"
                )
            return np.asarray(scores.argmax(axis=1), np.uint8)
        pictures = _as_batch(rgb)
        maps = self._run(pictures)
        if maps.ndim == 4 and 1 in (maps.shape[1], maps.shape[3]):
            maps = maps.squeeze(1 if maps.shape[1] == 1 else 3)
        if maps.ndim != 3:
            raise ModelError(f"{self.path}: label output of shape {maps.shape}; expected (N, h, w)")
        # -1 is a common name of the ignored class and becomes 255, which is ours.
        if int(maps.min()) < -1 or int(maps.max()) > IGNORE:
            raise ModelError(
                f"{self.path}: labels {maps.min()}..{maps.max()}; expected 0..{IGNORE}, as labels are 8 bit"
            )
        height, width = pictures.shape[1:3]
        return np.stack([_nearest(m.astype(np.uint8), height, width) for m in maps])

    def digest(self) -> str:
        """SHA-256 hex of the file and of the options: names the network in a run's key."""
        return self._digest

    @functools.cached_property
    def _digest(self) -> str:
        state = hashlib.sha256(self.path.read_bytes())
        state.update(json.dumps(self.options.as_dict(), sort_keys=True).encode())
        return state.hexdigest()

    def _input_dtype(self, kind: str) -> Any:
        if kind == "tensor(uint8)":
            return np.uint8
        if kind not in FLOATS:
            raise ModelError(f"{self.path}: input type {kind}; expected a float or uint8 tensor")
        return FLOATS[kind]

    def _choose_output(self) -> tuple[str, bool]:
        outputs = self._session.get_outputs()
        if self.options.output is not None:
            outputs = [o for o in outputs if o.name == self.options.output]
            if not outputs:
                names = ", ".join(o.name for o in self._session.get_outputs())
                raise ModelError(f"{self.path}: no output {self.options.output!r}; it has {names}")
        for output in outputs:
            if len(output.shape) == 4 and output.type in FLOATS:
                return str(output.name), False
        for output in outputs:
            if len(output.shape) in (3, 4) and output.type in LABEL_TYPES:
                return str(output.name), True
        raise ModelError(f"{self.path}: {_describe(outputs)}")

    def _run(self, pictures: Rgb) -> NDArray[Any]:
        tensor = prepare(pictures, self.spec).astype(self._dtype, copy=False)
        step = self.spec.batch or len(tensor)
        parts = [self._run_once(tensor[i : i + step], step) for i in range(0, len(tensor), step)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _run_once(self, tensor: NDArray[Any], batch: int) -> NDArray[Any]:
        count = len(tensor)
        if count < batch:
            tensor = np.concatenate([tensor, np.repeat(tensor[-1:], batch - count, axis=0)])
        try:
            answer = self._session.run([self._output], {self._input: tensor})[0]
        except Exception as error:
            raise ModelError(
                f"{self.path}: failed on an input of shape {tensor.shape}: {_first_line(error)}"
            ) from error
        answer = np.asarray(answer)[:count]
        if answer.dtype.kind == "f" and not np.isfinite(answer).all():
            raise ModelError(f"{self.path}: gives NaN or infinity; expected finite logits, check mean, std and range")
        return answer

    def _as_nchw(self, raw: NDArray[Any], fed: tuple[int, ...]) -> NDArray[np.float32]:
        if raw.ndim != 4:
            raise ModelError(f"{self.path}: logits of shape {raw.shape}; expected 4 dimensions")
        layout = logits_layout(self.spec, self._declared, raw.shape, fed)
        scores = raw if layout == "NCHW" else raw.transpose(0, 3, 1, 2)
        self._check_resolution(scores.shape[2:], fed)
        known = len(self.classes)
        if known and scores.shape[1] != known:
            raise ModelError(f"{self.path}: {scores.shape[1]} logit planes for {known} class names")
        if scores.shape[1] < 2:
            raise ModelError(
                f"{self.path}: {scores.shape[1]} logit plane; expected one for each of two or more classes"
            )
        if not known:
            self.classes = tuple(f"class {i}" for i in range(scores.shape[1]))
        return np.ascontiguousarray(scores, np.float32)

    def _check_resolution(self, size: tuple[int, ...], fed: tuple[int, ...]) -> None:
        single = max(size) == 1 < max(fed)
        if single or all(f > COARSEST * s for f, s in zip(fed, size, strict=True)):
            raise ModelError(
                f"{self.path}: logits of {size[0]}x{size[1]} for {fed[0]}x{fed[1]} pixels are one answer for the whole "
                "picture (a classification network); expected segmentation logits (N, C, h, w)"
            )


def open_session(path: Path, device: str, threads: int | None, spinning: bool = True) -> Any:
    """An ONNX Runtime session on exactly the device asked for. Raises ModelError or DeviceError.

    ``spinning`` threads wait for the next picture awake: faster, but their cores are taken from an encoder beside.
    """
    import onnxruntime as ort

    if device not in PROVIDERS:
        raise DeviceError(f"device {device!r}; expected {' or '.join(PROVIDERS)}")
    provider = PROVIDERS[device]
    if provider not in ort.get_available_providers():
        raise DeviceError(f"device {device}: this onnxruntime has no {provider}; pip install 'machine-rdo[gpu]'")
    if not path.is_file():
        raise ModelError(f"no network file {path}; expected an .onnx file")
    settings = ort.SessionOptions()
    settings.log_severity_level = 4
    settings.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    if threads:
        settings.intra_op_num_threads = threads
    try:
        session = ort.InferenceSession(str(path), settings, providers=[provider])
    except Exception as error:
        raise ModelError(f"{path} is not a network ONNX Runtime can load: {_first_line(error)}") from error
    if provider not in session.get_providers():
        raise DeviceError(f"device {device}: ONNX Runtime could not start {provider} on this machine")
    return session


def prepare(pictures: Rgb, spec: InputSpec) -> NDArray[Any]:
    """(N, H, W, 3) uint8 RGB → the network's input tensor, float32, resized where the network fixes its size."""
    if spec.size is not None and spec.size != pictures.shape[1:3]:
        pictures = np.stack([_resize_picture(p, spec.size) for p in pictures])
    tensor = pictures[..., ::-1] if spec.color == "BGR" else pictures
    tensor = tensor if spec.layout == "NHWC" else tensor.transpose(0, 3, 1, 2)
    values = np.ascontiguousarray(tensor, np.float32)
    if spec.range == "0..1":
        values /= np.float32(255)
    if any(spec.mean) or any(s != 1 for s in spec.std):
        shape = (1, 3, 1, 1) if spec.layout == "NCHW" else (1, 1, 1, 3)
        values -= np.asarray(spec.mean, np.float32).reshape(shape)
        values /= np.asarray(spec.std, np.float32).reshape(shape)
    return values


def _as_batch(rgb: Rgb) -> Rgb:
    batch = rgb[None] if rgb.ndim == 3 else rgb
    if batch.ndim != 4 or batch.shape[3] != 3 or batch.dtype != np.uint8 or 0 in batch.shape:
        raise ModelError(f"pictures of shape {rgb.shape} {rgb.dtype}; expected (N, H, W, 3) or (H, W, 3) uint8 RGB")
    return batch


def _resize_picture(picture: Rgb, size: tuple[int, int]) -> Rgb:
    shrinking = size[0] * size[1] < picture.shape[0] * picture.shape[1]
    how = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (size[1], size[0]), interpolation=how), np.uint8)


def _resize_planes(scores: NDArray[np.float32], size: Sequence[int]) -> NDArray[np.float32]:
    if tuple(scores.shape[2:]) == tuple(size):
        return scores
    height, width = size
    resized = np.empty((*scores.shape[:2], height, width), np.float32)
    for index in np.ndindex(scores.shape[:2]):
        resized[index] = cv2.resize(scores[index], (width, height), interpolation=cv2.INTER_LINEAR)
    return resized


def _nearest(labels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    if labels.shape == (height, width):
        return labels
    return np.asarray(cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)


def _describe(outputs: Sequence[Any]) -> str:
    shapes = ", ".join(f"{o.name} {list(o.shape)}" for o in outputs)
    if any(len(o.shape) == 2 for o in outputs):
        return f"a classification network (output {shapes}); expected segmentation logits (N, C, h, w)"
    return f"no segmentation output among {shapes}; expected logits (N, C, h, w) or a label map (N, h, w)"


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0].split(" : ")[-1].strip() if text else type(error).__name__
