"""The pieces of each official download: how to recognise them, and where to get them.

`handbench doctor --raw` reads this; a reader from elsewhere has its own as attribute `downloads`.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Piece:
    """One piece of a download.

    name; patterns: globs below the raw folder of which one must match; archive: what to unpack;
    source: where to get it; count: how many matches the whole download has; needed: nothing can be
    prepared without it.
    """

    name: str
    patterns: tuple[str, ...]
    archive: str
    source: str
    count: int = 1
    needed: bool = True


_DEXYCB = "https://dex-ycb.github.io"
_HO3D = "https://github.com/shreyashampali/ho3d (links to the archives)"
_INTERHAND = "https://mks0601.github.io/InterHand2.6M/"
_FREIHAND = "https://lmb.informatik.uni-freiburg.de/resources/datasets/FreihandDataset.en.html"
_FPHA = "https://guiggh.github.io/publications/first-person-hands/ (licence form)"
_YCB = Piece(
    "object models",
    ("models/*/textured_simple.obj",),
    "YCB-Video models",
    "https://rse-lab.cs.washington.edu/projects/posecnn/",
    needed=False,
)


def _ho3d(ending: str, masks: str) -> tuple[Piece, ...]:
    release, unpacked = f"HO3D_v{ending}", "*segmentations_rendered"
    return (
        Piece("lists", ("train.txt", "evaluation.txt"), release, _HO3D, 2),
        Piece("train pictures", ("train/*/rgb",), release, _HO3D, 55),
        Piece("train annotation", ("train/*/meta",), release, _HO3D, 55),
        Piece("evaluation pictures", ("evaluation/*/rgb",), release, _HO3D, 13, needed=False),
        Piece("evaluation annotation", ("evaluation/*/meta",), release, _HO3D, 13, needed=False),
        Piece(
            "evaluation truth",
            ("evaluation_xyz.json", "evaluation_verts.json"),
            "ground truth released in 2024",
            _HO3D,
            2,
            needed=False,
        ),
        Piece("masks", ("train/*/seg", f"{unpacked}/train/*/seg"), masks, _HO3D, 55, needed=False),
        Piece("calibration", ("calibration/*",), release, _HO3D, needed=False),
        _YCB,
    )


def _freihand(name: str, pattern: str, count: int = 1, needed: bool = True) -> Piece:
    patterns = pattern, f"FreiHAND_pub_v2/{pattern}"
    return Piece(name, patterns, "FreiHAND_pub_v2.zip", _FREIHAND, count, needed)


def _interhand(name: str, file: str, needed: bool = True) -> Piece:
    places = (f"annotations/*/{file}", f"InterHand2.6M_*/annotations/*/{file}")
    return Piece(name, places, "annotations of release v1.0", _INTERHAND, needed=needed)


DOWNLOADS: dict[str, tuple[Piece, ...]] = {
    "dexycb": (
        Piece("subjects", ("20??????-subject-??",), "20200709-subject-01.tar.gz …", _DEXYCB, 10),
        Piece("sequences", ("20??????-subject-??/20*/meta.yml",), "the same", _DEXYCB, 1000),
        Piece(
            "labels", ("20??????-subject-??/20*/*/labels_000000.npz",), "the same", _DEXYCB, 8000
        ),
        Piece("intrinsics", ("calibration/intrinsics/*.yml",), "calibration.tar.gz", _DEXYCB, 8),
        Piece("extrinsics", ("calibration/extrinsics_*",), "calibration.tar.gz", _DEXYCB),
        Piece("hand shapes", ("calibration/mano_*",), "calibration.tar.gz", _DEXYCB),
        Piece(
            "object models", ("models/*/textured_simple.obj",), "models.tar.gz", _DEXYCB, 21, False
        ),
    ),
    "ho3d_v2": _ho3d("2", "HO3D_v2_segmentations_rendered"),
    "ho3d_v3": _ho3d("3", "HO3D_v3_segmentations_rendered.zip"),
    "h2o3d": (
        Piece("lists", ("train.txt", "evaluation.txt"), "h2o3d_v1.zip", _HO3D, 2),
        Piece("train", ("train/*/meta",), "h2o3d_v1.zip", _HO3D),
        Piece("masks", ("train/*/segr",), "h2o3d_v1.zip", _HO3D, needed=False),
        Piece("evaluation", ("evaluation/*/meta",), "h2o3d_v1.zip", _HO3D, needed=False),
        _YCB,
    ),
    "interhand26m": (
        Piece(
            "images",
            ("images/*/Capture*", "InterHand2.6M_*/images/*/Capture*"),
            "InterHand2.6M_5fps_batch1 (or _30fps_)",
            _INTERHAND,
        ),
        _interhand("lists", "*_data.json"),
        _interhand("cameras", "*_camera.json"),
        _interhand("joints", "*_joint_3d.json"),
        _interhand("MANO fits", "*MANO*.json", needed=False),
        Piece(
            "human annotation ids",
            ("aid_human_annot_*.txt",),
            "aid_human_annot_train.txt, aid_human_annot_test.txt",
            "https://github.com/facebookresearch/InterWild",
            2,
            needed=False,
        ),
    ),
    "freihand": (
        _freihand("training pictures", "training/rgb"),
        _freihand("training annotation", "training_[Kmsvx]*.json", 5),
        _freihand("masks", "training/mask", needed=False),
        _freihand("evaluation", "evaluation/rgb", needed=False),
        Piece(
            "evaluation truth",
            ("evaluation_[vx]*.json", "FreiHAND_pub_v2_eval/evaluation_[vx]*.json"),
            "FreiHAND_pub_v2_eval.zip",
            _FREIHAND,
            2,
            needed=False,
        ),
    ),
    "fpha": (
        Piece("pictures", ("Video_files*/Subject_*",), "Video_files, one archive a subject", _FPHA),
        Piece(
            "joints", ("Hand_pose_annotation_v1*/Subject_*",), "Hand_pose_annotation_v1", _FPHA, 6
        ),
        Piece("split", ("data_split_action_recognition.txt",), "the form's folder", _FPHA),
        Piece(
            "object poses",
            ("Object_6D_pose_annotation_v1*/Subject_*",),
            "Object_6D_pose_annotation_v1_1",
            _FPHA,
            needed=False,
        ),
        Piece("object models", ("Object_models/*_model",), "Object_models.zip", _FPHA, 4, False),
        Piece(
            "MANO fits",
            ("fhbhands_fits/Subject_*",),
            "fhbhands_fits.tgz",
            "https://github.com/hassony2/handobjectconsist",
            needed=False,
        ),
    ),
}
