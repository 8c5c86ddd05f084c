"""DexYCB's splits, numbering and lists against what is published of them."""

import numpy as np
import pytest

from handbench.datasets.dexycb_lists import (
    EACH,
    SERIALS,
    SPLITS,
    SUBJECTS,
    find_sequences,
    first_indices,
    grasped_object,
    loaders_keep,
    read_list,
    rule_of,
)
from handbench.datasets.ycb import NAMES
from handbench.errors import DataError
from handbench.synthesis.dexycb import sequence_name


def test_splits_have_the_official_sequences_and_cameras():
    sizes = {}
    for split in SPLITS:
        rule = rule_of(split)
        sizes[split] = (len(rule.subjects) * len(rule.sequences), len(rule.cameras))
    assert sizes == {
        "s0_train": (800, 8), "s0_val": (40, 8), "s0_test": (160, 8),
        "s1_train": (700, 8), "s1_val": (100, 8), "s1_test": (200, 8),
        "s2_train": (1000, 6), "s2_val": (1000, 1), "s2_test": (1000, 1),
        "s3_train": (750, 8), "s3_val": (100, 8), "s3_test": (150, 8),
    }  # fmt: skip
    for setup in range(4):
        taken = [
            {(s, c, i) for s in r.subjects for c in r.cameras for i in r.sequences}
            for r in (rule_of(f"s{setup}_{part}") for part in ("train", "val", "test"))
        ]
        assert not (taken[0] & taken[1] or taken[0] & taken[2] or taken[1] & taken[2])
        assert len(set.union(*taken)) == 8000
    assert [SUBJECTS[s] for s in rule_of("s1_test").subjects] == [
        "20201002-subject-08",
        "20201015-subject-09",
    ]


def test_objects_by_place():
    grasped = [NAMES[grasped_object(i)] for i in range(EACH)]
    assert len(set(grasped)) == 20 and "051_large_clamp" not in grasped
    held = {part: {grasped[i] for i in rule_of(f"s3_{part}").sequences} for part in ("val", "test")}
    assert held["val"] == {"005_tomato_soup_can", "061_foam_brick"}
    assert held["test"] == {"009_gelatin_box", "021_bleach_cleanser", "036_wood_block"}


def test_the_toolkits_sample_999():
    # its README: sample 999 of s0_train is frame 53 of the second sequence by camera 932122060861
    firsts = first_indices([72, 74, 70], 8)
    camera = SERIALS.index("932122060861")
    assert firsts[1] + camera * 74 + 53 == 999
    assert first_indices([72, -1, 70], 8) == [0, 576, -1]


def test_which_boxes_the_released_loaders_drop():
    spread = np.stack(np.meshgrid(np.arange(7.0), np.arange(3.0)), -1).reshape(21, 2) * 10
    size = (640, 480)

    def keeps(x: float, y: float) -> bool:
        return loaders_keep(spread + [x, y], size)

    assert keeps(300, 200)
    # left of or above the picture the box is moved in, right of or below it is empty
    assert keeps(-500, 200) and keeps(300, -500)
    assert not keeps(700, 200) and not keeps(300, 600)
    # its left edge is the extent's times 1.5: 15 px further left than the joints
    assert keeps(639 + 14.9, 200) and not keeps(639 + 15.1, 200)
    assert not loaders_keep(np.zeros((21, 2)) + 100, size)


def names(subject: int) -> list[str]:
    return [f"{SUBJECTS[subject]}/{sequence_name(subject, i)}" for i in range(EACH)]


def test_part_of_a_subject_needs_the_list(tmp_path):
    for name in names(0)[3:60]:
        (tmp_path / name).mkdir(parents=True)
    for name in names(2):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / SUBJECTS[2] / ".DS_Store").touch()
    with pytest.raises(DataError, match="holds 57 of 100 sequences.*--sequences LIST"):
        find_sequences(tmp_path, "s0_train", None)
    with pytest.raises(DataError, match="s3_val goes by their place"):
        find_sequences(tmp_path, "s3_val", None)
    # without places: what is there, in order, after those that nobody can name
    found = find_sequences(tmp_path, "s1_train", None)
    assert [s.there for s in found] == [False] * 43 + [True] * 57 + [False] * 100 + [True] * 100 + [
        False
    ] * 400
    assert [s.position for s in found if s.there][57:] == list(range(100))

    listed = tmp_path / "list.txt"
    listed.write_text("# all of subject 1\n" + "".join(f"{name} 70\n" for name in names(0)))
    found = find_sequences(tmp_path, "s0_train", listed)
    assert [s.position for s in found[:5]] == [0, 1, 2, 3, 5]
    assert [s.there for s in found[:5]] == [False, False, False, True, True]
    assert [s.frames for s in found[:2]] == [70, 70]
    assert sum(s.there for s in found) == 45 + 80


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("20200709-subject-01/20200709_141754\n", "names 1 sequences of 20200709-subject-01"),
        ("20200709-subject-01/20200709_141754 many\n", "line 1: expected SUBJECT/SEQUENCE"),
        ("\n# x\nsubject-01/20200709_141754\n", "line 3: expected SUBJECT/SEQUENCE"),
    ],
)
def test_lists_that_cannot_be_right(tmp_path, text, message):
    path = tmp_path / "list.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_list(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_list(tmp_path / "nowhere.txt")


def test_a_list_of_other_sequences_is_refused(tmp_path):
    (tmp_path / SUBJECTS[0] / "20200709_999999").mkdir(parents=True)
    listed = tmp_path / "list.txt"
    listed.write_text("\n".join(names(0)))
    with pytest.raises(DataError, match=r"20200709_999999 is not in .*list\.txt"):
        find_sequences(tmp_path, "s0_train", listed)
    for i in range(EACH):
        (tmp_path / names(0)[i]).mkdir(parents=True)
    with pytest.raises(DataError, match="holds 101 sequences, expected 100"):
        find_sequences(tmp_path, "s1_train", None)
