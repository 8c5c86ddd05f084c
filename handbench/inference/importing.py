"""The authors' weights as a run: predict, eval and speed take it like any other."""

import shutil
from dataclasses import asdict
from pathlib import Path

from handbench import checkpoint, files, registry
from handbench.errors import HandbenchError
from handbench.hand import default_hand
from handbench.inference.released import import_released, read_weights
from handbench.training import recipe as recipes
from handbench.training.runs import Run, run_of

LABEL = "released"


def make_run(
    method: str,
    file: Path,
    data: str,
    out: Path | None = None,
    topology: Path | None = None,
    force: bool = False,
) -> Run:
    """A run folder with the weights of an authors' checkpoint file; no step is taken.

    data: the data set they were trained on; its recipe says how pictures are cut. out: the folder,
    by default among the runs. topology: the mesh hierarchy's file, copied beside the weights.
    The recipe's `start` names the file and its hash. Raises what import_released does,
    HandbenchError where a run stands already and force is not given.
    """
    hand = default_hand()
    network = import_released(method, file, hand, topology)
    cls = registry.load("method", method)
    variant = cls.variant_of(read_weights(file)) if hasattr(cls, "variant_of") else "full"
    start = f"the authors' {file.name} {files.sha256(file)[:12]}"
    recipe = recipes.make(method, variant, "paper", data, start=start, label=LABEL)
    run = Run(out) if out else run_of(recipe)
    if run.recipe_file.is_file() and not force:
        raise HandbenchError(
            f"{run.path} holds a run already: give --force, or --out another folder"
        )
    run.path.mkdir(parents=True, exist_ok=True)
    if topology:
        kept = f"topology{topology.suffix}"
        shutil.copyfile(topology, run.path / kept)
        recipe.options["topology"] = f"./{kept}"
    files.write_text(run.recipe_file, recipes.to_toml(recipe))
    state = {
        "recipe": asdict(recipe),
        "hand_model": hand.sha256,
        "step": 0,
        "finished": True,
        "model": network.state_dict(),
        "best": None,
    }
    checkpoint.save(run, state)
    return run
