"""The benchmarks' table, its JSON, and the comparison with an earlier run. Nothing is timed."""

from __future__ import annotations

import dataclasses
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parent / "bench"


@pytest.fixture(scope="module")
def bench() -> Iterator[Any]:
    """Imports a module of `tests/bench`, which is run as a folder: they know no package."""
    sys.path.insert(0, str(BENCH))
    before = set(sys.modules)
    try:
        yield importlib.import_module
    finally:
        sys.path.remove(str(BENCH))
        for name in set(sys.modules) - before:
            if str(BENCH) in str(getattr(sys.modules[name], "__file__", "")):
                del sys.modules[name]


@pytest.fixture
def row(bench: Any) -> Any:
    return bench("table").Row


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def test_a_row_holds_median_and_quartiles(row: Any) -> None:
    made = row.of("sweep", "a", [5.0, 1.0, 3.0, 2.0, 4.0], "ms")
    assert (made.median, made.low, made.high, made.repeats) == (3, 2, 4, 5)
    once = row.of("sweep", "a", [7.0], "ms")
    assert (once.median, once.low, once.high, once.repeats) == (7, 7, 7, 1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.median = 1.0


@pytest.mark.parametrize(
    ("least", "most", "missed", "wish"),
    [
        (None, None, False, ""),
        (3, None, False, "≥ 3"),
        (3.1, None, True, "≥ 3.1 MISSED"),
        (None, 3, False, "≤ 3"),
        (None, 2.9, True, "≤ 2.9 MISSED"),
        (1, 2, True, "≥ 1 and ≤ 2 MISSED"),
        (None, 0, True, "≤ 0 MISSED"),
    ],
)
def test_a_missed_wish_is_said_in_words(
    row: Any, least: float | None, most: float | None, missed: bool, wish: str
) -> None:
    made = row.of("p", "a", [3.0], "×", least=least, most=most)
    assert (made.missed, made.wish) == (missed, wish)


def test_the_end_names_what_was_missed(bench: Any, row: Any) -> None:
    met, missed, free = (row.of("p", n, [3.0], "×", most=m)
                         for n, m in (("met", 3), ("late", 2), ("free", None)))  # fmt: skip
    end = bench("table").missed
    assert end([met, missed, free]) == "1 of 2 wishes are missed: p: late."
    assert end([met, free]) == "All 1 wishes are met."
    assert end([free]) == "No line has a wish."


@pytest.mark.parametrize(
    ("value", "said"),
    [(13_208.4, "13208"), (99.96, "100"), (51.23, "51.2"), (0.5436, "0.544"), (0, "0"),
     (0.0042, "0.0042"), (4.1e-6, "4.1e-06"), (1e-4, "0.0001"), (-3.14159, "-3.14"), (None, "")],
)  # fmt: skip
def test_numbers_have_three_digits(bench: Any, value: float | None, said: str) -> None:
    assert bench("table").plain(value) == said


def test_every_row_is_a_line_under_its_titles(bench: Any, row: Any) -> None:
    rows = [
        row.of("sweep", "loop / map", [50.0, 51.0, 52.0], "×", yardstick="the loop", least=40),
        row.of("import", "a much longer name of a line", [7.0], "ms"),
    ]
    head, rule, first, second = bench("table").table(rows).split("\n")
    assert cells(head) == ["part", "line", "median", "unit", "quartiles", "n", "wanted",
                           "yardstick"]  # fmt: skip
    assert set(rule) == {"-"}
    assert cells(first) == [
        "sweep",
        "loop / map",
        "51",
        "×",
        "50.5 to 51.5",
        "3",
        "≥ 40",
        "the loop",
    ]
    assert cells(second) == ["import", "a much longer name of a line", "7", "ms", "1"]
    start = head.index("wanted")
    assert first[start:].startswith("≥ 40")


def test_an_earlier_run_adds_its_median_and_the_change(bench: Any, row: Any) -> None:
    now = [row.of("p", name, [3.0], "ms") for name in ("slower", "new", "was nothing")]
    then = [row.of("p", "slower", [2.0], "ms"), row.of("other part", "new", [2.0], "ms"),
            row.of("p", "was nothing", [0.0], "")]  # fmt: skip
    head, _, slower, new, nothing = bench("table").table(now, then).split("\n")
    assert cells(head)[-3:] == ["earlier", "change", "yardstick"]
    assert cells(slower)[-2:] == ["2", "+50%"]
    assert cells(new) == ["p", "new", "3", "ms", "1"]
    assert cells(nothing)[-1] == "0"  # no change in per cent of nothing


def test_what_is_written_is_read(bench: Any, row: Any, tmp_path: Path) -> None:
    table = bench("table")
    rows = [
        row.of("p", "a × b", [1.0, 2.0], "×", yardstick="c", most=0.3),
        row.of("p", "d", [1.0], ""),
    ]
    table.write(tmp_path / "found.json", {"cores": "2"}, rows)
    assert table.read(tmp_path / "found.json") == ({"cores": "2"}, rows)


def test_the_command_runs_the_parts_that_are_asked_for(
    bench: Any, row: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[str, bool]] = []

    def part(name: str) -> Any:
        def rows(quick: bool) -> Iterator[Any]:
            asked.append((name, quick))
            yield row.of(name, "line", [2.0], "ms", most=1)

        return rows

    parts = {name: part(name) for name in ("one", "two", "three")}
    main, file = bench("command").main, tmp_path / "found.json"
    main(["--only", "three", "one", "--quick", "--json", str(file)], parts)
    assert asked == [("one", True), ("three", True)]  # in the order of the table
    said = capsys.readouterr().out
    assert "2 of 2 wishes are missed" in said  # said, and that is all: no exit status
    machine, rows = bench("table").read(file)
    assert [r.part for r in rows] == ["one", "three"]
    assert {"python", "torch", "processor", "torch threads", "OMP_WAIT_POLICY"} <= set(machine)
    main(["--against", str(file)], parts)
    said = capsys.readouterr().out
    assert "The earlier run was on an equal machine." in said and "+0%" in said
    with pytest.raises(SystemExit):
        main(["--only", "four"], parts)


def test_files_are_shown_together_without_measuring(
    bench: Any, row: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [tmp_path / f"{name}.json" for name in ("one", "two")]
    for file in files:
        rows = [row.of(file.stem, "wished", [2.0, 3.0, 4.0], "ms", yardstick="a person", most=4),
                row.of(file.stem, "free", [2.0], "")]  # fmt: skip
        bench("table").write(file, {"cores": "17"}, rows)
    bench("command").main(["--show", *map(str, files), "--markdown"], {})
    said = capsys.readouterr().out
    assert "cores: 17" in said and "free" not in said
    for name in ("one", "two"):
        assert f"| {name}: wished | 3 ms | 2.5 to 3.5 | ≤ 4 | a person |" in said


def test_another_machine_is_named(bench: Any) -> None:
    described = bench("machine").described
    here = {"torch": "2", "cores": "2"}
    assert "with cores 8." in described(here, {"torch": "2", "cores": "8"})
    assert "earlier" not in described(here)


def test_every_part_stands_in_a_file_of_its_own(bench: Any) -> None:
    parts = bench("command").PARTS
    assert {f"{name}.py" for name in parts.values()} == {p.name for p in BENCH.glob("bench_*.py")}
