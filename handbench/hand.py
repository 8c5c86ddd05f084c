"""A hand model of MANO's layout: the bundled open hand, a user's MANO file, or given arrays.

Arrays follow MANO (Romero et al. 2017): 778 vertices, 16 joints in the order wrist, index,
middle, little, ring, thumb; metres. Posing is linear blend skinning with shape and pose offsets
(the same paper, section 3; SMPL, Loper et al. 2015, equations 2 to 10).
"""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from handbench import files, frames, skinning
from handbench.errors import DataError, ShapeError
from handbench.mano_files import check_mano, find_mano, read_mano
from handbench.mesh.boundary import boundary_loop, face_parts

PARENTS = np.array([-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14])
JOINT_PART = np.array([0, 2, 2, 2, 3, 3, 3, 5, 5, 5, 4, 4, 4, 1, 1, 1], dtype=np.int8)
# Published vertex numbers of MANO's fingertips, thumb first (manopth); the left hand has 445.
MANO_TIP_IDS = {False: (745, 317, 444, 556, 673), True: (745, 317, 445, 556, 673)}
SHAPES = {
    "v_template": (778, 3),
    "faces": (None, 3),
    "weights": (778, 16),
    "J_regressor": (16, 778),
    "shapedirs": (778, 3, 10),
    "posedirs": (778, 3, 135),
    "hands_mean": (45,),
    "hands_components": (None, 45),
}
# What a left hand's sha256 ends in when its shapes are not those of the file.
CORRECTED, NEGATED = "+corrected", "+negated"
BLOCK = 256  # hands posed at once: keeps the working set in the cache


