"""Numbers of any width to 8-bit RGB, by one written rule."""

from __future__ import annotations

import numpy as np

#: Depths of cameras. A 12-bit camera stores 0..4095 in 16-bit files; scaling those by 65535 would give black.
DEPTHS = (8, 10, 12, 14, 16, 32)


def rgb8_from_numbers(numbers: np.ndarray) -> tuple[np.ndarray, str]:
    """Scale a picture of wide numbers to (H, W, 3) uint8 RGB.

    The rule: integers are scaled by 255 / (2^d - 1), where d is the smallest of 8, 10, 12, 14, 16 and 32 bits that
    holds the largest value. Floats within 0..1 are scaled by 255; floats beyond 1 are taken like integers. Black
    stays black: there is no stretching. Values are rounded to the nearest.

    Args:
        numbers: (H, W), or (H, W, C) with C = 1 (grey), 3 (RGB) or 4 (RGB and alpha, laid over white).

    Returns:
        The picture, and a sentence that says how it was scaled.

    Raises:
        ValueError: values that are negative, infinite or NaN.
    """
    if numbers.dtype == bool:
        numbers = numbers.astype(np.uint8) * np.uint8(255)
    low, high = numbers.min(), numbers.max()
    if not (np.isfinite(low) and np.isfinite(high) and low >= 0):  # min and max of anything with a NaN are NaN
        raise ValueError(f"pixel values must be finite and not negative, they run from {low} to {high}; rescale them")
    if np.issubdtype(numbers.dtype, np.floating) and high <= 1:
        top, note = 1.0, "numbers from 0 to 1 were scaled to 8 bits"
    else:
        depth = next((d for d in DEPTHS if high <= 2**d - 1), None)
        if depth is None:
            raise ValueError(f"pixel values must fit 32 bits, they reach {high}; rescale them")
        top, note = 2.0**depth - 1, f"{depth}-bit numbers were scaled to 8 bits (largest value {high:g})"
    grey = numbers.ndim == 2 or numbers.shape[2] == 1
    has_alpha = numbers.ndim == 3 and numbers.shape[2] == 4
    out = np.empty((*numbers.shape[:2], 3), np.uint8)
    for row in range(0, len(numbers), 1024):  # strips: floats of a whole large image would not fit
        strip = numbers[row : row + 1024].astype(np.float32) * np.float32(255 / top)
        if has_alpha:
            alpha = strip[..., 3:] / np.float32(255)
            strip = strip[..., :3] * alpha + 255 * (1 - alpha)
        strip = strip.reshape(*strip.shape[:2], 1) if grey else strip
        out[row : row + 1024] = np.clip(np.rint(strip), 0, 255)
    return out, note + (", transparent parts laid over white" if has_alpha else "")
