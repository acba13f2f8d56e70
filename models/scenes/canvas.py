"""The picture and its labels, and the few ways of drawing into both at once."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from models.scenes.camera import NEAR, Camera, Points, clip_near

CLEAR = 255
"""Label of a texel that shows what is behind it."""
_SUBPIXEL = 4
_LIMIT = 1 << 20
_TINY = 60
"""Samples below which a texture shows as its mean colour."""

Color = tuple[float, float, float] | NDArray[np.floating]
Rgb = NDArray[np.uint8]


@dataclass(frozen=True)
class Texture:
    """Mip chain of one flat thing.

    Attributes:
        colors: per level (H, W, 3) uint8.
        alphas: per level (H, W) uint8 or None where everything is opaque.
        labels: per level (H, W) uint8, ``CLEAR`` where the thing is not.
    """

    colors: tuple[Rgb, ...]
    alphas: tuple[NDArray[np.uint8], ...] | None
    labels: tuple[NDArray[np.uint8], ...]

    @classmethod
    def build(cls, color: Rgb, alpha: NDArray[np.uint8] | None, label: NDArray[np.uint8]) -> Texture:
        """All levels down to 8 samples; colours by area means, labels by picking."""
        colors, alphas, labels = [color], [alpha], [label]
        while min(colors[-1].shape[:2]) >= 16:
            size = (colors[-1].shape[1] // 2, colors[-1].shape[0] // 2)
            last = alphas[-1]
            colors.append(_bytes(cv2.resize(colors[-1], size, interpolation=cv2.INTER_AREA)))
            alphas.append(None if last is None else _bytes(cv2.resize(last, size, interpolation=cv2.INTER_AREA)))
            labels.append(_bytes(cv2.resize(labels[-1], size, interpolation=cv2.INTER_NEAREST)))
        kept = tuple(a for a in alphas if a is not None)
        return cls(tuple(colors), kept or None, tuple(labels))

    def level(self, texels_per_sample: float) -> int:
        """Level whose texel is closest to one picture sample."""
        wanted = round(np.log2(max(texels_per_sample, 1.0)) - 0.6)
        return int(min(max(wanted, 0), len(self.colors) - 1))


class Canvas:
    """Picture (H, W, 3) uint8 and labels (H, W) uint8 seen by one camera, with haze towards the distance.

    Args:
        camera: lens and size.
        haze: colour that far things fade to.
        density: fading per metre.
    """

    def __init__(self, camera: Camera, haze: Color, density: float) -> None:
        self.camera = camera
        self.rgb: Rgb = np.zeros((camera.height, camera.width, 3), np.uint8)
        self.labels: NDArray[np.uint8] = np.zeros((camera.height, camera.width), np.uint8)
        self.haze = np.asarray(haze, np.float64)
        self.density = density

    def polygons(self, outlines: list[Points], colors: Points, depths: Points, label: int | None) -> None:
        """Fill image polygons (N, 2) one over the other.

        Args:
            colors: (P, 3) on 0-255.
            depths: (P,) metres, for the haze.
            label: None leaves the labels as they are.
        """
        keep = np.exp(-self.density * np.maximum(depths, 0.0))[:, None]
        mixed = np.clip(colors * keep + self.haze * (1 - keep), 0, 255).tolist()
        fixed = _fixed(np.concatenate(outlines))
        for (start, end), color in zip(pairwise(_starts(outlines)), mixed, strict=True):
            outline = [fixed[start:end]]
            cv2.fillPoly(self.rgb, outline, color, cv2.LINE_AA, _SUBPIXEL)
            if label is not None:
                cv2.fillPoly(self.labels, outline, label, cv2.LINE_8, _SUBPIXEL)

    def faces(self, corners: list[Points], colors: Points, label: int | None) -> None:
        """Fill world polygons (N, 3) one over the other; ``colors`` (P, 3)."""
        view = self.camera.to_view(np.concatenate(corners))
        starts = _starts(corners)
        depths = np.add.reduceat(view[:, 2], starts[:-1]) / np.diff(starts)
        if view[:, 2].min() >= NEAR:
            seen = self.camera.to_image(view)
            self.polygons([seen[a:b] for a, b in pairwise(starts)], colors, depths, label)
            return
        parts = [clip_near(view[a:b]) for a, b in pairwise(starts)]
        kept = [i for i, part in enumerate(parts) if len(part) >= 3]
        if kept:
            self.polygons([self.camera.to_image(parts[i]) for i in kept], colors[kept], depths[kept], label)

    def face(self, points: Points, color: Color, label: int | None) -> None:
        """Fill one world polygon (N, 3)."""
        self.faces([points], np.asarray(color, np.float64)[None], label)

    def limbs(self, ends: Points, radii: Points, colors: Points, label: int | None) -> None:
        """Rounded sticks, farthest first.

        Args:
            ends: (P, 2, 3) world points.
            radii: (P, 2) metres at both ends.
            colors: (P, 3) on 0-255.
        """
        view = self.camera.to_view(ends)
        if view[..., 2].min() < NEAR:
            return
        depths = view[..., 2].mean(axis=1)
        order = np.argsort(-depths, kind="stable")
        seen = self.camera.to_image(view)
        wide = np.maximum(radii * self.camera.focal / view[..., 2], 0.35)
        outlines = _stadiums(seen, wide)[order]
        self.polygons(list(outlines), colors[order], depths[order], label)

    def limb(self, ends: Points, radii: tuple[float, float], color: Color, label: int | None) -> None:
        """One rounded stick between two world points (2, 3), radii in metres."""
        self.limbs(ends[None], np.array([radii]), np.asarray(color, np.float64)[None], label)

    def sheet(
        self, texture: Texture, corner: Points, along: Points, down: Points, gain: Color, span: tuple[float, float]
    ) -> None:
        """Texture on the world parallelogram corner + along·[0, 1] + down·[0, 1].

        Args:
            gain: factor on the texture's colours.
            span: first and last fraction of the texture's width that is shown.
        """
        a0, a1 = span
        quad = np.stack(
            [corner + along * a0, corner + along * a1, corner + along * a1 + down, corner + along * a0 + down]
        )
        seen = self.camera.project(quad)
        if seen is None:
            return
        box = self._box(seen)
        if box is None:
            return
        if (box[2] - box[0]) * (box[3] - box[1]) < _TINY and texture.alphas is None:
            mean = texture.colors[-1].mean(axis=(0, 1)) * gain
            self.polygons([seen], mean[None], np.array([self.camera.depth(quad[0])]), int(texture.labels[-1][0, 0]))
            return
        level = texture.level(self._texel_rate(texture, quad, along, down))
        height, width = texture.labels[level].shape
        plane = self.camera.plane_to_image(corner, along / width, down / height)
        # texel centres lie at half coordinates, as picture samples do
        half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
        shift = np.array([[1, 0, -box[0] - 0.5], [0, 1, -box[1] - 0.5], [0, 0, 1]])
        depth = max(self.camera.depth(quad.mean(axis=0)), 0.0)
        self._warp(texture, level, shift @ plane @ half, box, seen, (gain, depth))

    def sprite(self, texture: Texture, base: Points, size: tuple[float, float], gain: Color) -> None:
        """Texture standing upright on the world point ``base``, facing the camera; size in metres (width, height)."""
        facing = np.array([np.cos(self.camera.yaw), 0.0, -np.sin(self.camera.yaw)])
        corner = base - facing * size[0] / 2 + np.array([0.0, size[1], 0.0])
        self.sheet(texture, corner, facing * size[0], np.array([0.0, -size[1], 0.0]), gain, (0.0, 1.0))

    def sees(self, at: Points, radius: float) -> bool:
        """Whether anything within ``radius`` metres (sideways) of a world point can be in the picture."""
        x, _, z = self.camera.to_view(at)
        reach = max(float(z) + radius, 0.0) * (self.camera.width / 2 / self.camera.focal) * 1.05 + radius
        return bool(z > -radius and abs(x) < reach)

    def _box(self, seen: Points) -> tuple[int, int, int, int] | None:
        x0, y0 = np.floor(seen.min(axis=0)).clip(0, _LIMIT).astype(int)
        x1, y1 = np.ceil(seen.max(axis=0)).clip(-1, _LIMIT).astype(int) + 1
        x1, y1 = min(x1, self.camera.width), min(y1, self.camera.height)
        return (int(x0), int(y0), int(x1), int(y1)) if x1 > x0 and y1 > y0 else None

    def _texel_rate(self, texture: Texture, quad: Points, along: Points, down: Points) -> float:
        ahead = np.clip(self.camera.to_view(quad)[:, 2], 1.0, None)
        across = texture.labels[0].shape[0] / max(float(np.linalg.norm(down)), 1e-6)
        return float(across * np.sqrt(ahead.min() * ahead.max()) / self.camera.focal)

    def _warp(
        self,
        texture: Texture,
        level: int,
        matrix: Points,
        box: tuple[int, int, int, int],
        seen: Points,
        light: tuple[Color, float],
    ) -> None:
        x0, y0, x1, y1 = box
        size = (x1 - x0, y1 - y0)
        color = cv2.warpPerspective(
            texture.colors[level], matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        label = cv2.warpPerspective(
            texture.labels[level], matrix, size, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE
        )
        outline = _fixed(seen - [x0, y0])
        soft = np.zeros((size[1], size[0]), np.uint8)
        cv2.fillPoly(soft, [outline], 255, cv2.LINE_AA, _SUBPIXEL)
        hard = np.zeros_like(soft)
        cv2.fillPoly(hard, [outline], 255, cv2.LINE_8, _SUBPIXEL)
        if texture.alphas is not None:
            alpha = cv2.warpPerspective(texture.alphas[level], matrix, size, flags=cv2.INTER_LINEAR)
            soft = _bytes(cv2.multiply(soft, alpha, scale=1 / 255))
        weight = soft.astype(np.float32) * np.float32(1 / 255)
        view = self.rgb[y0:y1, x0:x1]
        lit = self._lit(_bytes(color), *light)
        view[:] = cv2.blendLinear(lit, np.ascontiguousarray(view), weight, 1 - weight)
        cv2.copyTo(label, cv2.bitwise_and(hard, _bytes(np.not_equal(label, CLEAR)) * 255), self.labels[y0:y1, x0:x1])

    def _lit(self, color: Rgb, gain: Color, depth: float) -> Rgb:
        keep = np.exp(-self.density * depth)
        factor = np.asarray(gain, np.float64) * np.ones(3) * keep
        ramp = np.arange(256, dtype=np.float64)[:, None] * factor + self.haze * (1 - keep)
        table = np.clip(ramp + 0.5, 0, 255).astype(np.uint8)
        return _bytes(cv2.LUT(color, table[None]))


def _bytes(image: object) -> NDArray[np.uint8]:
    return np.asarray(image, np.uint8)


def _starts(parts: list[Points]) -> list[int]:
    return [0, *accumulate(len(part) for part in parts)]


def _fixed(points: Points) -> NDArray[np.int32]:
    # picture samples have their centres at half coordinates
    scaled = (points - 0.5) * (1 << _SUBPIXEL)
    return np.rint(np.minimum(np.maximum(scaled, -_LIMIT), _LIMIT)).astype(np.int32)


_ARC = np.linspace(np.pi / 2, 3 * np.pi / 2, 6)
_ROUND = np.stack([np.cos(_ARC), np.sin(_ARC)], axis=1)


def _stadiums(ends: Points, radii: Points) -> Points:
    """(P, 2, 2) axes and (P, 2) radii to (P, 12, 2) outlines."""
    axis = ends[:, 1] - ends[:, 0]
    heading = np.arctan2(axis[:, 1], axis[:, 0])
    c, s = np.cos(heading)[:, None], np.sin(heading)[:, None]
    cap = np.stack([c * _ROUND[:, 0] - s * _ROUND[:, 1], s * _ROUND[:, 0] + c * _ROUND[:, 1]], axis=2)
    back = ends[:, :1] + radii[:, 0, None, None] * cap
    front = ends[:, 1:] - radii[:, 1, None, None] * cap
    return np.concatenate([back, front], axis=1)