@dataclass(frozen=True, eq=False)
class Hand:
    """One hand model; arrays are float64 and in metres, angles in degrees where named so.

    Vertices and faces carry a part each (0 palm, 1 thumb … 5 little); tip_ids are five vertices,
    thumb first; wrist_loop is the open edge of the mesh, in the order of a cap that faces out.
    joint_axes (16, 3, 3: flexion, abduction, twist) and joint_limits_deg (16, 3, 2) are known for
    the open hand only. sha256 is that of the file (or arrays) the model came from.
    """

    v_template: NDArray
    faces: NDArray
    weights: NDArray
    J_regressor: NDArray
    shapedirs: NDArray
    posedirs: NDArray
    hands_mean: NDArray
    hands_components: NDArray
    vertex_part: NDArray
    face_part: NDArray
    tip_ids: NDArray
    wrist_loop: NDArray
    joint_axes: NDArray | None
    joint_limits_deg: NDArray | None
    is_left: bool
    kind: str
    sha256: str
    parents: ClassVar[NDArray] = PARENTS

    @classmethod
    def open(cls, side: str = "right") -> "Hand":
        """The bundled hand (assets/README.md), for "right" or, mirrored, "left"."""
        is_left = _is_left(side)
        hand = _open_right()
        return hand.mirrored() if is_left else hand

    @classmethod
    def load(cls, path: str | Path, fix_left_shape: bool = False) -> "Hand":
        """A MANO file as released (MANO_RIGHT.pkl, MANO_LEFT.pkl); nothing in it is executed.

        The side is read off the file's name. In MANO_LEFT.pkl as released the x components of
        shapedirs have the right hand's sign; fix_left_shape=True negates them, unless a
        MANO_RIGHT.pkl beside it shows that this file has been corrected before; sha256 then ends
        in CORRECTED, so that a split says which left hand it was made with.
        Raises DataError when the file is missing, is no hand model, one of the other side or in
        another unit, or asks for other code.
        """
        path = Path(path)
        arrays = read_mano(path)
        is_left = "left" in path.name.lower()
        changed = ""
        if fix_left_shape:
            if not is_left:
                raise DataError(f"{path} is not a left hand: fix_left_shape is for MANO_LEFT.pkl")
            right = path.with_name(path.name.replace("LEFT", "RIGHT").replace("left", "right"))
            if not right.is_file() or has_left_shape_fault(
                arrays["shapedirs"], read_mano(right)["shapedirs"]
            ):
                arrays["shapedirs"] = frames.mirror_points(
                    np.swapaxes(arrays["shapedirs"], 1, 2)
                ).swapaxes(1, 2)
                changed = CORRECTED
        try:
            hand = cls.from_arrays(**arrays, is_left=is_left)
        except ShapeError as error:
            raise DataError(f"{path}: {error}") from error
        rest = hand.rest_joints(np.zeros((1, 10)))[0]
        check_mano(path, rest[4] - rest[0], is_left)
        return replace(hand, kind="mano", sha256=files.sha256(path) + changed)

    @classmethod
    def from_arrays(
        cls,
        *,
        v_template: ArrayLike,
        shapedirs: ArrayLike,
        posedirs: ArrayLike,
        J_regressor: Any,
        weights: ArrayLike,
        faces: ArrayLike,
        hands_mean: ArrayLike,
        hands_components: ArrayLike,
        kintree_table: ArrayLike | None = None,
        is_left: bool = False,
    ) -> "Hand":
        """A hand of MANO's topology; parts come from the weights, tips from MANO's numbers.

        Shapes: SHAPES; J_regressor may be a scipy sparse matrix. Raises ShapeError.
        """
        if hasattr(J_regressor, "toarray"):
            _check_shape("J_regressor", J_regressor.shape)
            J_regressor = J_regressor.toarray()
        given = {
            "v_template": v_template,
            "shapedirs": shapedirs,
            "posedirs": posedirs,
            "J_regressor": J_regressor,
            "weights": weights,
            "hands_mean": hands_mean,
            "hands_components": hands_components,
            "faces": faces,
        }
        arrays = {name: _checked(name, value) for name, value in given.items()}
        if kintree_table is not None:
            tree = np.asarray(kintree_table).astype(np.int64)
            if tree.shape != (2, 16) or not np.array_equal(tree[0, 1:], PARENTS[1:]):
                raise ShapeError("kintree_table is not the tree of MANO's 16 joints")
        vertex_part = JOINT_PART[arrays["weights"].argmax(1)]
        return cls(
            **arrays,
            vertex_part=vertex_part,
            face_part=face_parts(vertex_part[arrays["faces"]]),
            tip_ids=np.array(MANO_TIP_IDS[is_left]),
            wrist_loop=boundary_loop(arrays["faces"]),
            joint_axes=None,
            joint_limits_deg=None,
            is_left=is_left,
            kind="arrays",
            sha256=_digest(arrays),
        )

    def negated(self) -> "Hand":
        """The hand whose shapes point the other way, as HO-3D's setup script makes its left one."""
        return replace(self, shapedirs=-self.shapedirs, sha256=self.sha256 + NEGATED)

    def mirrored(self) -> "Hand":
        """The hand of the other side: its geometry mirrored in x = 0, tips and parts kept.

        Posed with frames.mirror_pose(pose) it is the mirror image of this hand under pose.
        """
        flip = np.array([-1.0, 1.0, 1.0])
        rotation_flip = np.tile(np.outer(flip, flip).ravel(), 15)
        return replace(
            self,
            v_template=self.v_template * flip,
            faces=np.ascontiguousarray(self.faces[:, ::-1]),
            shapedirs=self.shapedirs * flip[:, None],
            posedirs=self.posedirs * flip[:, None] * rotation_flip,
            hands_mean=frames.mirror_pose(self.hands_mean),
            hands_components=frames.mirror_pose(self.hands_components),
            wrist_loop=self.wrist_loop[::-1].copy(),
            joint_axes=None if self.joint_axes is None else self.joint_axes * -flip,
            is_left=not self.is_left,
        )

    def rest_joints(self, shape: ArrayLike) -> NDArray:
        """The 16 joints (N, 16, 3) of the unposed hand for shape (N, 10); 0 is the wrist."""
        shape = _batch(shape, 10, "shape")
        return (self.joint_fold[0] + shape @ self.joint_fold[1:]).reshape(-1, 16, 3)

    def pose(self, pose: ArrayLike, shape: ArrayLike) -> tuple[NDArray, NDArray]:
        """Vertices (N, 778, 3) and joints (N, 21, 3, this project's order) in metres.

        pose: (N, 48) axis-angle, mean included; shape: (N, 10), or one row for all. The wrist
        stays where the shape puts it (no translation). Raises ShapeError.
        """
        pose, shape = _batch(pose, 48, "pose"), _batch(shape, 10, "shape")
        if len(shape) != len(pose):
            if len(shape) != 1:
                raise ShapeError(f"{len(pose)} poses but {len(shape)} shapes: give as many")
            shape = np.broadcast_to(shape, (len(pose), 10))
        verts, joints = np.empty((len(pose), 778, 3)), np.empty((len(pose), 16, 3))
        for first in range(0, len(pose), BLOCK):
            rows = slice(first, first + BLOCK)
            rotations = skinning.rotations(pose[rows].reshape(-1, 16, 3))
            features = skinning.features(shape[rows], rotations)
            skinning.skin(
                features @ self.fold,
                self.rest_joints(shape[rows]),
                rotations,
                *self.sparse_weights,
                verts[rows],
                joints[rows],
            )
        joints = np.concatenate([joints, verts[:, self.tip_ids]], 1)
        return verts, joints[:, frames.MANO_TIPS]

    @cached_property
    def fold(self) -> NDArray:
        """(146, 2334): template, shape and pose offsets as one matrix for [1, shape, R - I]."""
        offsets = np.concatenate([self.shapedirs, self.posedirs], axis=2)
        rows = np.moveaxis(offsets, 2, 0).reshape(145, -1)
        return np.concatenate([self.v_template.reshape(1, -1), rows])

    @cached_property
    def joint_fold(self) -> NDArray:
        """(11, 48): rest joints as one matrix for [1, shape] (the regressor is linear)."""
        verts = self.fold[:11].reshape(11, 778, 3)
        return (self.J_regressor @ verts).reshape(11, 48)

    @cached_property
    def part_sizes(self) -> NDArray[np.int64]:
        """(6,): vertices of the palm and of each finger, thumb first."""
        return np.bincount(self.vertex_part, minlength=6)

    @cached_property
    def sparse_weights(self) -> tuple[NDArray, NDArray, NDArray]:
        """The non-zero skinning weights: first entry of each vertex (779,), joint, weight."""
        vertex, joint = np.nonzero(self.weights)
        return np.searchsorted(vertex, np.arange(779)), joint, self.weights[vertex, joint]


