"""Dumps as other projects would write them: the truth of a split, in their frame and names."""

import json
import pickle
from pathlib import Path

import numpy as np

from handbench.scoring.truth import of_split
from handbench.store import Split

# adapter -> names of joints and vertices in the dump
KEYS = {
    "handoccnet": ("joints3d", "verts3d"),
    "h2onet": ("pred_joints3d_w_gr", "pred_verts3d_w_gr"),
    "mobrecon": ("joints", "verts"),
    "hamer": ("pred_keypoints_3d", "pred_vertices"),
}


def records(split: Split, adapter: str, sides: bool = True) -> dict[str, dict]:
    """Records by image path; left hands mirrored, the wrist off the origin, as networks do."""
    truth = of_split(split)
    joints, _, _ = truth.joints_m()
    verts = truth.verts_m(slice(None))
    shift = np.array([0.09, 0.01, 0.005])  # MANO's wrist does not lie in the origin
    found = {}
    for k, path in enumerate(truth.per_row("image_path").tolist()):
        mirror = np.array([-1.0 if truth.is_left[k] else 1.0, 1, 1])
        names = KEYS[adapter]
        record = {names[0]: joints[k] * mirror + shift, names[1]: verts[k] * mirror + shift}
        if sides:
            record["right"] = float(not truth.is_left[k])
        found[path] = record
    return found


def write(path: Path, by_name: dict[str, dict]) -> Path:
    """As .npz of columns, .json by image name, or .pkl of a list of records, by the suffix."""
    if path.suffix == ".json":
        plain = {
            name: {key: np.asarray(value).tolist() for key, value in record.items()}
            for name, record in by_name.items()
        }
        path.write_text(json.dumps(plain))
    elif path.suffix == ".pkl":
        path.write_bytes(pickle.dumps([{"img_name": n, **r} for n, r in by_name.items()]))
    else:
        first = next(iter(by_name.values()))
        columns = {key: np.stack([record[key] for record in by_name.values()]) for key in first}
        np.savez(path, image_name=np.array(list(by_name)), **columns)
    return path
