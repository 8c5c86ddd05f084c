"""Readers of raw data sets by name; raw data itself never lies in this folder.

A new one is one file here, or an entry point in group handbench.datasets.
"""

if __name__ == "datasets":
    raise ImportError("this folder is handbench.datasets, seen from a checkout on sys.path")

TABLE = {
    "dexycb": "handbench.datasets.dexycb:DexYCB",
    "fpha": "handbench.datasets.fpha:FPHA",
    "freihand": "handbench.datasets.freihand:FreiHAND",
    "h2o3d": "handbench.datasets.h2o3d:H2O3D",
    "ho3d_v2": "handbench.datasets.ho3d:HO3Dv2",
    "ho3d_v3": "handbench.datasets.ho3d:HO3Dv3",
    "interhand26m": "handbench.datasets.interhand26m:InterHand26M",
    "synthetic": "handbench.datasets.synthetic:Synthetic",
}