def default_hand(side: str = "right", fix_left_shape: bool = False) -> Hand:
    """The user's MANO hand where $HANDBENCH_MANO names their folder, else the open hand.

    fix_left_shape: of a left hand from MANO_LEFT.pkl, see Hand.load.
    Raises DataError when the variable is set and the side's file is not there.
    """
    is_left = _is_left(side)
    path = find_mano(side)
    return Hand.open(side) if path is None else Hand.load(path, fix_left_shape and is_left)


def models_of(made_with: str) -> tuple[Hand, Hand] | None:
    """The (right, left) hands whose hash stands in made_with, a split's or a file's `hand_model`.

    The open hand is always at hand; MANO is where $HANDBENCH_MANO says. None: made with another.
    """
    return _models_of(made_with, files.mano_dir())


@lru_cache(maxsize=8)
def _models_of(made_with: str, folder: Path | None) -> tuple[Hand, Hand] | None:
    if Hand.open().sha256 in made_with:
        return Hand.open("right"), Hand.open("left")
    if folder is None:
        return None
    right, left = default_hand("right"), default_hand("left")
    if right.sha256 not in made_with:
        return None
    if left.sha256 + CORRECTED in made_with:
        left = default_hand("left", fix_left_shape=True)
    elif left.sha256 + NEGATED in made_with:
        left = left.negated()
    elif '"left"' in made_with and left.sha256 not in made_with:
        return None  # a split names both hands, a run the right one alone
    return right, left


def has_left_shape_fault(left: NDArray, right: NDArray) -> bool:
    """Whether the left shapedirs (778, 3, 10) repeat the right's x instead of its mirror image."""
    left, right = left[:, 0], right[:, 0]
    return bool(np.abs(left - right).sum() < np.abs(left + right).sum())


@lru_cache(maxsize=1)
def _open_right() -> Hand:
    path = Path(str(resources.files("handbench.assets") / "open_hand.npz"))
    with np.load(path, allow_pickle=False) as data:
        arrays = {name: _checked(name, data[name]) for name in SHAPES}
        return Hand(
            **arrays,
            **{name: data[name] for name in ("vertex_part", "face_part")},
            tip_ids=data["fingertip_ids"].astype(np.int64),
            wrist_loop=data["wrist_loop"].astype(np.int64),
            joint_axes=data["joint_axes"].astype(np.float64),
            joint_limits_deg=data["joint_limits_deg"].astype(np.float64),
            is_left=False,
            kind="open",
            sha256=files.sha256(path),
        )


def _checked(name: str, value: ArrayLike) -> NDArray:
    try:
        array = np.ascontiguousarray(value, dtype=np.int32 if name == "faces" else np.float64)
    except (TypeError, ValueError) as error:
        raise ShapeError(f"{name} is no array of numbers ({error})") from None
    _check_shape(name, array.shape)
    if name == "faces" and array.size and not 0 <= array.min() <= array.max() < 778:
        raise ShapeError("faces name vertices outside 0 to 777")
    if not np.isfinite(array).all():
        raise ShapeError(f"{name} holds values that are not finite")
    return array


def _check_shape(name: str, found: tuple[int, ...]) -> None:
    wanted = SHAPES[name]
    if len(found) != len(wanted) or any(w not in (None, f) for w, f in zip(wanted, found)):
        shown = tuple("any" if w is None else w for w in wanted)
        raise ShapeError(f"{name} has shape {found}, a hand model needs {shown}")


def _batch(values: ArrayLike, width: int, name: str) -> NDArray:
    array = np.ascontiguousarray(values, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != width:
        raise ShapeError(f"{name} has shape {array.shape}, needs (N, {width})")
    return array


def _digest(arrays: dict[str, NDArray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode() + arrays[name].tobytes())
    return digest.hexdigest()


def _is_left(side: str) -> bool:
    if side not in ("right", "left"):
        raise DataError(f"no side '{side}': right or left")
    return side == "left"
