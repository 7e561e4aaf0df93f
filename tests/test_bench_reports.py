"""The reports of the benches: tables, goals, the roofline, and runs that are kept."""

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

BENCHES = Path(__file__).parents[1] / "benches"
sys.path.insert(0, str(BENCHES))

import run as command  # noqa: E402 - found by the line above
from harness import case, goals, kept, picture, report, roofline  # noqa: E402
from harness.kept import Run  # noqa: E402
from harness.measure import Outcome, Series  # noqa: E402


def outcome():
    chosen = case.load("mlp_train")
    names = {"cores": [2.0] * 3, "others": [0.25] * 3}
    return Outcome(
        chosen,
        [
            Series("flowrs", 2, seconds=[1e-3, 2e-3, 1e-3], **names),
            Series("jax", 2, seconds=[2e-3, 3e-3, 1.5e-3], **names),
            Series("numpy", 2, trouble="the loss of step 3 is 7 and must be 1"),
        ],
        ["torch"],
        {2: [chosen.flop * 2e3] * 3},
    )


def test_the_report_has_medians_ratios_shares_failures_and_absences():
    text = report.terminal(outcome())
    flowrs, jax = (
        next(line.split() for line in text.splitlines() if line.startswith(name))
        for name in ("flowrs ", "jax ")
    )
    assert flowrs == ["flowrs", "1,000", "1,000", "1.000", "1.00x", "50%", "2.00"]
    assert jax == ["jax", "500", "667", "2.000", "1.50x", "25%", "2.00"]
    assert "numpy, threads 2: NOT MEASURED: the loss of step 3 is 7 and must be 1" in text
    assert "not installed: torch" in text
    assert "goal: at 2 threads 1.60x the fastest peer (jax): 1.50x: NOT MET" in text
    assert "goal: at 2 threads 80% of the FMA peak: 50%: NOT MET" in text
    assert "other processes used 0.25 cores" in text


def test_operations_are_compared_with_the_best_peer_and_with_a_copy():
    chosen = case.load("operations")
    names = [part.title for part in chosen.parts]
    chain, copy = names.index("relu(x * a + b) * x, 4194304 elements"), len(names) - 1
    loads = {"cores": [1.0] * 3, "others": [0.0] * 3}
    series = [
        Series("flowrs", 2, 0, seconds=[1e-3] * 3, **loads),
        Series("torch", 2, 0, seconds=[3e-3] * 3, **loads),
        Series("torch-channels-last", 2, 0, seconds=[2e-3] * 3, **loads),
        Series("flowrs", 2, chain, seconds=[4e-3] * 3, **loads),
        Series("flowrs", 2, copy, unable="a copy is none of its operations"),
        Series("torch", 2, copy, seconds=[1.6e-3] * 3, **loads),
    ]
    peak = {2: [chosen.parts[0].flop / 1e-3 * 2] * 3}
    found = Outcome(chosen, series, [], peak)
    (_, rows), *_ = report.tables(found)
    assert rows[1][1:5] == ["1.000", "3.000", "2.000", "2.00x"]
    assert rows[1][5].endswith("(50% of peak)")
    assert rows[1 + chain][1:] == ["4.000", "-", "-", "-", "16.8 GB/s (80% of a copy)"]
    assert found.failed == []


def test_a_step_of_microseconds_has_its_goal():
    chosen = case.load("tiny_train")
    loads = {"cores": [1.0], "others": [0.0]}
    slow = Outcome(chosen, [Series("flowrs", 1, seconds=[12e-6], **loads)], [])
    assert "goal: a step at 1 thread takes less than 10 us: 12.0 us: NOT MET" in report.terminal(
        slow
    )
    assert "0.0120" in report.terminal(slow)


def test_the_written_report_has_the_same_numbers_and_the_machine():
    text = report.markdown(Run("benches/run.py --write", {"processor": "abacus"}, [outcome()]))
    assert "Made by `benches/run.py --write`" in text
    assert "| jax | 500 | 667 | 2.000 | 1.50x | 25% | 2.00 |" in text
    assert "- not installed: torch" in text
    assert "| processor | abacus |" in text
    found = "at 2 threads 1.60x the fastest peer (jax) | 1.50x | NOT MET |"
    assert f"| mlp_train | {found}" in text
    assert "Not measured in this run: alexnet_train, bandwidth, conv1d_train," in text
    assert report.PICTURE not in text
    assert report.PICTURE in report.markdown(Run("", {}, [outcome()]), has_picture=True)


def timed(name, *times, **fields):
    """An outcome of a case, from (engine, part, milliseconds) at two threads."""
    series = [
        Series(engine, 2, part, seconds=[milliseconds / 1e3], cores=[1.0], others=[0.0])
        for engine, part, milliseconds in times
    ]
    return Outcome(case.load(name), series, [], **fields)


