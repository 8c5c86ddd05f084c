"""Tables behind a mean: who is compared with whom, and the worked numbers in their cells."""

from dataclasses import replace

import numpy as np
import pytest

from handbench.protocol import get
from handbench.result import Result
from handbench.rules import LEVELS
from handbench.scoring.score import means
from handbench.scoring.seeds import pooled
from handbench.showing import breakdowns, onset, plots, tables
from handbench.showing.canvas import legible
from handbench.showing.formats import FORMATS

HANDS = 48


def made(name="a", error=10.0, recordings=12, seed=None, box="visible_mask x 1.5", **columns):
    """A result of 48 hands whose errors are given or all alike."""
    joints = np.broadcast_to(np.asarray(error, float).reshape(-1, 1), (HANDS, 21)).copy()
    joints[:, 0] = 0.0
    kept = {
        "id": np.array([f"i{k}" for k in range(HANDS)]),
        "is_left": np.zeros(HANDS, bool),
        "recording": np.arange(HANDS) % recordings,
        "level": np.zeros(HANDS, int),
        "joint_errors_mm": joints,
        "pa_joint_errors_mm": joints / 2,
        "mpjpe_mm": joints[:, 1:].mean(1),
        "pa_mpjpe_mm": joints[:, 1:].mean(1) / 2,
        **columns,
    }
    names = ["mpjpe_mm", "pa_mpjpe_mm"]
    everyone = np.ones(HANDS, bool)
    evaluation = {
        "data": "small/test",
        "dataset_version": "1",
        "hands": HANDS,
        "box_source": box,
        "root_source": "wrist",
        "left_hands": "",
        "label_rule": "released",
    }
    attributes = {"method": name, "variant": "full"} | ({} if seed is None else {"seed": seed})
    return Result(
        protocol={
            "name": "handbench",
            "version": 1,
            "label": get("handbench").label,
            "evaluation": evaluation,
            "method": {"inputs": "image", "frames": 1},
        },
        metrics=means(kept, names, everyone),
        levels={title: means(kept, names, kept["level"] == k) for k, title in enumerate(LEVELS)},
        per_sample=kept,
        provenance={"predictions": attributes},
    )


def noisy(mean, seed):
    return mean + np.random.default_rng(seed).normal(scale=0.5, size=HANDS)


def value(table, row, key):
    return table.rows[row].cells[key].value


def test_fingers_by_their_own_label():
    labels = np.full((HANDS, 5), 1, np.uint8)
    labels[:12, 2], labels[12:, 4] = 0, 255
    joints = np.tile(np.r_[0.0, np.repeat([1.0, 2, 3, 4, 5], 4)], (HANDS, 1))
    joints[:12, 9:13] = 7.0
    table = breakdowns.by_finger([made(finger_visible=labels, joint_errors_mm=joints)])
    cells = table.rows[0].cells
    assert cells["thumb_visible"].value == 1.0
    assert (cells["middle_hidden"].value, cells["middle_hidden"].estimate.n) == (7.0, 12)
    assert (cells["middle_visible"].value, cells["middle_visible"].estimate.n) == (3.0, 36)
    assert cells["little_visible"].estimate.n == 12
    assert cells["thumb_hidden"].estimate.n == 0


def test_causes_by_finger_and_hand():
    cause = np.zeros((HANDS, 5), np.uint8)
    cause[:10, 0], cause[:10, 1], cause[10, 0] = 2, 2, 255
    joints = np.tile(np.r_[0.0, np.repeat([1.0, 2, 3, 4, 5], 4)], (HANDS, 1))
    table = breakdowns.by_cause([made(finger_cause=cause, joint_errors_mm=joints)])
    assert [column.key for column in table.columns] == ["visible", "held object"]
    held = table.rows[0].cells["held object"].estimate
    assert (held.value, held.n) == (1.5, 10)
    assert "held object: 20" in table.notes[0]


