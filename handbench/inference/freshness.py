"""Whether predictions that stand in a run's folder are still its weights' own. Needs no torch."""

from handbench import files, predictions
from handbench.errors import HandbenchError
from handbench.store import open_split
from handbench.training import runs


def is_current(run: runs.Run, split_name: str, boxes: str | None = None) -> bool:
    """Whether whole predictions of the run's present weights stand there; needs no torch."""
    path = run.predictions(split_name, boxes)
    if not path.is_file():
        return False
    try:
        made = predictions.attributes(path)
    except HandbenchError:
        return False
    wanted = open_split(split_name)
    if made["rows"] != len(wanted.hands.row):
        return False
    # a run without its weights can still be scored from what it predicted
    return not run.checkpoint.is_file() or made.get("checkpoint_sha256") == files.sha256(
        run.checkpoint
    )