def verdicts(outcome):
    return {goal.what: (goal.found, goal.verdict) for goal in goals.goals(outcome)}


def test_goals_name_the_peer_that_counts():
    found = verdicts(
        timed("lenet_infer_1", ("flowrs", 0, 1.0), ("onnxruntime", 0, 0.8), ("jax", 0, 2.1))
    )
    assert found == {
        "at 2 threads 0.90x the fastest peer (onnxruntime)": ("0.80x", "NOT MET"),
        "at 2 threads without onnxruntime 2.00x the fastest peer (jax)": ("2.10x", "met"),
    }
    found = verdicts(
        timed(
            "lenet_train", ("flowrs", 0, 1.0), ("flowrs-strict", 0, 1.3), ("torch-compile", 0, 2.4)
        )
    )
    assert found == {
        "at 2 threads 2.30x the fastest peer (torch-compile)": ("2.40x", "met"),
        "at 2 threads with strict precision 1.90x the fastest peer (torch-compile)": (
            "1.85x",
            "NOT MET",
        ),
    }


def test_goals_of_sizes_are_for_each_of_them_for_one_or_for_their_mean():
    found = verdicts(
        timed(
            "resnet18_train",
            *(("flowrs", 0, 1.0), ("jax", 0, 1.1), ("flowrs", 1, 1.0), ("jax", 1, 1.1)),
        )
    )
    assert found == {
        "batch 32, at 2 threads 1.20x the fastest peer (jax)": ("1.10x", "NOT MET"),
        "batch 128, at 2 threads 0.90x the fastest peer (jax)": ("1.10x", "met"),
    }
    sizes = timed(
        "mlp_sizes", *(("flowrs", 0, 1.0), ("jax", 0, 0.8), ("flowrs", 3, 1.0), ("torch", 3, 5.0))
    )
    assert verdicts(sizes) == {
        "at 2 threads each of 2 sizes 0.90x its fastest peer": (
            "0.80x at least (MLP train: 784-512-10, relu, SGD 0.01, batch 1; jax)",
            "NOT MET",
        ),
        "at 2 threads geometric mean of 2 sizes 1.20x the fastest peers": ("2.00x", "met"),
    }
    large = timed("vgg11_train", ("flowrs", 1, 1.0), ("torch", 1, 1.5))
    least, mean = goals.overall([sizes, large])
    assert (least.found[:5], least.met) == ("0.80x", False)
    assert mean.what.startswith("geometric mean of 3 models and sizes")
    assert mean.found == f"{6 ** (1 / 3):.2f}x"


def test_goals_compare_precisions_and_memory():
    double = timed("mlp_double_train", ("flowrs-direct", 0, 1.0), ("flowrs-direct", 1, 2.3))
    (goal,) = goals.goals(double)
    assert (goal.found, goal.met) == ("2.30x", False)
    forced = [("flowrs", 0, 0.5), ("flowrs", 1, 2.0)]
    forced += [("flowrs-direct", 0, 1.0), ("flowrs-direct", 1, 2.1)]
    (goal,) = goals.goals(timed("lenet_double_train", *forced))
    assert (goal.found, goal.met) == ("2.10x", True)
    series = [Series("flowrs", 2, peak_bytes=[90, 110]), Series("jax", 2, peak_bytes=[200])]
    memory = Outcome(case.load("memory"), [*series, Series("torch", 2, peak_bytes=[80])], [])
    (goal,) = goals.goals(memory)
    assert goal.what.endswith("at most 1.00x the memory of torch")
    assert (goal.found, goal.met) == ("1.25x", False)


def test_a_run_is_kept_and_read_again(tmp_path):
    first = Run("first", {"processor": "abacus"}, [outcome(), timed("tiny_train")])
    first.save(tmp_path / "first.json")
    again = kept.load(tmp_path / "first.json")
    assert (again.command, again.facts) == ("first", first.facts)
    assert report.markdown(again) == report.markdown(first)
    second = Run("second", {}, [timed("mlp_train", ("flowrs", 0, 1.0))])
    both = kept.merged([again, second])
    assert both.command == "first` and `second"
    assert [len(one.series) for one in both.outcomes] == [1, 0]
    runs = [Run("", {"versions": "flowrs 1, jax 2"}), Run("", {"versions": "flowrs 3"})]
    assert kept.merged(runs).facts == {"versions": "flowrs 3, jax 2"}
    (tmp_path / "first.json").write_text('{"command": "first", "facts": {}}')
    with pytest.raises(kept.KeptError, match=r"first\.json: KeyError: 'cases'"):
        kept.load(tmp_path / "first.json")


