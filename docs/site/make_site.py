# SPDX-License-Identifier: Apache-2.0
"""Makes the documentation site: the pages of docs/ and the headers' docstrings, by Doxygen.

usage: make_site.py <folder of the build> --doxygen <program> --version <of the library> [--headers <folder>]

The site is <folder>/html; what Doxygen complains of is in <folder>/warnings.log.
"""
import argparse
import html
import pathlib
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as xml

from pages import Pages, link_codes, navigation, source_page

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def configuration(out, pages, version, headers):
    """The fixed part of the Doxyfile, and what depends on folders."""
    here = f'"{sys.executable}" "{HERE / "header_filter.py"}"'.replace('"', '\\"')
    header = out / "header.html"
    header.write_text((HERE / "header.html").read_text().replace("@NAVIGATION@", navigation(ROOT, pages)))
    lines = [
        (HERE / "Doxyfile").read_text(),
        f'OUTPUT_DIRECTORY = "{out}"',
        f'PROJECT_NUMBER = "{version}"',
        f'INPUT = "{headers}" "{HERE / "namespaces.dox"}"' + (f' "{out / "pages"}"' if pages else ""),
        f'STRIP_FROM_PATH = "{headers}" "{out / "pages"}"',
        f'STRIP_FROM_INC_PATH = "{headers}"',
        f'USE_MDFILE_AS_MAINPAGE = "{out / "pages" / "index.md"}"',
        f'FILTER_PATTERNS = "*.hpp={here}" "*.cuh={here}"',
        f'WARN_LOGFILE = "{out / "warnings.log"}"',
        f'HTML_HEADER = "{header}"',
        f'HTML_FOOTER = "{HERE / "footer.html"}"',
        f'HTML_STYLESHEET = "{HERE / "site.css"}"',
        f'HTML_EXTRA_FILES = "{HERE / "search.js"}"',
        f'GENERATE_TAGFILE = "{out / "tags.xml"}"',
    ]
    (out / "Doxyfile").write_text("\n".join(lines) + "\n")
    return out / "Doxyfile"


def names(tags):
    """What the docstrings name: [(qualified name, kind, address)]."""
    found = []
    for compound in xml.parse(tags).getroot():
        kind, name, file = compound.get("kind"), compound.findtext("name"), compound.findtext("filename")
        if kind == "page":
            continue
        if not file.endswith(".html"):
            file += ".html"
        if kind == "file":
            found.append((compound.findtext("path", "") + name, "header", file))
        elif kind != "dir":
            found.append((name, kind, file))
        for member in compound.findall("member"):
            scope = "" if kind == "file" else name + "::"
            address = f"{member.findtext('anchorfile')}#{member.findtext('anchor')}"
            found.append((scope + member.findtext("name"), member.get("kind"), address))
    return found


def search_index(pages, of_headers):
    """A line of JavaScript for search.js: [words, kind, address] for pages, headings and names."""
    rows = [[title, "page" if "#" not in address else "section", address] for title, address in pages.headings()]
    seen = set()
    for name, kind, address in of_headers:
        if (name, kind) not in seen and kind not in ("enumvalue", "friend"):
            seen.add((name, kind))
            rows.append([name.removeprefix("kvsharer::"), kind, address])
    lines = ",\n".join("[" + ",".join('"' + c.replace("\\", "").replace('"', "") + '"' for c in row) + "]" for row in rows)
    return f"const searchIndex = [\n{lines}\n];\n"


def finish(site, pages, of_headers):
    """What Doxygen does not do: names in the pages become links, sources that pages link to become pages."""
    (site / "search-index.js").write_text(search_index(pages, of_headers))
    for address in pages.addresses():
        file = site / address
        file.write_text(link_codes(file.read_text(), of_headers))
    frame_open, frame_close = (site / "files.html").read_text(), ""
    frame_open, frame_close = frame_open.split("<!--content-->")[0], frame_open.split("<!--/content-->")[1]
    for path, address in pages.sources.items():
        frame = re.sub(r"<title>.*?</title>", f"<title>{html.escape(path)}</title>", frame_open, count=1)
        (site / address).write_text(frame + source_page(ROOT / path, path, pages) + frame_close)
    for file in site.glob("*.html"):  # links to headings of the page itself, of which some are not there
        file.write_text(re.sub(r'<div class="summary">.*?</div>', "", file.read_text(), flags=re.S))
    for picture in pages.pictures:
        shutil.copy(ROOT / picture, site / pathlib.Path(picture).name)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=lambda p: pathlib.Path(p).resolve())
    parser.add_argument("--doxygen", default="doxygen")
    parser.add_argument("--version", required=True)
    parser.add_argument("--headers", type=lambda p: pathlib.Path(p).resolve(),
                        help="others than the library's: warnings only, without pages")
    args = parser.parse_args()
    for old in ("html", "pages"):
        shutil.rmtree(args.out / old, ignore_errors=True)
    (args.out / "pages").mkdir(parents=True)
    pages = None if args.headers else Pages(ROOT)
    if pages:
        pages.write(args.out / "pages")
    doxyfile = configuration(args.out, pages, args.version, args.headers or ROOT / "include")
    subprocess.run([args.doxygen, str(doxyfile)], check=True)
    if pages:
        finish(args.out / "html", pages, names(args.out / "tags.xml"))


if __name__ == "__main__":
    main()
