"""Plain text output: widths, tables, units, and a progress bar that never gets in the way."""

import io

import pytest

from flowrs import _terminal
from flowrs._terminal import (
    Progress,
    clip,
    display_width,
    format_bytes,
    format_duration,
    table,
    terminal_width,
)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(_terminal, "time", clock)
    monkeypatch.delenv("FLOWRS_PROGRESS", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    return clock


def test_display_width_counts_columns():
    assert display_width("abc") == 3
    assert display_width("手写数字") == 8
    assert display_width("e\u0301") == 1
    assert display_width("a\u200db") == 2


def test_clip_never_splits_a_wide_character():
    assert clip("手写", 3) == "手"
    assert clip("abc", 3) == "abc"
    assert clip("abc", 0) == ""


def test_table_aligns_by_display_width():
    text = table([["数字", 7], ["ab", 1797]], header=["set", "n"], align="lr")
    assert text.splitlines() == ["set      n", "----  ----", "数字     7", "ab    1797"]


def test_table_takes_short_rows_and_no_rows():
    assert table([["a"], ["bb", "c"]]) == "a\nbb  c"
    assert table([]) == ""
    assert table([], header=["x"]) == "x\n-"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (1605632, "1.61 MB"),
        (99_949_999, "99.9 MB"),
        (99_950_000, "100 MB"),
        (999_600_000, "1.00 GB"),
        (2e16, "20000 TB"),
    ],
)
def test_format_bytes(count, text):
    assert format_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 us"),
        (0.00042, "420 us"),
        (0.0123, "12.3 ms"),
        (0.9996, "1.00 s"),
        (59.9, "59.9 s"),
        (59.97, "1 min 00 s"),
        (75, "1 min 15 s"),
        (7290, "2 h 01 min"),
    ],
)
def test_format_duration(seconds, text):
    assert format_duration(seconds) == text


def test_terminal_width_comes_from_columns_then_the_terminal_then_80(monkeypatch):
    monkeypatch.setenv("COLUMNS", "132")
    assert terminal_width(io.StringIO()) == 132
    for odd in ("", "0", "-3", "wide"):
        monkeypatch.setenv("COLUMNS", odd)
        assert terminal_width(io.StringIO()) == 80
    monkeypatch.setenv("COLUMNS", "1")
    assert terminal_width(io.StringIO()) == 10


def test_a_terminal_sees_one_line_redrawn_at_most_ten_times_a_second(clock):
    stream = Terminal()
    progress = Progress("training", total=1000, stream=stream)
    for done in range(1, 1001):
        clock.now += 0.001
        progress.update(done, f"loss {1 / done:.3f}")
    progress.close()
    text = stream.getvalue()
    assert text.endswith("\n") and text.count("\n") == 1
    assert 9 <= text.count("\r") <= 12
    last = text.rsplit("\r", 1)[1].rstrip()
    assert last == f"training: [{'#' * 24}] 1000/1000 (100 %) 1.00 s loss 0.001"


def test_a_shorter_line_covers_a_longer_one(clock):
    stream = Terminal()
    progress = Progress("x", total=10, stream=stream)
    progress.update(1, "a long note")
    clock.now += 1
    progress.update(2, "b")
    first, second = stream.getvalue().split("\r")[1:]
    assert len(second) == len(first)
    assert second.rstrip().endswith(" b")


def test_a_line_never_reaches_the_last_column(clock, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    stream = Terminal()
    with Progress("训练" * 10, total=3, stream=stream) as progress:
        for done in (1, 2, 3):
            clock.now += 1
            progress.update(done, "note")
    for line in stream.getvalue().rstrip("\n").split("\r"):
        assert display_width(line) <= 19


def test_the_bar_gives_way_to_the_words(clock, monkeypatch):
    lines = {}
    for columns in (80, 44, 30):
        monkeypatch.setenv("COLUMNS", str(columns))
        stream = Terminal()
        with Progress("training", total=2, stream=stream) as progress:
            progress.update(1, "loss 0.1")
        lines[columns] = stream.getvalue().strip()
    assert lines == {
        80: "training: [############............] 1/2 (50 %) 0 us loss 0.1",
        44: "training: [###...] 1/2 (50 %) 0 us loss 0.1",
        30: "training: 1/2 (50 %) 0 us los",
    }


def test_a_pipe_sees_a_line_for_each_quarter(clock):
    stream = io.StringIO()
    with Progress("training", total=600, unit="steps", stream=stream) as progress:
        for _ in range(600):
            progress.advance()
    assert stream.getvalue().splitlines() == [
        "training: 150/600 steps (25 %)",
        "training: 300/600 steps (50 %)",
        "training: 450/600 steps (75 %)",
        "training: 600/600 steps (100 %)",
    ]


def test_a_pipe_sees_unknown_totals_every_ten_seconds(clock):
    stream = io.StringIO()
    with Progress("downloading", unit="B", stream=stream) as progress:
        for second in range(1, 26):
            clock.now += 1
            progress.update(second * 1000)
    assert stream.getvalue() == "downloading: 10.0 kB\ndownloading: 20.0 kB\n"


def test_a_dumb_terminal_sees_plain_lines(clock, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    stream = Terminal()
    with Progress("x", total=1, stream=stream) as progress:
        progress.update(1)
    assert stream.getvalue() == "x: 1/1 (100 %)\n"


@pytest.mark.parametrize("value", ["0", "off", "no", "False"])
def test_the_environment_switches_it_off(clock, monkeypatch, value):
    monkeypatch.setenv("FLOWRS_PROGRESS", value)
    stream = Terminal()
    with Progress("x", total=1, stream=stream) as progress:
        progress.update(1)
    assert stream.getvalue() == ""


def test_enabled_false_shows_nothing(clock):
    stream = Terminal()
    with Progress("x", total=1, stream=stream, enabled=False) as progress:
        progress.update(1)
    assert stream.getvalue() == ""


def test_nothing_is_shown_of_work_that_never_began(clock):
    stream = Terminal()
    with Progress("x", total=5, stream=stream):
        pass
    assert stream.getvalue() == ""


def test_a_closed_stream_is_no_error(clock):
    stream = Terminal()
    progress = Progress("x", total=2, stream=stream)
    progress.update(1)
    stream.close()
    clock.now += 1
    progress.update(2)
    progress.close()
    assert stream.closed


def test_missing_standard_streams_are_no_error(clock, monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr", None)
    progress = Progress("x", total=2)
    progress.update(2)
    progress.close()
    assert capsys.readouterr() == ("", "")


def test_a_stream_that_cannot_encode_gets_question_marks(clock):
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding="ascii")
    with Progress("数", total=1, stream=stream) as progress:
        progress.update(1)
    assert buffer.getvalue() == b"?: 1/1 (100 %)\n"


def test_more_than_the_total_stays_at_100_percent(clock):
    stream = io.StringIO()
    with Progress("x", total=2, stream=stream) as progress:
        progress.update(3)
    assert stream.getvalue() == "x: 3/2 (100 %)\n"
