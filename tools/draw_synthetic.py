"""Draw docs/pictures/synthetic.png: one frame each of the first takes of a few splits.

python tools/draw_synthetic.py [FILE]
"""

import sys
from pathlib import Path

import cv2
import numpy as np

from handbench.datasets.synthetic import Synthetic

ROWS = {"train": 16, "test": 8}  # pictures of each split
WIDE, PX = 6, 112


def main(path: Path) -> None:
    tiles = []
    for split, count in ROWS.items():
        reader = Synthetic(split, sequences=count)
        plans = [plan for plan in reader.plan() if plan.camera == "0"]
        for k, plan in enumerate(plans):
            frame = list(reader.frames(plan))[2 + k % 5]
            picture = cv2.imdecode(np.frombuffer(frame.image, np.uint8), cv2.IMREAD_COLOR)
            tiles.append(cv2.resize(picture, (PX, PX), interpolation=cv2.INTER_AREA))
    sheet = np.concatenate(
        [np.concatenate(tiles[k : k + WIDE], 1) for k in range(0, len(tiles), WIDE)]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    # without their lowest two bits pictures take half the space in a PNG
    sheet = sheet & 0xFC | 2
    cv2.imwrite(str(path), sheet, [cv2.IMWRITE_PNG_COMPRESSION, 9])


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/pictures/synthetic.png"))
