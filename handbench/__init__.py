"""Fair, fast, reproducible benchmarking of occlusion-robust 3D hand mesh and pose estimation."""

from pathlib import Path

from handbench._version import VERSION as __version__

__all__ = ["__version__"]

# In a checkout the rooms methods/, datasets/ and results/ stand beside the package:
# let them be its sub-packages, as the installed wheel has them.
_checkout = Path(__file__).resolve().parent.parent
if (_checkout / "setup.cfg").is_file():
    __path__.append(str(_checkout))
