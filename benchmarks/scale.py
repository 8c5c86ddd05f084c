"""What preparing whole data sets costs: hours from the measured CPU time of a frame.

`python benchmarks/scale.py` prints the tables of docs/scale.md.
"""

import tempfile
from pathlib import Path

import store
from prepare import official_frames
from report import Row

# name, frames, whose measured frame stands for it, kB a picture
SETS = (
    ("DexYCB, all", 582_000, "dexycb", 82),
    ("InterHand2.6M, 5 fps", 2_590_347, "interhand26m", 18),
    ("ten million frames like DexYCB's", 10_000_000, "dexycb", 82),
)
CORES = {2: 0.85, 16: 0.85, 64: 0.7}  # cores and the share of them that is expected to be of use
LABEL_KB, CROP_SHARE = 2.0, 1 / 3
DISK_MB_S = 500  # reading the raw files


def measured() -> tuple[list[Row], float]:
    """Rows of official_frames, and the CPU ms of packing a frame."""
    with tempfile.TemporaryDirectory() as name:
        paths = store.source_files(Path(name))
        (Path(name) / "bench/all").mkdir(parents=True)
        packing = store.packing(paths, Path(name))
    return official_frames(), next(r["value"] for r in packing if "whole rows" in r["name"])


def tables(rows: list[Row], pack_ms: float) -> str:
    """Markdown: the measured frame, then each set's hours and sizes."""
    frame_ms = {row["name"].rpartition(" ")[2]: row["value"] + pack_ms for row in rows}
    lines = ["| frame of | read, label, cut, pack: ms of CPU |", "|---|---|"]
    lines += [f"| {name} | {ms:.1f} |" for name, ms in frame_ms.items()]
    hours = " | ".join(f"{cores} cores" for cores in CORES)
    lines += ["", f"| set | frames | core hours | {hours} | whole | crops |"]
    lines.append("|---" * (5 + len(CORES)) + "|")
    for name, frames, like, kilobytes in SETS:
        total = frames * frame_ms[like] / 3.6e6
        least = frames * kilobytes / DISK_MB_S / 3.6e6
        times = [max(total / cores / share, least) for cores, share in CORES.items()]
        sizes = [frames * (kilobytes * part + LABEL_KB) / 1e6 for part in (1, CROP_SHARE)]
        cells = [name, f"{frames:,}", f"{total:.1f}", *map(duration, times)]
        lines.append("| " + " | ".join([*cells, *(f"{size:.0f} GB" for size in sizes)]) + " |")
    return "\n".join(lines)


def duration(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{hours * 60:.0f} min"


if __name__ == "__main__":
    print(tables(*measured()))
