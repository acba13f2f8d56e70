"""An ONNX Runtime session run through IO binding: one copy to the device and one back, whatever the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.errors import ModelError
from models.metadata import InputSpec
from models.task_model import FLOATS, open_session

_INPUT_TYPES: dict[str, Any] = {**FLOATS, "tensor(uint8)": np.uint8}


class BoundSession:
    """A network on exactly the device asked for. On the CPU inputs are read in place and nothing is copied.

    Args:
        path: ``.onnx`` file.
        device: "cpu" or "cuda"; never falls back from one to the other.
        threads: CPU threads inside an operator, None for ONNX Runtime's choice.
        name: what errors call the file, where it is not the user's own.
        spinning: see ``open_session``.

    Attributes:
        metadata: the file's custom metadata.

    Raises ModelError or DeviceError.
    """

    def __init__(
        self,
        path: Path,
        device: str = "cpu",
        threads: int | None = None,
        name: str | None = None,
        spinning: bool = True,
    ) -> None:
        self.name = name or str(path)
        self._session = open_session(path, device, threads, spinning)
        self.inputs: Sequence[Any] = self._session.get_inputs()
        self.outputs: Sequence[Any] = self._session.get_outputs()
        self.metadata: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map
        for tensor in self.inputs:
            if tensor.type not in _INPUT_TYPES:
                raise ModelError(f"{self.name}: input {tensor.name} is {tensor.type}; expected float or uint8")

    def run(self, feeds: Sequence[NDArray[Any]]) -> list[NDArray[np.float32]]:
        """All outputs, float32, for one array per input in the file's order. Raises ModelError where the run fails."""
        binding = self._session.io_binding()
        # ONNX Runtime reads these buffers while it runs, so they must outlive the call.
        arrays = [np.ascontiguousarray(a, _INPUT_TYPES[i.type]) for a, i in zip(feeds, self.inputs, strict=True)]
        for tensor, array in zip(self.inputs, arrays, strict=True):
            binding.bind_cpu_input(tensor.name, array)
        for tensor in self.outputs:
            binding.bind_output(tensor.name, "cpu")
        try:
            self._session.run_with_iobinding(binding)
        except Exception as error:
            shapes = ", ".join(str(a.shape) for a in arrays)
            raise ModelError(
                f"{self.name}: failed on inputs of shape {shapes}: {str(error).splitlines()[0]}"
            ) from error
        return [self._finite(np.asarray(answer)) for answer in binding.copy_outputs_to_cpu()]

    def run_in_batches(self, feeds: Sequence[NDArray[Any]], spec: InputSpec) -> list[NDArray[np.float32]]:
        """As ``run``, in pieces of the batch that the file fixes; the last piece repeats its last item."""
        count, step = len(feeds[0]), spec.batch or len(feeds[0])
        if count == step:
            return self.run(feeds)
        pieces = [self.run([_filled(f[i : i + step], step) for f in feeds]) for i in range(0, count, step)]
        return [np.concatenate(parts)[:count] for parts in zip(*pieces, strict=True)]

    def _finite(self, answer: NDArray[Any]) -> NDArray[np.float32]:
        if answer.dtype.kind != "f":
            raise ModelError(f"{self.name}: an output is {answer.dtype}; expected float")
        if not np.isfinite(answer).all():
            raise ModelError(f"{self.name}: gives NaN or infinity; expected finite values, check mean, std and range")
        return answer.astype(np.float32, copy=False)


def _filled(part: NDArray[Any], count: int) -> NDArray[Any]:
    missing = count - len(part)
    return np.concatenate([part, np.repeat(part[-1:], missing, axis=0)]) if missing else part
