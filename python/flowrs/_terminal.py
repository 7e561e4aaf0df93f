"""Plain text for people: a progress bar, tables, and numbers with units.

Nothing here needs colours, cursor codes or a terminal, and nothing here raises because of the
stream that it writes to: a program never fails for the sake of its progress bar.
"""

from __future__ import annotations

import os
import re
import sys
import time
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TextIO

_SECONDS_BETWEEN_REDRAWS = 0.1
_SECONDS_BETWEEN_PLAIN_LINES = 10.0
_WIDEST_BAR = 24
_NARROWEST_BAR = 4
_DEFAULT_WIDTH = 80
_UNPRINTABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


class Progress:
    """Shows how far a piece of work has come, as one line that is redrawn.

    On a terminal (or in a notebook) the line is redrawn at most ten times a second. Anywhere
    else a few plain lines appear: one for each quarter of the work, or one every ten seconds
    when the total is unknown. ``FLOWRS_PROGRESS=0`` in the environment turns all of it off.

    Args:
        label: what is being done, at the beginning of the line.
        total: the amount of work, or None when it is unknown.
        stream: where to write; standard error by default.
        unit: "B" counts bytes and shows them with units; anything else follows the counts.
        enabled: False shows nothing.

    Example:
        >>> import sys
        >>> with Progress("training", total=2, stream=sys.stdout) as progress:
        ...     progress.update(1)
        ...     progress.update(2, "loss 0.1")
        training: 1/2 (50 %)
        training: 2/2 (100 %) loss 0.1
    """

    def __init__(
        self,
        label: str,
        total: int | None = None,
        *,
        stream: TextIO | None = None,
        unit: str = "",
        enabled: bool = True,
    ) -> None:
        """Shows nothing yet: the first line comes with the first update."""
        self._label = label
        self._total = total if total is not None and total > 0 else None
        self._stream = stream if stream is not None else sys.stderr
        self._unit = unit
        self._enabled = enabled and self._stream is not None and _switched_on()
        self._redraws = self._enabled and _can_redraw(self._stream)
        self._done = 0
        self._note = ""
        self._started = time.monotonic()
        self._last_shown: float | None = None
        self._last_quarter = 0
        self._drawn_width = 0
        self._shown: tuple[int, str] | None = None

    def __enter__(self) -> Progress:
        """Returns itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the line."""
        self.close()

    def update(self, done: int, note: str = "") -> None:
        """Sets how much is done in all, and shows it when it is time to.

        Args:
            done: the amount done since the beginning, in the units of the total.
            note: a few words for the end of the line, such as the present loss.
        """
        self._done = done
        self._note = note
        if self._enabled and (self._redraw_is_due() if self._redraws else self._line_is_due()):
            self._show()

    def advance(self, amount: int = 1, note: str = "") -> None:
        """Adds to the amount done, and shows it when it is time to.

        Args:
            amount: what came to the amount done since the last update.
            note: a few words for the end of the line.
        """
        self.update(self._done + amount, note)

    def close(self) -> None:
        """Shows the last state, if it is not on the screen yet, and ends the line."""
        if self._enabled and self._redraws and (self._done or self._last_shown is not None):
            if self._shown != (self._done, self._note):
                self._show()
            self._write("\n")
        self._enabled = False

    def _redraw_is_due(self) -> bool:
        if self._last_shown is None:
            return True
        return time.monotonic() - self._last_shown >= _SECONDS_BETWEEN_REDRAWS

    def _line_is_due(self) -> bool:
        if self._total is None:
            since = self._started if self._last_shown is None else self._last_shown
            return time.monotonic() - since >= _SECONDS_BETWEEN_PLAIN_LINES
        quarter = min(self._done, self._total) * 4 // self._total
        due = quarter > self._last_quarter
        self._last_quarter = max(quarter, self._last_quarter)
        return due

    def _show(self) -> None:
        self._last_shown = time.monotonic()
        self._shown = (self._done, self._note)
        if not self._redraws:
            self._write(self._line() + "\n")
            return
        width = terminal_width(self._stream) - 1
        elapsed = format_duration(time.monotonic() - self._started)
        # The bar takes what the words leave, with its brackets and the space after it.
        room = width - display_width(self._line(elapsed=elapsed)) - 3
        line = clip(self._line(self._bar(room), elapsed), width)
        padding = " " * max(0, min(self._drawn_width, width) - display_width(line))
        self._drawn_width = display_width(line)
        self._write("\r" + line + padding)

    def _line(self, bar: str = "", elapsed: str = "") -> str:
        count = format_bytes if self._unit == "B" else str
        unit = "" if self._unit in ("", "B") else f" {self._unit}"
        if self._total is None:
            amount = f"{count(self._done)}{unit}"
        else:
            percent = min(self._done, self._total) * 100 // self._total
            amount = f"{count(self._done)}/{count(self._total)}{unit} ({percent} %)"
        parts = [f"{self._label}:", bar, amount, elapsed, self._note]
        return " ".join(part for part in parts if part)

    def _bar(self, room: int) -> str:
        if self._total is None or room < _NARROWEST_BAR:
            return ""
        width = min(room, _WIDEST_BAR)
        filled = min(self._done, self._total) * width // self._total
        return "[" + "#" * filled + "." * (width - filled) + "]"

    def _write(self, text: str) -> None:
        try:
            try:
                self._stream.write(text)
            except UnicodeEncodeError:
                self._stream.write(text.encode("ascii", "replace").decode("ascii"))
            self._stream.flush()
        except (OSError, ValueError, AttributeError):
            # The stream is closed, full or no stream at all: the work goes on without it.
            self._enabled = False


