# SPDX-License-Identifier: Apache-2.0
"""Every link of the site leads to a file of it, and to a place in that file. Web addresses are not asked.

usage: check_links.py <folder of the site>
"""
import html.parser
import pathlib
import sys
import urllib.parse


class Page(html.parser.HTMLParser):
    def __init__(self, file):
        super().__init__()
        self.links, self.anchors = [], set()
        self.feed(file.read_text())

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in ("id", "name") and value:
                self.anchors.add(value)
            if name in ("href", "src") and value:
                self.links.append(value)


def main():
    site = pathlib.Path(sys.argv[1])
    pages = {file.name: Page(file) for file in sorted(site.glob("*.html"))}
    wrong, links = [], 0
    for name, page in pages.items():
        for link in page.links:
            parts = urllib.parse.urlsplit(link)
            if parts.scheme:
                continue
            links += 1
            file, anchor = urllib.parse.unquote(parts.path) or name, urllib.parse.unquote(parts.fragment)
            if not (site / file).is_file():
                wrong.append(f"{name}: {link} leads to no file")
            elif anchor and file in pages and anchor not in pages[file].anchors:
                wrong.append(f"{name}: {link} leads to no place in {file}")
    for line in sorted(set(wrong)):
        print(line)
    print(f"{len(pages)} pages, {links} links, {len(set(wrong))} wrong")
    sys.exit(1 if wrong or links < 1000 else 0)


if __name__ == "__main__":
    main()
