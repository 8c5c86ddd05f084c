import pytest
import torch

from handbench import registry
from handbench.errors import HandbenchError
from handbench.hand import Hand
from handbench.inference import onnx as exporting
from handbench.methods.mean_pose import MeanPose

METHODS = ("plain", "handoccnet", "handgcat", "h2onet", "occrobnet")


@pytest.mark.parametrize("name", METHODS)
def test_an_exported_network_answers_the_same(name, tmp_path):
    pytest.importorskip("onnx")
    cls = registry.load("method", name)
    torch.manual_seed(0)
    method = cls(Hand.open(), **cls.PRESETS["tiny"]).train()
    assert exporting.export(method, tmp_path / "network.onnx") < 1e-5
    assert method.training and (tmp_path / "network.onnx").stat().st_size > 1e5


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_full_size_networks_export(name, tmp_path):
    pytest.importorskip("onnx")
    torch.manual_seed(0)
    method = registry.load("method", name)(Hand.open())
    assert exporting.export(method, tmp_path / "network.onnx") < 1e-4


def test_a_file_that_answers_otherwise_is_not_kept(tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    tiny = registry.load("method", "plain").PRESETS["tiny"]
    method = registry.load("method", "plain")(Hand.open(), **tiny)
    honest = exporting.run
    monkeypatch.setattr(exporting, "run", lambda *a: [x + 1e-3 for x in honest(*a)])
    with pytest.raises(HandbenchError, match="differs from torch's by 1.0e-03"):
        exporting.export(method, tmp_path / "network.onnx")
    assert not [*tmp_path.iterdir()]
    with pytest.raises(HandbenchError, match="MeanPose takes no inputs"):
        exporting.export(MeanPose(Hand.open()), tmp_path / "network.onnx")