def test_few_recordings_are_told_one_by_one_without_intervals_or_marks():
    few = [made("near", noisy(10, 0), recordings=4), made("far", noisy(20, 1), recordings=4)]
    found = {table.name: table for table in tables.all_of(few)}
    table = found["small_test_recordings"]
    assert len(table.columns) == 5
    means_ = few[0].per_sample["mpjpe_mm"].reshape(-1, 4).mean(0)
    assert [value(table, 0, str(k)) for k in range(4)] == pytest.approx(means_)
    assert value(table, 0, "sd") == pytest.approx(means_.std(ddof=1))
    for render, _ in FORMATS.values():
        assert "†" not in render(found["small_test_comparison"])
    assert "[" not in FORMATS["md"][0](table).split("\n\n")[1]
    many = [made("near", noisy(10, 0)), made("far", noisy(20, 1))]
    assert "small_test_recordings" not in {table.name for table in tables.all_of(many)}


def test_what_is_clearly_worse_is_marked_within_its_tier():
    near, same, far = made("near", noisy(10, 0)), made("same", noisy(10.01, 1)), made("far", 20.0)
    other = made("frames", 15.0)
    other.protocol["method"]["frames"] = 3
    table = tables.comparison([near, same, far, other])
    texts = {row.label: row.cells["mpjpe_mm"].text for row in table.rows}
    assert texts == {"near": "", "same": "", "far": "20.0†", "frames": ""}
    assert tables.CLEAR_NOTE in table.notes
    alone = tables.comparison([near, same])
    assert tables.CLEAR_NOTE not in alone.notes
    assert "20.0†" in FORMATS["md"][0](table)
    assert r"20.0$\dagger$" in FORMATS["latex"][0](table)


def test_seeds_of_one_method_become_one_row():
    runs = [made("a", noisy(10 + k, k), seed=k) for k in range(3)]
    (found,) = pooled(runs)
    assert found.metrics["mpjpe_mm"].value == pytest.approx(
        np.mean([run.metrics["mpjpe_mm"].value for run in runs])
    )
    widths = [e.high - e.low for e in (found.metrics["mpjpe_mm"], runs[0].metrics["mpjpe_mm"])]
    assert widths[0] > 2 * widths[1]
    assert found.levels["0-25"]["mpjpe_mm"].n == HANDS
    assert len(pooled([runs[0], runs[0]])) == 2  # one run read twice
    other = replace(runs[1], provenance={"predictions": {"method": "b", "seed": 1}})
    assert len(pooled([runs[0], other])) == 2
    names = [row.label for row in tables.all_of([*runs, made("b", 30.0, seed=0)])[0].rows]
    assert names == ["a (3 seeds)", "b"]
    notes = tables.comparison(pooled(runs)).notes
    assert any("MPJPE of each" in note and "10." in note for note in notes)


def test_other_boxes_stand_in_tables_of_their_own():
    main, beside = made(), made(box="gt_joints x 1.25", error=8.0)
    names = [table.name for table in tables.all_of([beside, main])]
    assert names[0] == "small_test_comparison"
    assert "small_test_gt_joints_comparison" in names
    mixed = tables.all_of([beside, main], mixed=True)
    assert len(mixed[0].rows) == 2
    assert any("boxes" in note for note in mixed[0].notes)


def twin_columns():
    """Two pairs of takes of 6 frames with a right and a left hand; the left one stays in view."""
    pair, covered, order, left = (
        x.ravel() for x in np.meshgrid([0, 1], [0, 1], np.arange(6), [0, 1], indexing="ij")
    )
    since = np.where((covered == 1) & (order >= 3), order - 2, 0)
    shown = np.where((since > 0) & (left == 0), 0.02, 0.8)
    return {
        "onset_pair": pair,
        "onset_occluded": covered.astype(np.uint8),
        "frames_since_seen": since,
        "order": order,
        "is_left": left.astype(bool),
        "share_visible": shown,
    }


