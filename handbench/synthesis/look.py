"""What things look like: skin, sleeves, objects and lights, drawn at random within reason."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handbench.hand import Hand
from handbench.synthesis.builder import ObjectMesh
from handbench.synthesis.shade import CLOTH, GLOSSY, MATT, SKIN, vertex_normals

# sRGB of skin seen in daylight, light to dark
TONES = np.array(
    [(238, 205, 184), (226, 184, 158), (208, 160, 128), (184, 132, 98), (150, 102, 73),
     (116, 76, 54), (84, 55, 42), (60, 41, 35)]
) / 255.0  # fmt: skip
MUTED = 0.65  # pure hues look like plastic toys
MATT_NAMES = ("box", "brick", "board", "book", "cushion", "apple", "banana", "lemon", "carton")


@dataclass(frozen=True)
class Surface:
    """The look of one mesh: faces (F,3), rest_m (V,3) where its grain is looked up, corner_rgb
    (F,3,3) linear light, material of each face (F,). seam: vertices of the surface before it that
    its first vertices repeat (a forearm's wrist loop)."""

    kind: str
    faces: NDArray[np.int32]
    rest_m: NDArray[np.float64]
    corner_rgb: NDArray[np.float32]
    material: NDArray[np.uint8]
    seam: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Skin:
    """One person: linear colours of the 778 vertices; the arm takes over those of the wrist."""

    rgb: NDArray[np.float64]


def linear(srgb: NDArray) -> NDArray[np.float64]:
    """sRGB 0..1 to linear light, by the plain 2.2 power that `film.py` inverts."""
    return np.clip(srgb, 0, 1) ** 2.2


def draw_skin(hand: Hand, rng: np.random.Generator) -> Skin:
    """A tone between two of TONES with a paler palm, redder tips and knuckles, and nails."""
    place = rng.uniform(0, len(TONES) - 1)
    k = min(int(place), len(TONES) - 2)
    tone = TONES[k] + (TONES[k + 1] - TONES[k]) * (place - k)
    tone = tone * (1 + rng.normal(0, 0.03)) + rng.normal(0, 0.008, 3)
    dark = place / (len(TONES) - 1)
    verts = hand.v_template
    normals = vertex_normals(verts, hand.faces)[0]
    palm_side = np.clip(0.5 - normals[:, 1:2], 0, 1)
    tips = verts[hand.tip_ids]
    near_tip = np.exp(-((np.linalg.norm(verts[:, None] - tips, axis=2).min(1) / 0.014) ** 2))
    knuckles = hand.rest_joints(np.zeros((1, 10)))[0, 1:]
    near_knuckle = np.exp(
        -((np.linalg.norm(verts[:, None] - knuckles, axis=2).min(1) / 0.011) ** 2)
    )
    red = np.array([0.02, -0.035, -0.03])
    rgb = tone + palm_side * (0.05 + 0.16 * dark) * (np.array([0.95, 0.75, 0.68]) - tone) * 1.6
    rgb = rgb + red * (near_tip * 1.2 + near_knuckle * 0.8)[:, None] * (1 - 0.5 * dark)
    nail = near_tip * np.clip(normals[:, 1] - 0.35, 0, 1) * 1.6
    rgb = rgb + nail[:, None] * (tone * 0.45 + np.array([0.52, 0.40, 0.38]) - rgb) * 0.75
    return Skin(linear(rgb * (1 + rng.normal(0, 0.012, (778, 1)))))


def hand_surface(hand: Hand, skin: Skin, template: Hand) -> Surface:
    """template: the right hand, on whose rest shape the grain is fixed for both sides."""
    rgb = skin.rgb[hand.faces].astype(np.float32)
    kind = "left" if hand.is_left else "right"
    return Surface(kind, hand.faces, template.v_template, rgb, np.full(len(rgb), SKIN, np.uint8))


def arm_surface(
    skin: Skin, loop: NDArray, faces: NDArray, cloth: NDArray, rest_m: NDArray, sleeve_rgb: NDArray
) -> Surface:
    """The forearm: skin of the wrist, whose vertices loop (16,) it begins with, and then cloth."""
    wrist = skin.rgb[loop]
    count = len(rest_m) // len(wrist)
    settle = np.minimum(np.arange(count) / 4, 1)[:, None, None]
    rgb = (wrist * (1 - settle) + wrist.mean(0) * settle).reshape(-1, 3)
    rgb = np.concatenate([rgb, rgb[-1:]])[faces]
    rgb[cloth] = sleeve_rgb
    material = np.where(cloth, CLOTH, SKIN).astype(np.uint8)
    return Surface("forearm", faces, rest_m, rgb.astype(np.float32), material, loop)


def object_surface(mesh: ObjectMesh, kind: str, mirrored: bool = False) -> Surface:
    """mirrored: as seen in a mirror, x of the model negated and faces turned over."""
    colours = mesh.face_colours
    grey = colours.mean(1, keepdims=True)
    rgb = linear(grey + MUTED * (colours - grey)) * 0.9
    corner_rgb = np.repeat(rgb[:, None], 3, axis=1).astype(np.float32)
    matt = any(part in mesh.name for part in MATT_NAMES)
    material = np.full(len(rgb), MATT if matt else GLOSSY, np.uint8)
    return Surface(kind, turned(mesh.faces, mirrored), mesh.verts_m, corner_rgb, material)


def turned(faces: NDArray, mirrored: bool) -> NDArray[np.int32]:
    """Faces of the mirrored mesh: turned over, so that they still face outwards."""
    return np.ascontiguousarray(faces[:, ::-1]) if mirrored else faces


def draw_lights(rng: np.random.Generator) -> NDArray[np.float64]:
    """(6,3) as `shade.shade` takes them: a key light from above, a fill, sky and ground."""
    side, height = rng.uniform(-1.3, 1.3), rng.uniform(0.45, 1.3)
    key = np.array([np.sin(side) * np.cos(height), -np.sin(height), -np.cos(side) * np.cos(height)])
    fill = np.array([-np.sin(side), rng.uniform(-0.4, 0.3), -0.6])
    warm = np.array([1.0, 0.93, 0.84]), np.array([0.9, 0.96, 1.06])
    tint = rng.uniform()
    power = rng.uniform(0.65, 1.1)
    key_rgb = (warm[0] * (1 - tint) + warm[1] * tint) * power
    fill_rgb = (warm[1] * (1 - tint) + warm[0] * tint) * rng.uniform(0.06, 0.22)
    sky = (warm[1] * (1 - tint) + warm[0] * tint) * rng.uniform(0.28, 0.5)
    ground = np.array([1.0, 0.93, 0.85]) * rng.uniform(0.12, 0.28)
    return np.stack([_unit(key), _unit(fill), sky, ground, key_rgb, fill_rgb])


def draw_cloth(rng: np.random.Generator) -> NDArray[np.float64]:
    """Linear colour of a sleeve: muted, from black to pale."""
    value = rng.uniform(0.08, 0.8)
    return linear(np.clip(value * (1 + rng.uniform(-0.3, 0.3, 3)), 0.03, 0.9))


def _unit(v: NDArray) -> NDArray[np.float64]:
    return v / np.linalg.norm(v)
