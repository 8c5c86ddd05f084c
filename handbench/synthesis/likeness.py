"""Synthetic objects that stand for the models of the official sets."""

from handbench.errors import UnknownName
from handbench.synthesis.builder import ObjectMesh
from handbench.synthesis.scene import make_object

# official name -> synthetic object and the seed of its variant; all have grasps in the library
LOOKALIKES = {
    "002_master_chef_can": ("coffee_can", 0), "003_cracker_box": ("cracker_box", 8),
    "004_sugar_box": ("sugar_box", 3), "005_tomato_soup_can": ("soup_can", 8),
    "006_mustard_bottle": ("mustard_bottle", 3), "007_tuna_fish_can": ("tuna_can", 6),
    "008_pudding_box": ("pudding_box", 2), "009_gelatin_box": ("gelatin_box", 6),
    "010_potted_meat_can": ("meat_can", 2), "011_banana": ("banana", 8),
    "019_pitcher_base": ("pitcher", 0), "021_bleach_cleanser": ("bleach_bottle", 2),
    "024_bowl": ("bowl", 0), "025_mug": ("mug", 1), "035_power_drill": ("drill", 0),
    "036_wood_block": ("foam_brick", 0), "037_scissors": ("scissors", 2),
    "040_large_marker": ("marker", 3), "051_large_clamp": ("clamp", 4),
    "052_extra_large_clamp": ("clamp", 1), "061_foam_brick": ("foam_brick", 7),
    "juice_bottle": ("bleach_bottle", 7), "liquid_soap": ("mustard_bottle", 4),
    "milk": ("sugar_box", 0), "salt": ("soup_can", 5),
}  # fmt: skip


def object_mesh(name: str) -> ObjectMesh:
    """The mesh that stands for an official model, model frame, metres. Raises UnknownName."""
    if name not in LOOKALIKES:
        raise UnknownName("object with a synthetic likeness", name, LOOKALIKES)
    return make_object(*LOOKALIKES[name])


def obj_text(name: str) -> str:
    """object_mesh(name) as a Wavefront OBJ."""
    mesh = object_mesh(name)
    lines = [f"v {x:.9f} {y:.9f} {z:.9f}" for x, y, z in mesh.verts_m]
    lines += [f"f {a} {b} {c}" for a, b, c in mesh.faces + 1]
    return "\n".join(lines) + "\n"
