"""Drawings of the characters of an invented script, to pre-train a vision model on.

A class is a figure of a few strokes between the points of a grid. Each drawing displaces the points; turns, shears,
scales and moves the whole; and varies the width of the pen, the brightness and the noise. So only the form reveals the
class.
"""

import numpy as np
from PIL import Image, ImageDraw
from scipy.interpolate import make_interp_spline

SIDE = 32  # pixels of a drawing
FINE = 4  # times as many pixels while it is drawn
GRID = np.array([(x, y) for x in (-0.7, 0.0, 0.7) for y in (-1.0, -0.33, 0.33, 1.0)])


def figure(number: int) -> list[np.ndarray]:
    """The strokes of class `number`, each as the points (k, 2) on it; 4 or more form a loop, 1 a dot."""
    rng = np.random.default_rng(number)
    strokes, pen = [], rng.choice(GRID)
    for kind in rng.choice(("line", "arc", "loop", "dot"), size=rng.integers(2, 5), p=(0.35, 0.35, 0.2, 0.1)):
        start, end = pen, rng.choice(GRID[np.linalg.norm(GRID - pen, axis=1) > 0.5])
        across = (end - start)[::-1] * (0.5, -0.5)
        if kind == "line":
            strokes.append(np.array([start, end]))
        elif kind == "arc":
            strokes.append(np.array([start, (start + end) / 2 + rng.choice((-1, 1)) * across, end]))
        elif kind == "loop":
            strokes.append(np.array([start, (start + end) / 2 + across, end, (start + end) / 2 - across, start]))
        else:
            strokes.append(end[None])
        pen = rng.choice((start, end)) if rng.random() < 0.7 else rng.choice(GRID)
    points = np.concatenate(strokes)
    low, high = points.min(0), points.max(0)
    return [(stroke - (low + high) / 2) / max((high - low).max() / 2, 0.5) for stroke in strokes]


def draw(strokes: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """A drawing (SIDE, SIDE) uint8 of a figure, light on dark, varied by `rng`."""
    turn, shear = np.deg2rad(rng.uniform(-15, 15)), rng.uniform(-0.2, 0.2)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    hand = rotation @ np.array([[1, shear], [0, 1]]) * rng.uniform(0.6, 0.85, (1, 2))
    half, shift, pen = SIDE * FINE / 2, rng.uniform(-0.1, 0.1, 2), rng.uniform(0.12, 0.28) * SIDE * FINE / 2
    canvas = Image.new("L", (SIDE * FINE, SIDE * FINE))
    ink = ImageDraw.Draw(canvas)
    for stroke in strokes:
        points = stroke + rng.normal(0, 0.07, stroke.shape)
        path = half * (1 + _through(points) @ hand.T + shift)
        ink.line(path.ravel().tolist(), fill=255, width=round(pen), joint="curve")
        for x, y in path[[0, -1]]:
            ink.ellipse((x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2), fill=255)
    drawn = np.asarray(canvas.reduce(FINE), dtype=np.float64) * rng.uniform(0.6, 1.0)
    return (drawn + rng.normal(0, rng.uniform(0, 20), drawn.shape)).clip(0, 255).astype(np.uint8)


def _through(points: np.ndarray) -> np.ndarray:
    """A smooth curve (m, 2) through a few points (k, 2)."""
    if len(points) < 3:
        return points
    if len(points) == 3:
        curve = make_interp_spline(range(3), points, k=2)
    else:
        curve = make_interp_spline(range(len(points)), [*points[:-1], points[0]], k=3, bc_type="periodic")
    return curve(np.linspace(0, len(points) - 1, 24))


def generate(classes: int, each: int, seed: int) -> tuple[list[np.ndarray], list[int]]:
    """`each` drawings (SIDE, SIDE) uint8 of every class below `classes`, and their labels.

    The seed varies the drawings, not the figures.
    """
    labels = [number for number in range(classes) for _ in range(each)]
    rng = np.random.default_rng(seed)
    figures = [figure(number) for number in range(classes)]
    return [draw(figures[label], rng) for label in labels], labels
