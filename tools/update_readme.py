"""Put the demo's table and pictures into README.md and docs/pictures: python tools/update_readme.py

Reads results/demo and the prepared synthetic data that `make demo` leaves; types no number.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "results" / "demo"
PICTURES = ROOT / "docs" / "pictures"
BEGIN = "<!-- demo: written by tools/update_readme.py from results/demo -->"
END = "<!-- end of demo -->"
SHOWN = ("h2onet", "handoccnet", "handgcat", "occrobnet", "plain")
OVERLAYS = "demo_overlays.jpg"
CASES = ("median_of", "from_50_75_occluded")  # of `plots qualitative`
FIGURES = {
    "synthetic_test_pck.png": "demo_pck.png",
    "synthetic_controlled_error.png": "demo_error.png",
}


def main() -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        sheet = Path(folder) / "sheet.png"
        command = ["show", "synthetic/test", "--random", "24", "--sheet", "--out", str(sheet)]
        subprocess.run([sys.executable, "-P", "-m", "handbench", *command], check=True, cwd=ROOT)
        picture = cv2.imread(str(sheet))
        small = cv2.resize(picture, None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(PICTURES / "demo_sheet.jpg"), small, [cv2.IMWRITE_JPEG_QUALITY, 85])
        command = ["plots", "qualitative", *SHOWN, "--out", folder]
        subprocess.run([sys.executable, "-P", "-m", "handbench", *command], check=True, cwd=ROOT)
        drawn = sorted(Path(folder).rglob("synthetic_test_*.png"))
        cases = [cv2.imread(str(p)) for case in CASES for p in drawn if case in p.name]
        width = min(case.shape[1] for case in cases)
        overlays = np.concatenate([case[:, :width] for case in cases])
        small = cv2.resize(overlays, None, fx=0.75, fy=0.75, interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(PICTURES / OVERLAYS), small, [cv2.IMWRITE_JPEG_QUALITY, 85])
    for source, target in FIGURES.items():
        shutil.copyfile(DEMO / "plots" / source, PICTURES / target)
    table = (DEMO / "tables" / "synthetic_test_comparison.md").read_text(encoding="utf-8")
    names = [*FIGURES.values(), OVERLAYS]
    figures = " ".join(f"![{name.split('.')[0]}](docs/pictures/{name})" for name in names)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    filled = f"{BEGIN}\n{table}\n{figures}\n{END}"
    text = re.sub(f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: filled, text, flags=re.DOTALL)
    (ROOT / "README.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