def test_an_interrupted_run_keeps_the_cases_before(tmp_path, monkeypatch, capsys):
    def one(chosen, options):
        if chosen.name == "tiny_train":
            raise KeyboardInterrupt
        return outcome()

    monkeypatch.setattr(command, "FOLDER", tmp_path / "benches")
    monkeypatch.setattr(command, "_run", one)
    monkeypatch.setattr(command.data, "check_folders", lambda: None)
    monkeypatch.setattr(command.signal, "signal", lambda *_: None)
    (tmp_path / "benches").mkdir()
    (tmp_path / "README.md").write_text("nothing to replace")
    assert command.main(["--write", "--case", "mlp_train,tiny_train,vgg11_train"]) == 130
    assert "of 3 cases 1 are done" in capsys.readouterr().err
    (path,) = (tmp_path / "benches" / "results").iterdir()
    assert [found.case.name for found in kept.load(path).outcomes] == ["mlp_train"]
    assert "| jax | 500 |" in (tmp_path / "benches" / "RESULTS.md").read_text()
    assert (tmp_path / "README.md").read_text() == "nothing to replace"
    (tmp_path / "benches" / "RESULTS.md").unlink()
    assert command.main(["--report", str(path)]) == 0
    assert "| jax | 500 |" in (tmp_path / "benches" / "RESULTS.md").read_text()


def test_the_readme_gets_the_tables_of_the_report():
    outcomes = [timed(name, ("flowrs", 0, 3.0)) for name in report.IN_README]
    text = (BENCHES.parent / "README.md").read_text()
    made = report.readme(text, outcomes)
    assert report.readme(made, outcomes) == made
    before, _, rest = text.partition(report.README_MARKS[0])
    assert made.startswith(before) and made.endswith(rest.partition(report.README_MARKS[1])[2])
    results = report.markdown(Run("", {}, outcomes)).splitlines()
    rows = [line for line in made[len(before) :].splitlines() if line.startswith("| flowrs |")]
    assert len(rows) == 3
    assert set(rows) <= set(results)
    assert report.readme(text, outcomes[1:]) is None
    assert report.readme("no marks", outcomes) is None


def measured():
    """An outcome of operations, and one of a model in two sizes."""
    operations = case.load("operations")
    names = [part.title for part in operations.parts]
    chain, copy = names.index("relu(x * a + b) * x, 4194304 elements"), len(names) - 1
    found = timed(
        "operations",
        *(("torch", copy, 2.0), ("flowrs", chain, 5.0), ("flowrs", 0, 1.0)),
        peaks={2: [3e11]},
    )
    return [found, timed("resnet18_train", ("flowrs", 0, 200.0), ("flowrs", 1, 900.0))]


def test_the_roofline_has_operations_and_models_at_their_places():
    roof = roofline.roof(measured(), 2)
    assert (roof.flops, roof.bandwidth) == (3e11, 2 * 4 * 4194304 / 2e-3)
    assert roof.at(1.0) == roof.bandwidth and roof.at(1e4) == roof.flops
    tracks = roofline.tracks(measured(), 2)
    by_label = {track.label: track for track in tracks}
    assert set(by_label) == {
        *("conv 5x5 1-32: forward", "relu(x * a + b) * x", "ResNet-18 train, batch 32 to 128"),
    }
    # Four FLOPs for four arrays of four bytes.
    assert by_label["relu(x * a + b) * x"].points == ((0.25, 4 * 4194304 / 5e-3),)
    small, large = by_label["ResNet-18 train, batch 32 to 128"].points
    assert small[1] == case.load("resnet18_train").parts[0].flop / 0.2
    assert large[0] > 3 * small[0]
    assert roofline.roof(measured()[1:], 2) is None
    large = timed("bandwidth", ("torch", 8, 2.0), ("flowrs", 7, 5.0), peaks={2: [3e11]})
    assert roofline.roof([large], 2) is None and roofline.tracks([large], 2) == []


def test_the_picture_is_svg_with_a_number_for_every_label():
    tracks = roofline.tracks(measured(), 2)
    text = picture.draw(roofline.roof(measured(), 2), tracks, "A & B")
    root = ElementTree.fromstring(text)
    shown = [element.text for element in root.iter() if element.tag.endswith("text")]
    for track in tracks:
        assert track.label in shown
    assert [shown.count(str(number)) for number in (2, 3)] == [2, 2]
    assert any("A & B" in line for line in shown)
    assert "prefers-color-scheme: dark" in text


def test_numbers_in_the_picture_lie_apart():
    point, taken = (400.0, 300.0), []
    for _ in range(40):
        box = picture._free_place(point, 14.0, taken)
        assert not any(box.meets(other) for other in taken)
        taken.append(box)
    assert taken[0].nearest(point)[0] - point[0] < 10
