"""What a run's backbone starts from: a paper preset asks for its file, others do not."""

import pytest
import torch

from handbench import checkpoint, files
from handbench.errors import HandbenchError
from handbench.hand import default_hand
from handbench.inference.predict import initialisation
from handbench.methods.h2onet import H2ONet
from handbench.training import backbones
from handbench.training.recipe import make


def test_a_paper_preset_asks_for_the_file_its_paper_starts_from(tmp_path, monkeypatch):
    monkeypatch.delenv(backbones.FOLDER, raising=False)
    paper = make("handoccnet", preset="paper")
    with pytest.raises(HandbenchError, match="resnet50-19c8e357.pth: give --backbone FILE"):
        backbones.chosen(paper, None)
    same, path = backbones.chosen(paper, "none")
    assert (same, path, initialisation(same)) == (paper, None, "random")
    for other in (
        make("handoccnet", preset="tiny"),
        make("mean_pose", preset="paper"),
        make("handgcat", "pose_only", preset="paper"),  # it has no backbone
        make("h2onet", "multi_frame", preset="paper", start="a run 0123"),
    ):
        assert backbones.chosen(other, None) == (other, None)
    with pytest.raises(HandbenchError, match="h2onet's paper starts its backbone from densestack"):
        backbones.chosen(make("h2onet", preset="paper"), None)
    with pytest.raises(HandbenchError, match="no backbone .*gone.pth"):
        backbones.chosen(paper, str(tmp_path / "gone.pth"))

    monkeypatch.setenv(backbones.FOLDER, str(tmp_path))
    with pytest.raises(HandbenchError, match="it is not in"):
        backbones.chosen(paper, None)
    kept = tmp_path / "resnet50-19c8e357.pth"
    kept.write_bytes(b"weights")
    found, path = backbones.chosen(paper, None)
    assert path == kept and found.backbone == files.sha256(kept)
    assert initialisation(found) == f"backbone {found.backbone[:12]}"
    assert backbones.chosen(make("handoccnet", preset="tiny"), None)[1] is None


def test_h2onet_takes_a_file_that_ends_before_its_own_parts(tmp_path):
    sizes = {"width": 8, "hidden": 16, "decoder": (8, 8, 8, 8, 8), "classifier": 16}
    first, second = (H2ONet(default_hand("right"), **H2ONet.PRESETS["tiny"] | sizes) for _ in "ab")
    weights = first.backbone.state_dict()
    lacking = first.backbone.MAY_LACK
    given = {f"module.{k}": v for k, v in weights.items() if not k.startswith(lacking)}
    path = tmp_path / "densestack.pth"
    torch.save({"state_dict": {**given, "module.head.weight": torch.zeros(2)}}, path)
    before = {k: v.clone() for k, v in second.backbone.state_dict().items()}
    assert checkpoint.load_backbone(second, path) == len(given)
    after = second.backbone.state_dict()
    assert any(k.startswith(lacking) for k in after)
    for name, value in after.items():
        assert torch.equal(value, (before if name.startswith(lacking) else weights)[name]), name
    given.pop("module.reduce.0.weight")
    torch.save({"state_dict": given}, path)
    with pytest.raises(HandbenchError, match="does not fit the backbone of H2ONet"):
        checkpoint.load_backbone(second, path)