def test_being_hidden_is_measured_against_the_bare_twin(tmp_path):
    columns = twin_columns()
    since, hidden = columns["frames_since_seen"], columns["share_visible"] < 0.5
    error = 10.0 + columns["order"] + np.where(hidden, 4.0 * since, 0.0)
    shuffle = np.random.default_rng(0).permutation(HANDS)
    given = made(error=error[shuffle], **{k: v[shuffle] for k, v in columns.items()})
    count, difference, pair = onset.twins(given.per_sample)
    assert len(count) == 2 * 6  # two covered takes, the right hand alone
    assert difference == pytest.approx(4.0 * count)
    assert sorted(set(pair.tolist())) == [0, 1]
    # a hand that shows half of what its twin shows is not hidden
    shown = given.per_sample["share_visible"]
    half = {**given.per_sample, "share_visible": np.where(shown < 0.5, 0.4, 0.8)}
    assert len(onset.twins(half)[0]) == 0
    table = breakdowns.since_seen([given])
    assert [column.key for column in table.columns] == ["0", "1", "2", "3-4"]
    assert [value(table, 0, key) for key in ("0", "1", "2", "3-4")] == [0.0, 4.0, 8.0, 12.0]
    assert table.caption.startswith("Effect of")
    names = [path.name for path in plots.all_of([given], tmp_path)]
    assert "small_test_since_seen.pdf" in names
    lines = (tmp_path / "small_test_since_seen.csv").read_text().splitlines()
    assert lines[-1].startswith("a,3-4,12.0")


def test_only_controlled_and_onset_tables_speak_of_effects():
    labels = np.ones((HANDS, 5), np.uint8)
    ordinary = made(finger_visible=labels, finger_cause=labels)
    for table in tables.all_of([ordinary]):
        assert "effect" not in table.caption.lower()
    covering = made(controlled_target=np.repeat([0.0, 0.25, 0.5, 0.75], 12))
    (table,) = tables.all_of([covering])
    assert table.caption.startswith("Effect of")


def test_rows_that_meet_in_a_mixed_table_are_told_apart():
    """One method with two sources of boxes, and two files of one name."""
    pair = [made("a", 10), made("a", 12, box="gt_joints x 1.5"), made("b", 9), made("b", 9)]
    (table, *_) = tables.all_of(pair, mixed=True)
    names = [row.label for row in table.rows]
    assert sorted(names) == ["a (gt_joints x 1.5)", "a (visible_mask x 1.5)", "b", "b (2)"]
    assert "boxes: as footnoted" in table.caption
    (note,) = (note for note in table.notes if note.startswith("differs: boxes"))
    assert "gt_joints x 1.5: a (gt_joints x 1.5)" in note


def test_a_file_of_unknown_boxes_overwrites_no_other_table():
    both = [made("ours", 10), made("theirs", 11, box="unknown")]
    found = tables.all_of(both)
    names = [table.name for table in found]
    assert {"small_test_comparison", "small_test_unknown_comparison"} <= set(names)
    assert len(set(names)) == len(names)
    theirs = found[names.index("small_test_unknown_comparison")]
    assert any("box_source" in note for note in theirs.notes)


def test_marks_do_not_vanish_from_tables_of_many_rows():
    """Holm multiplies p by some two hundred here."""
    many = [made(f"m{k}", noisy(10 + 5 * k, k)) for k in range(100)]
    (table, *_) = tables.all_of(many)
    assert all("†" in row.cells["mpjpe_mm"].text for row in table.rows[1:])


def test_latex_of_signs_that_its_fonts_lack():
    given = [made("α_手 <b> | 50 % “é”", 10)]
    text = FORMATS["latex"][0](tables.all_of(given)[0])
    assert r"U+03B1 \_U+624B  \textless{}b\textgreater{} \textbar{} 50 \% ``é''" in text


def test_names_with_signs_of_formulas_are_drawn(tmp_path):
    names = [r"a$\frac$b", "_hidden", 99 * "x"]
    drawn = plots.pck_curves([made(name, 10 + k) for k, name in enumerate(names)], tmp_path)
    (pdf,) = (path for path in drawn if path.suffix == ".pdf")
    assert pdf.read_bytes().startswith(b"%PDF")
    kept = [legible(name) for name in names]
    assert kept[0] == r"a\$\frac\$b"
    assert not kept[1].startswith("_")
    assert len(kept[2]) < 50