def table(
    rows: Iterable[Sequence[object]],
    header: Sequence[object] | None = None,
    align: str = "",
) -> str:
    """Lines cells up in columns, by the width that they have on a screen.

    Args:
        rows: the rows, each a sequence of cells; short rows end early.
        header: the names of the columns, underlined, or None.
        align: one letter for each column, "l" (left, the default) or "r" (right).

    Returns:
        The lines, without spaces at their ends, joined by newlines; "" for no rows at all.

    Example:
        >>> print(table([["dense1", 401408], ["dense2", 5120]], ["layer", "weights"], "lr"))
        layer   weights
        ------  -------
        dense1   401408
        dense2     5120
    """
    cells = [[str(cell) for cell in row] for row in rows]
    if header is not None:
        cells.insert(0, [str(cell) for cell in header])
    columns = max((len(row) for row in cells), default=0)
    widths = [
        max(display_width(row[column]) for row in cells if column < len(row))
        for column in range(columns)
    ]
    if header is not None:
        cells.insert(1, ["-" * width for width in widths])
    lines = []
    for row in cells:
        padded = []
        for column, cell in enumerate(row):
            padding = " " * (widths[column] - display_width(cell))
            padded.append(padding + cell if align[column : column + 1] == "r" else cell + padding)
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def display_width(text: str) -> int:
    r"""The number of columns that a text takes on a screen.

    Args:
        text: one line.

    Returns:
        The width: 2 for wide East Asian characters, 0 for combining ones, 1 for others.

    Example:
        >>> display_width("ab"), display_width("数字"), display_width("e\u0301")
        (2, 4, 1)
    """
    if text.isascii():
        return len(text)
    return sum(_character_width(character) for character in text)


def printable(text: str) -> str:
    r"""A text of one line with everything escaped that could move the cursor.

    Args:
        text: the text, perhaps out of a file that is not trusted.

    Returns:
        The text, with control characters as Python writes them.

    Example:
        >>> print(printable("dense\x1b[2J"))
        dense\x1b[2J
    """
    return _UNPRINTABLE.sub(lambda found: repr(found[0])[1:-1], text)


def clip(text: str, width: int) -> str:
    """Cuts a text off where it would leave a screen of the given width.

    Args:
        text: one line.
        width: the columns that there are.

    Returns:
        The text, or as much of its beginning as fits.

    Example:
        >>> clip("training", 5)
        'train'
    """
    used = 0
    for position, character in enumerate(text):
        used += _character_width(character)
        if used > width:
            return text[:position]
    return text


def format_bytes(count: float) -> str:
    """A number of bytes in the unit that suits it (1 kB = 1000 B).

    Args:
        count: the number of bytes.

    Returns:
        Three digits or so, and the unit.

    Example:
        >>> format_bytes(8), format_bytes(1605632), format_bytes(11_490_434)
        ('8 B', '1.61 MB', '11.5 MB')
    """
    if abs(count) < 1000:
        return f"{count:.0f} B"
    for unit in ("kB", "MB", "GB", "TB"):
        count /= 1000
        # 999.5 would be rounded up to 1000 of this unit.
        if abs(count) < 999.5 or unit == "TB":
            break
    return f"{count:.{_decimals(count)}f} {unit}"


def format_duration(seconds: float) -> str:
    """A time in the unit that suits it.

    Args:
        seconds: the time in seconds.

    Returns:
        Three digits or so and the unit, or minutes and seconds, or hours and minutes.

    Example:
        >>> format_duration(0.00042), format_duration(2.5), format_duration(75)
        ('420 us', '2.50 s', '1 min 15 s')
    """
    for scale, unit in ((1e6, "us"), (1e3, "ms"), (1.0, "s")):
        value = seconds * scale
        if abs(value) < (59.95 if unit == "s" else 999.5):
            return f"{value:.{_decimals(value)}f} {unit}"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def terminal_width(stream: TextIO) -> int:
    """The number of columns of the terminal behind a stream.

    Args:
        stream: the stream that is written to.

    Returns:
        ``COLUMNS`` from the environment, else what the terminal says, else 80; at least 10.
    """
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns) > 0:
        return max(10, int(columns))
    try:
        return max(10, os.get_terminal_size(stream.fileno()).columns or _DEFAULT_WIDTH)
    except (OSError, ValueError, AttributeError):
        return _DEFAULT_WIDTH


def _character_width(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def _decimals(value: float) -> int:
    # The limits are where the digits before the point grow by rounding.
    if value == 0 or abs(value) >= 99.95:
        return 0
    return 1 if abs(value) >= 9.995 else 2


def _switched_on() -> bool:
    return os.environ.get("FLOWRS_PROGRESS", "").strip().lower() not in ("0", "off", "false", "no")


def _can_redraw(stream: TextIO) -> bool:
    # A notebook's stream is no terminal, but it understands a carriage return.
    if type(stream).__module__.partition(".")[0] == "ipykernel":
        return True
    try:
        return stream.isatty() and os.environ.get("TERM") != "dumb"
    except (OSError, ValueError, AttributeError):
        return False
