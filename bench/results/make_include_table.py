# SPDX-License-Identifier: Apache-2.0
"""Makes docs/reference/include-cost.md from include_cost.json, which bench/include_cost writes.

usage: make_include_table.py [--check]     --check: exits with 1 where the page is not what the file says
"""
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
PAGE = HERE.parent.parent / "docs" / "reference" / "include-cost.md"


def name(header):
    return "nothing" if not header else f"`{header}`"


def table(results, compiler):
    rows = [r for r in results if r["compiler"] == compiler]
    nothing = next(r for r in rows if not r["header"])
    lines = ["| header | lines | seconds | more than nothing |", "| --- | ---: | ---: | ---: |"]
    for r in rows:
        beyond = "" if r is nothing else f"{r['seconds'] - nothing['seconds']:.2f}"
        lines.append(f"| {name(r['header'])} | {r['lines']:,} | {r['seconds']:.2f} | {beyond} |")
    return "\n".join(lines)


def page():
    measured = json.loads((HERE / "include_cost.json").read_text())
    context, results = measured["context"], measured["results"]
    sections = "\n\n".join(f"## {compiler}\n\n{version}.\n\n{table(results, compiler)}"
                           for compiler, version in context["compilers"].items())
    return f"""# The cost of including the headers

<!-- Made by bench/results/make_include_table.py from bench/results/include_cost.json; do not edit. -->

The tables are for a source file that includes one header and does nothing. They have the lines that the compiler reads with all
includes, without blank lines, and the processor seconds of compiling the file without optimisation, the least of
{context['repeat']} runs ({context['processor']}, {context['date']}). Instantiating the library's templates takes additional time,
most of all for kernels: [compile them once](../how-to/compile-kernels-once.md).

{sections}

`bench/include_cost` repeats the measurement. Tests check that headers for nvcc do not include Eigen, JSON, Thrust, CUB or
`<iostream>`.
"""


def main():
    text = page()
    if "--check" in sys.argv[1:]:
        if not PAGE.exists() or PAGE.read_text() != text:
            print(f"{PAGE} is not what the result file says; run bench/results/make_include_table.py", file=sys.stderr)
            sys.exit(1)
    else:
        PAGE.write_text(text)


if __name__ == "__main__":
    main()
