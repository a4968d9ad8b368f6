"""Make the tables and the plot of the documentation from figures that were written with `--json`.

`python -m benchmarks.report FIGURES.json … [--plot PLOT.svg]` prints Markdown, a table for each file and group:
what ours takes, and how many times that the others take. The plot is of the last file.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

COLUMNS = ("floor", "fifo", "ours")
"""These come first."""
COUNTED = ("acquisitions", "connections")
PLOTTED = ("acquire and release", "hand-over in a queue of 1,000", "cancel one of 10,000")
COLOURS = {"ours": "#c0392b", "floor": "#2c3e50", "fifo": "#2c3e50"}

Cases = Mapping[str, Mapping[str, tuple[float, str]]]
"""Median and unit by case and by contender."""


def main() -> None:
    """Print the tables, and draw."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("figures", nargs="+", type=Path, help="written with --json")
    parser.add_argument("--plot", type=Path, help="draw the last file there, as SVG")
    options = parser.parse_args()
    documents = [json.loads(path.read_text(encoding="utf-8")) for path in options.figures]
    for document in documents:
        print(f"\n### CPython {document['python']}")
        for cases in _groups(_cases(document)):
            print("\n" + "\n".join(_table(cases)))
    if options.plot:
        _draw(_cases(documents[-1]), options.plot, documents[-1]["python"])


def _cases(document: Mapping[str, Sequence[Mapping[str, object]]]) -> Cases:
    cases: dict[str, dict[str, tuple[float, str]]] = {}
    for figure in document["figures"]:
        case, who = str(figure["case"]), str(figure["who"])
        if case and " / " not in who:
            cases.setdefault(case, {})[who] = (figure["spread"]["median"], str(figure["unit"]))  # type: ignore[index]
    return cases


def _groups(cases: Cases) -> Iterator[Cases]:
    """Put cases with the same contenders into one table; the lower bounds make no difference."""
    groups: dict[frozenset[str], dict[str, Mapping[str, tuple[float, str]]]] = {}
    for case, row in cases.items():
        key = frozenset(row) - {"floor", "fifo"}
        groups.setdefault(key, {})[case] = row
    yield from groups.values()


def _table(cases: Cases) -> Iterator[str]:
    names = dict.fromkeys(who for row in cases.values() for who in row)
    columns = [*(who for who in COLUMNS if who in names), *(who for who in names if who not in COLUMNS)]
    yield f"| | {' | '.join(columns)} |"
    yield f"|---{'|---:' * len(columns)}|"
    for case, row in cases.items():
        yield f"| {case} | {' | '.join(_cell(row, who) for who in columns)} |"


def _cell(row: Mapping[str, tuple[float, str]], who: str) -> str:
    if who not in row:
        return ""
    value, unit = row[who]
    if unit in {"ns", "bytes"} and "ours" in row and who != "ours":
        return f"{value / row['ours'][0]:.2f} ×"
    number = f"{value:,.{0 if value >= 10 or value == int(value) else 2}f}"
    return number if unit in COUNTED else f"{number} {unit}"


def _draw(cases: Cases, path: Path, version: str) -> None:
    """Draw a bar for each contender, on a logarithmic scale."""
    import matplotlib as mpl  # type: ignore[import-not-found]
    import matplotlib.figure

    mpl.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "benchmarks", "font.size": 8}
    figure = matplotlib.figure.Figure(figsize=(10, 3), layout="constrained")
    for axes, case in zip(figure.subplots(1, len(PLOTTED)), PLOTTED, strict=True):
        row = sorted(cases[case].items(), key=lambda item: -item[1][0])
        values = [value for _, (value, _) in row]
        bars = axes.barh([who for who, _ in row], values, color=[COLOURS.get(who, "#95a5a6") for who, _ in row])
        axes.bar_label(bars, [f"{value:,.0f}" for value in values], padding=2)
        axes.set(xscale="log", title=f"{case}, ns", xlim=(min(values) / 2, max(values) * 5), xticks=[])
        axes.minorticks_off()
        axes.spines[:].set_visible(False)
    figure.supxlabel(f"processor time, CPython {version}; less is better; logarithmic", size=8)
    figure.savefig(path, format="svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
