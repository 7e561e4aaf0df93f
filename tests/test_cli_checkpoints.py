"""The commands about checkpoints: what they say, in tables and JSON, and their exit codes."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch_files

import flowrs as flow
from flowrs._terminal import display_width, printable
from flowrs.cli import main
from flowrs.formats import convert

STEP = "System-Train-TrainStep-train_job"
WEIGHTS = {
    "dense1-weight": np.array([[-1, -0.5, -0.25], [0.25, 0.5, 1]], np.float32),
    "dense1-bias": np.array([0, np.nan, np.inf], np.float32),
    "scale": np.array(2.5),
    STEP: np.array([1200]),
}


@pytest.fixture
def models(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flow.save(WEIGHTS, "models")
    return tmp_path / "models"


@pytest.fixture
def run(capsys):
    """Runs a command; returns its exit code, what it printed, and what it said on the side."""

    def command(*words):
        try:
            code = main([str(word) for word in words])
        except SystemExit as error:
            code = error.code
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


def answer(run, *words):
    code, out, err = run(*words, "--json")
    assert err == ""
    return code, json.loads(out)


def rows(out):
    """The cells of a table, by the column borders that the line under its header shows."""
    lines = out.splitlines()
    line = next(number for number, text in enumerate(lines) if set(text) == {"-", " "})
    starts = [at for at in range(len(lines[line])) if f"  {lines[line]}"[at : at + 3] == "  -"]
    ends = [*starts[1:], None]
    table = lines[line - 1 : line] + lines[line + 1 :]
    end = table.index("") if "" in table else len(table)
    return [
        [text[start:stop].strip() for start, stop in zip(starts, ends, strict=True)]
        for text in table[:end]
    ]


@pytest.mark.usefixtures("models")
class TestLs:
    def test_variables(self, run):
        code, out, err = run("ls", "models")
        assert (code, err) == (0, "")
        assert rows(out) == [
            ["name", "type", "shape", "elements", "size"],
            [STEP, "int64", "1", "1", "8 B"],
            ["dense1-bias", "float32", "3", "3", "12 B"],
            ["dense1-weight", "float32", "2 x 3", "6", "24 B"],
            ["scale", "float64", "scalar", "1", "8 B"],
        ]
        assert out.endswith("\n4 variables, 11 elements, 52 B, saved after step 1,200\n")

    def test_some_variables_in_the_order_of_their_size(self, run):
        code, out, _ = run("ls", "models", "--sort", "size", "dense*", "scale")
        assert [row[0] for row in rows(out)[1:]] == ["dense1-weight", "dense1-bias", "scale"]
        assert code == 0 and "3 of 4 variables, 10 elements, 44 B" in out

    def test_json(self, run):
        code, found = answer(run, "ls", "models")
        assert code == 0 and found["path"] == "models" and found["format"] == "checkpoint"
        assert (found["complete"], found["step"], found["size_in_bytes"]) == (True, 1200, 52)
        assert found["variables"][2] == {
            "name": "dense1-weight",
            "type": "float32",
            "shape": [2, 3],
            "elements": 6,
            "size_in_bytes": 24,
        }

    def test_what_was_not_finished_and_what_has_no_meta(self, run):
        os.unlink("models/snapshot_done")
        os.unlink("models/scale/meta")
        code, out, err = run("ls", "models")
        assert code == 0 and rows(out)[4] == ["scale", "?", "no meta", "", "8 B"]
        assert err == ("flowrs: models has no snapshot_done: perhaps its saving was not finished\n")
        assert answer(run, "ls", "models")[1]["variables"][3]["type"] is None

    def test_the_checkpoints_of_a_folder(self, run):
        for step in (10, 9):
            flow.save({STEP: np.array([step])}, f"many/step_{step}")
        os.makedirs("many/other")
        os.makedirs("many/.step_1.tmp-1-0123456789abcdef")
        open("many/.step_1.tmp-1-0123456789abcdef/snapshot_done", "w").close()
        code, out, _ = run("ls", "many")
        assert [row[:4] for row in rows(out)] == [
            ["checkpoint", "variables", "size", "step"],
            ["step_9", "1", "8 B", "9"],
            ["step_10", "1", "8 B", "10"],
        ]
        assert code == 0 and out.endswith("2 checkpoints, 16 B\n")
        os.truncate("many/step_9/System-Train-TrainStep-train_job/out", 3)
        assert rows(run("ls", "many")[1])[1][:2] == ["step_9", "damaged"]
        found = answer(run, "ls", "many")[1]["checkpoints"]
        assert [(one["name"], one["step"], one["problem"]) for one in found] == [
            ("step_9", None, "damaged"),
            ("step_10", 10, None),
        ]

    def test_other_formats_and_one_variable(self, run):
        convert("models", "w.safetensors")
        assert (
            "4 variables, 11 elements, 52 B, saved after step 1,200, safetensors"
            in (run("ls", "w.safetensors")[1])
        )
        assert "1 variable, 6 elements, 24 B" in run("ls", "models/dense1-weight")[1]

    def test_mistakes(self, run):
        code, out, err = run("ls", "models", "dense1-wieght")
        assert (code, out) == (1, "") and "did you mean dense1-weight" in err
        code, out, err = run("ls", "absent")
        assert (code, out, err) == (1, "", "flowrs: there is nothing at absent\n")
        assert run("ls")[0] == 2
        assert run("ls", "models", "--sort", "color")[0] == 2

    def test_wide_and_dangerous_names_do_not_move_the_table(self, run):
        flow.save({"数字": np.zeros(2, np.float32), "a\x1b[2Jb": np.zeros(3, np.float32)}, "names")
        _, out, _ = run("ls", "names")
        assert "\x1b" not in out and r"a\x1b[2Jb" in out
        places = [display_width(line[: line.index("float32")]) for line in out.splitlines()[2:4]]
        assert places[0] == places[1]


@pytest.mark.usefixtures("models")
class TestShow:
    def test_statistics_of_all_variables(self, run):
        code, out, _ = run("show", "models")
        assert code == 0
        assert rows(out) == [
            ["name", "type", "shape", "min", "max", "mean", "std", "zeros", "nan", "infinite"],
            [STEP, "int64", "1", "1200", "1200", "1200", "0", "", "", ""],
            ["dense1-bias", "float32", "3", "0", "0", "0", "0"] + ["1 (33 %)"] * 3,
            ["dense1-weight", "float32", "2 x 3", "-1", "1", "0", "0.6614", "", "", ""],
            ["scale", "float64", "scalar", "2.5", "2.5", "2.5", "0", "", "", ""],
        ]

    def test_columns_about_nothing_are_left_away(self, run):
        out = run("show", "models", "scale", STEP)[1]
        assert rows(out)[0] == ["name", "type", "shape", "min", "max", "mean", "std"]

    def test_one_variable_has_a_histogram(self, run, monkeypatch):
        monkeypatch.setenv("COLUMNS", "60")
        code, out, _ = run("show", "models", "dense1-weight")
        assert code == 0 and out.startswith("dense1-weight\n  type      float32\n")
        bars = [line for line in out.splitlines() if " .. " in line]
        assert len(bars) == 16 and sum("#" in bar for bar in bars) == 6
        assert max(map(len, bars)) <= 60
        assert run("show", "models/dense1-weight")[1] == out
        assert run("show", "models", "dense1*", "--histogram")[1].endswith(out)

    def test_json_has_no_nan(self, run):
        code, found = answer(run, "show", "models", "dense1-bias")
        (one,) = found["variables"]
        assert code == 0 and one["statistics"] == {
            "elements": 3,
            "finite": 1,
            "nan": 1,
            "infinite": 1,
            "zeros": 1,
            "minimum": 0,
            "maximum": 0,
            "mean": 0,
            "deviation": 0,
        }
        assert one["histogram"] == {"edges": [0, 0], "counts": [1]}
        flow.save({"w": np.full(2, np.nan)}, "nan")
        (one,) = answer(run, "show", "nan")[1]["variables"]
        assert one["statistics"]["mean"] is None and one["histogram"]["counts"] == []

    def test_what_has_no_numbers(self, run):
        os.unlink("models/scale/meta")
        np.savez("c.npz", c=np.array([1j]), e=np.empty((0, 3)))
        assert rows(run("show", "models")[1])[4][:4] == ["scale", "?", "no meta", ""]
        assert rows(run("show", "c.npz")[1])[1][:4] == ["c", "complex128", "1", ""]
        assert "type   complex128" in run("show", "c.npz", "c")[1]


@pytest.mark.usefixtures("models")
class TestDiff:
    def test_no_difference(self, run):
        convert("models", "copy.npz")
        assert run("diff", "models", "copy.npz") == (0, "no difference: 4 variables, 52 B\n", "")

    def test_every_kind_of_difference(self, run):
        other = {
            "dense1-weight": WEIGHTS["dense1-weight"] + np.float32(0.5),
            "dense1-bias": np.array([0, np.nan, 7], np.float32),
            "scale": np.array([2.5]),
            STEP: np.array([1200], np.int32),
            "new": np.zeros(1),
        }
        flow.save(other, "other")
        code, out, _ = run("diff", "models", "other")
        assert code == 1 and rows(out) == [
            ["name", "difference", "elements", "largest", "relative", "NaN or infinite"],
            [STEP, "type int64 -> int32", "0 of 1", "0", "0", ""],
            ["dense1-bias", "values", "1 of 3", "0", "0", "1"],
            ["dense1-weight", "values", "6 of 6", "0.5", "0.5", ""],
            ["new", "only in B", "", "", "", ""],
            ["scale", "shape scalar -> 1", "", "", "", ""],
        ]
        assert out.endswith("\n5 of 5 variables differ\n")
        code, found = answer(run, "diff", "models", "other", "dense1-weight", "new")
        assert code == 1 and (found["compared"], len(found["differences"])) == (2, 2)
        change = found["differences"][0]["change"]
        assert (change["changed"], change["largest"]) == (6, pytest.approx(0.5))
        assert run("diff", "other", "models", "new")[1].splitlines()[2].split() == [
            "new", "only", "in", "A",
        ]  # fmt: skip

    def test_tolerance(self, run):
        flow.save({**WEIGHTS, "scale": np.array(2.5 + 1e-7)}, "other")
        assert run("diff", "models", "other")[0] == 1
        code, out, _ = run("diff", "models", "other", "--tolerance", "1e-6")
        assert code == 0 and out.startswith("no difference, within 1e-06: 4 variables")
        for wrong in ("-1", "nan", "x"):
            assert run("diff", "models", "other", f"--tolerance={wrong}")[0] == 2

    def test_no_answer_is_not_a_difference(self, run):
        assert run("diff", "models", "absent")[0] == 2
        assert run("diff", "models", "models", "no-such")[0] == 2
        assert run("diff", "models")[0] == 2


@pytest.mark.usefixtures("models")
class TestConvert:
    def test_there_and_back(self, run):
        code, out, err = run("convert", "models", "w.safetensors")
        assert (code, err) == (0, "")
        assert out == ("models (checkpoint) -> w.safetensors (safetensors)\n4 variables, 52 B\n")
        assert run("convert", "w.safetensors", "again")[0] == 0
        assert run("diff", "models", "again")[0] == 0

    def test_from_pytorch(self, run):
        torch_files.save("m.pt", {"model.a": np.ones(2, np.float32), "b": np.ones(1)})
        words = ["m.pt", "new", "--include", "model.*", "--strip", "model."]
        code, found = answer(run, "convert", *words)
        assert code == 0 and (found["names"], found["source_format"]) == (["a"], "PyTorch")
        assert flow.load("new")["a"].shape == (2,)

    def test_remarks(self, run):
        header = b'{"w":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}'
        with open("b.safetensors", "wb") as file:
            file.write(len(header).to_bytes(8, "little") + header + b"\x80\x3f")
        out = run("convert", "b.safetensors", "b")[1]
        assert "float32 now, since checkpoint has no bfloat16: w" in out
        pairs = {str(number): torch_files.integer(number) for number in range(7)}
        pairs["w"] = torch_files.tensor(torch_files.storage("ByteStorage", "0", 1), 0, (), ())
        program = torch_files.program(torch_files.mapping(pairs))
        torch_files.archive("m.pt", program, {"0": b"x"})
        out = run("convert", "m.pt", "m.npz")[1]
        assert "left out, since they are no tensors: 0, 1, 2, 3, 4 and 2 more" in out

    def test_nothing_is_replaced_unasked(self, run):
        run("convert", "models", "w.npz")
        code, _, err = run("convert", "models", "w.npz", "--exclude", "scale")
        assert code == 1 and "w.npz exists already" in err
        assert run("convert", "models", "w.npz", "--exclude", "scale", "--overwrite")[0] == 0
        assert len(np.load("w.npz").files) == 3

    def test_progress_of_long_work(self, run, monkeypatch):
        monkeypatch.setattr("flowrs.cli.output._BYTES_WORTH_A_PROGRESS_BAR", 10)
        code, out, err = run("convert", "models", "w.npz")
        assert code == 0 and "progress" not in out
        assert err.endswith("converting: 52 B/52 B (100 %)\n")
        for words in (["show", "models"], ["diff", "models", "w.npz"]):
            assert "(100 %)" in run(*words)[2]


@pytest.mark.usefixtures("models")
class TestVerify:
    def test_whole_checkpoints(self, run):
        assert run("verify", "models") == (0, "4 variables, 52 B: 4 verified\n", "")
        assert run("verify", "models", "dense*", "--require-checksums")[0] == 0

    def test_damage_is_found_and_named(self, run):
        with open("models/dense1-weight/out", "r+b") as file:
            file.write(b"x")
        code, out, _ = run("verify", "models")
        assert code == 1 and rows(out)[0] == ["damaged", "what is wrong"]
        assert rows(out)[1][0] == "dense1-weight" and "checksum" in rows(out)[1][1]
        assert out.endswith("\n4 variables, 52 B: 3 verified, 1 damaged\n")
        code, found = answer(run, "verify", "models")
        assert code == 1 and list(found["damaged"]) == ["dense1-weight"]
        assert run("verify", "models", "scale")[0] == 0

    def test_without_checksums(self, run):
        flow.checkpoint.save("plain", WEIGHTS, checksum=False)
        code, out, _ = run("verify", "plain", "scale")
        assert code == 0 and out == (
            "1 variable, 8 B: 0 verified, 1 without checksum\nwithout checksum: scale\n"
        )
        assert run("verify", "plain", "--require-checksums")[0] == 1

    def test_other_formats(self, run):
        for name in ("w.safetensors", "w.npz"):
            convert("models", name)
        assert answer(run, "verify", "w.safetensors")[1]["unchecked"] == sorted(WEIGHTS)
        assert answer(run, "verify", "w.npz")[1]["verified"] == sorted(WEIGHTS)
        # Larger than what is read of it when the file is opened.
        np.savez("big.npz", w=np.zeros(100_000))
        with open("big.npz", "r+b") as file:
            file.seek(400_000)
            file.write(b"x")
        assert run("verify", "big.npz")[0] == 1


@pytest.mark.usefixtures("models")
class TestEditing:
    def names(self):
        return sorted(flow.load("models"))

    def test_update_from_another_checkpoint_or_file(self, run):
        other = {"scale": np.array(7.0), "new": np.ones(2, np.float32), "step": np.array(3)}
        flow.save(other, "other")
        convert("other", "other.npz")
        code, out, err = run("update", "models", "other", "scale", "new")
        assert (code, out, err) == (0, "changed 1: scale\nadded 1: new\n", "")
        assert self.names() == sorted([*WEIGHTS, "new"])
        assert flow.load("models")["scale"].numpy() == 7
        code, found = answer(run, "update", "models", "other.npz")
        assert code == 0 and (found["changed"], found["added"]) == (["new", "scale"], ["step"])
        assert run("verify", "models")[0] == 0

    def test_update_fills_with_a_number(self, run):
        words = ["--fill", f"{STEP}=0", "--fill", "dense1-weight=-1.5"]
        assert run("update", "models", *words)[0] == 0
        opened = flow.load("models")
        assert opened[STEP].numpy().tolist() == [0] and opened.step == 0
        assert opened["dense1-weight"].numpy().tolist() == [[-1.5] * 3] * 2
        for rule in ("nothing=1", f"{STEP}=1.5", f"{STEP}={2**63}", "scale=x", "scale"):
            code, out, err = run("update", "models", "--fill", rule)
            assert (code, out) == (1, "") and "--fill" in err
        assert run("update", "models")[0] == 2

    def test_rename(self, run):
        code, out, _ = run("rename", "models", "scale=a/b", "dense1-bias=scale")
        assert (code, out) == (0, "scale -> a/b\ndense1-bias -> scale\n")
        assert self.names() == sorted([STEP, "a/b", "dense1-weight", "scale"])
        for rules in (
            ["x=y"],
            ["scale"],
            ["scale="],
            ["scale=a", "scale=b"],
            ["scale=../x"],
            ["scale=\udcff"],
        ):
            assert run("rename", "models", *rules)[0] == 1
        assert self.names() == sorted([STEP, "a/b", "dense1-weight", "scale"])
        assert answer(run, "rename", "models", "a/b=c")[1]["renamed"] == {"a/b": "c"}

    def test_drop(self, run):
        code, out, _ = run("drop", "models", "dense1*", "--dry-run")
        assert code == 0 and len(self.names()) == 4
        assert out == "dense1-bias\ndense1-weight\nwould drop 2 variables, 36 B\n"
        assert run("drop", "models", "dense1*")[1].endswith("\ndropped 2 variables, 36 B\n")
        assert self.names() == [STEP, "scale"]
        assert answer(run, "drop", "models", "scale")[1]["dropped"] == ["scale"]
        assert run("drop", "models", "scale")[0] == 1


class TestPrune:
    @pytest.fixture(autouse=True)
    def runs(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        manager = flow.checkpoint.CheckpointManager("runs")
        for step, loss in ((100, 0.5), (200, 0.25), (300, 0.75), (1000, 1.0)):
            manager.save(step, {"loss": loss}, {"w": np.ones(2)})
        return manager

    def test_what_nothing_asks_to_keep_is_removed(self, run, runs):
        words = ["prune", "runs", "--keep-last", "1", "--keep-best", "loss:min"]
        code, out, _ = run(*words, "--dry-run")
        assert code == 0 and rows(out) == [
            ["checkpoint", "step", "loss", "verdict"],
            ["step_00000100", "100", "0.5", "would remove"],
            ["step_00000200", "200", "0.25", "kept"],
            ["step_00000300", "300", "0.75", "would remove"],
            ["step_00001000", "1,000", "1", "kept"],
        ]
        assert out.endswith("\nwould remove 2 of 4 checkpoints\n") and len(runs.list()) == 4
        code, found = answer(run, *words)
        assert code == 0 and (found["removed"], found["kept"]) == ([100, 300], [200, 1000])
        assert sorted(os.listdir("runs")) == ["step_00000200", "step_00001000"]

    @pytest.mark.parametrize(
        ("rule", "kept"),
        [
            (["--keep-every=300"], [300, 1000]),
            (["--keep-best=loss:max:2"], [300, 1000]),
            (["--keep-best=no:such:max"], [1000]),
        ],
    )
    def test_rules(self, run, rule, kept):
        assert answer(run, "prune", "runs", *rule)[1]["kept"] == kept

    def test_mistakes(self, run, runs):
        assert run("prune", "runs")[0] == 2
        assert run("prune", "runs", "--keep-best", "loss")[0] == 2
        for words in (["--keep-last=0"], ["--keep-best=loss:best"]):
            assert run("prune", "runs", *words)[0] == 1
        assert run("prune", "absent", "--keep-last=1")[0] == 1
        code, out, _ = run("prune", "runs", "--keep-last=1", "--prefix=x")
        assert code == 0 and "no checkpoint of a manager with the prefix x" in out
        assert len(runs.list()) == 4

    def test_one_of_them_must_be_chosen(self, run):
        for words in (["show", "runs"], ["verify", "runs"], ["convert", "runs", "w.npz"]):
            code, _, err = run(*words)
            assert code == 1 and "a folder of 4; choose one, such as runs/step_00001000" in err

    def test_ls_shows_the_metrics(self, run):
        out = run("ls", "runs")[1]
        assert rows(out)[0] == ["checkpoint", "variables", "size", "step", "saved", "loss"]
        assert [row[5] for row in rows(out)[1:]] == ["0.5", "0.25", "0.75", "1"]


#: A process that is not running: the largest number that one can have, which none gets.
NOBODY = 2**31 - 1


@pytest.mark.usefixtures("models")
class TestClean:
    @pytest.fixture(autouse=True)
    def no_silence_needed(self, monkeypatch):
        monkeypatch.setattr("flowrs._leftovers._SECONDS_OF_SILENCE", -1.0)

    def leftover(self, name="models", process=NOBODY, number="0123456789abcdef", whole=False):
        path = f".{name}.tmp-{process}-{number}"
        os.makedirs(f"{path}/a/b")
        for file in ("a/b/out", "a/b/meta", "flowrs.json", *["snapshot_done"] * whole):
            with open(f"{path}/{file}", "w") as written:
                written.write("12345")
        return path

    def test_what_dead_processes_left_is_removed(self, run):
        self.leftover()
        self.leftover(number="f" * 16, whole=True)
        with open(f".w.npz.tmp-{NOBODY}-{'0' * 16}", "w") as file:
            file.write("x" * 10)
        code, out, err = run("clean", "--dry-run")
        assert (code, err) == (0, "") and out.endswith("\nwould remove 3 of 3, 45 B\n")
        assert len(os.listdir()) == 4
        code, out, _ = run("clean")
        assert code == 0 and out.endswith("\nremoved 3 of 3, 45 B\n")
        assert os.listdir() == ["models"]
        assert run("clean") == (0, "nothing to remove in .\n", "")

    def test_what_may_be_needed_is_kept_and_the_reason_told(self, run):
        self.leftover(process=os.getpid())
        foreign = self.leftover(number="1" * 16)
        with open(f"{foreign}/a/thesis.txt", "w") as file:
            file.write("text")
        linked = self.leftover(number="2" * 16)
        os.symlink("/", f"{linked}/a/c")
        self.leftover(name="lost", whole=True)
        before = sorted(os.listdir())
        code, out, _ = run("clean")
        assert code == 0 and sorted(os.listdir()) == before
        lines = dict(line.strip().split("  ", 1) for line in out.splitlines()[:4])
        kept = {name.strip("."): text.split("kept: it ")[1] for name, text in lines.items()}
        assert kept[f"models.tmp-{os.getpid()}-0123456789abcdef"].endswith("is running")
        assert kept[foreign.strip(".")] == "holds a/thesis.txt, which is no part of a save"
        assert kept[linked.strip(".")] == "holds a/c, which is no part of a save"
        assert out.endswith("\nremoved 0 of 4, 0 B\n")

    def test_a_whole_checkpoint_without_its_name_is_kept(self, run):
        path = self.leftover(name="lost", whole=True)
        assert "it is whole while lost is missing: rename it" in run("clean")[1]
        os.makedirs("lost")
        run("clean")
        assert not os.path.exists(path)

    def test_what_was_just_written_is_kept(self, run, monkeypatch):
        path = self.leftover()
        monkeypatch.setattr("flowrs._leftovers._SECONDS_OF_SILENCE", 60.0)
        assert "it was written less than a minute ago" in run("clean")[1]
        for folder, _, files in os.walk(path):
            for name in ["", *files]:
                os.utime(os.path.join(folder, name), (1e9, 1e9))
        code, found = answer(run, "clean")
        assert code == 0 and found["leftovers"][0]["removed"] and not os.path.exists(path)

    def test_similar_names_are_not_looked_at(self, run):
        names = ["models.tmp-1-0123456789abcdef", ".models.tmp-1-123", ".models.tmp-x-" + "0" * 16]
        for name in names:
            os.makedirs(name)
        assert run("clean", ".") == (0, "nothing to remove in .\n", "")
        assert set(names) < set(os.listdir())
        assert run("clean", "absent")[0] == 1

    def test_a_killed_conversion_is_cleaned_away(self, run):
        program = (
            "import os, sys\n"
            "from flowrs.formats import convert\n"
            "kill = lambda done, total: os.kill(os.getpid(), 9)\n"
            "convert('models', 'w.safetensors', progress=kill)\n"
        )
        done = subprocess.run([sys.executable, "-c", program], timeout=60, check=False)
        assert done.returncode == -9 and len(os.listdir()) == 2
        assert "removed 1 of 1" in run("clean")[1] and os.listdir() == ["models"]


COMMANDS = [
    "ls", "show", "diff", "verify", "convert", "update", "rename", "drop", "prune", "clean",
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_by_examples(run, command):
    code, out, _ = run(command, "--help")
    assert code == 0 and out.startswith(f"usage: flowrs {command} [--help] ")
    assert f"\nexamples:\n  flowrs {command} " in out
    assert max(map(len, out.splitlines())) <= 100
    assert f"flowrs {command} " in run("--help")[1]


def test_a_reader_that_leaves_is_no_error(models):
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "flowrs", "ls", str(models)],
        stdout=write,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.usefixtures("models")
def test_names_that_the_encoding_lacks_are_escaped():
    flow.save({"数": np.zeros(1)}, "other")
    done = subprocess.run(
        [sys.executable, "-m", "flowrs", "ls", "other"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert rb"\u6570" in done.stdout


def test_errors_do_not_move_the_cursor(run, models):
    for words in (["ls", "x\x1b[2J"], ["ls", models, "x\x1b[2J"], ["rename", models, "\x1b[2J=b"]):
        code, _, err = run(*words)
        assert code == 1 and "\x1b" not in err and "[2J" in err


def test_what_is_printable_stays():
    assert printable("dense1/数 é") == "dense1/数 é"
    assert printable("a\nb\x9bc\udc80") == r"a\nb\x9bc\udc80"
