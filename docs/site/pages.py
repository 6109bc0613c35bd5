# SPDX-License-Identifier: Apache-2.0
"""The Markdown pages of the repository, in the form that Doxygen reads, with links that work on the site."""
import html
import pathlib
import re

FURTHER = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md"]
FENCE = re.compile(r"\s*```")
LINK = re.compile(r"(!?)\[((?:[^\[\]`]|`[^`]*`)*)\]\(([^()\s]+)\)")
CODE = re.compile(r"(`[^`\n]+`)")


def anchor_of(heading):
    """As GitHub makes it."""
    kept = "".join(c for c in heading.lower() if c.isalnum() and c.isascii() or c in "-_ ")
    return kept.replace(" ", "-")


def flat(path):
    return re.sub(r"[^a-z0-9]+", "-", path.lower().removeprefix("docs/").removesuffix(".md")).strip("-")


class Pages:
    """All pages: what they are called on the site, and what they link to."""

    def __init__(self, root):
        self.root = root
        found = [p.relative_to(root).as_posix() for p in sorted((root / "docs").rglob("*.md"))]
        found += FURTHER + [p.relative_to(root).as_posix() for p in sorted((root / "examples").rglob("README.md"))]
        self.labels = {path: "index" if path == "README.md" else "page-" + flat(path) for path in found}
        self.labels["docs/README.md"] = "page-documentation"
        self.sources, self.pictures = {}, []  # path -> address; paths

    def addresses(self):
        return [label + ".html" for label in self.labels.values()]

    def headings(self):
        """[(words, address)] of all pages and their sections."""
        found = []
        for path, label in self.labels.items():
            in_block = False
            for line in (self.root / path).read_text().split("\n"):
                in_block ^= FENCE.match(line) is not None
                heading = re.match(r"(#+) (.+)", line)
                if heading and not in_block:
                    words = heading[2].replace("`", "")
                    section = "" if heading[1] == "#" else f"#{label}_{anchor_of(heading[2])}"
                    found.append((words, f"{label}.html{section}"))
        return found

    def address(self, page, target):
        """Where a link of `page` (a path of the repository) leads to on the site."""
        if re.match(r"[a-z]+:", target):
            return target
        path, _, anchor = target.partition("#")
        whole = (self.root / page).parent / path if path else self.root / page
        whole = pathlib.Path(whole).resolve().relative_to(self.root).as_posix()
        if whole + "/README.md" in self.labels:
            whole += "/README.md"
        if whole in self.labels:
            label = self.labels[whole]
            return f"{label}.html" + (f"#{label}_{anchor}" if anchor else "")
        return self.source(whole)

    def source(self, path):
        return self.sources.setdefault(path, "source-" + flat(path) + ".html")

    def converted(self, page):
        label, lines, in_block = self.labels[page], [], False
        text = (self.root / page).read_text()
        sections = len(re.findall(r"^## ", text, re.M))
        text = re.sub(r"<!--.*?-->\n?", "", text, flags=re.S)
        # Links that run over the end of a line are joined first.
        text = re.sub(r"\[([^\[\]`]*)\n([^\[\]`]*)\]\(", r"[\1 \2](", text)
        for line in text.split("\n"):
            in_block ^= FENCE.match(line) is not None
            # What Doxygen has no colours for it would colour as C++.
            line = re.sub(r"```(text|console|sh|json|cmake)$", "```{.unparsed}", line)
            heading = None if in_block else re.match(r"(#+) (.+)", line)
            if heading and heading[1] == "#":
                line = f"{line} {{#{'mainpage' if label == 'index' else label}}}"
                if sections >= 5 and label != "index":
                    line += "\n\n[TOC]"
            elif heading:
                line = f"{line} {{#{label}_{anchor_of(heading[2])}}}"
            elif not in_block:
                line = LINK.sub(lambda m: self.link(page, m), line)
                # Two dashes, and names after a #, are Doxygen's outside of code.
                line = "".join(p if p.startswith("`") else p.replace("--", "\\--") if "<" not in p and "|" not in p else p
                               for p in CODE.split(line))
            lines.append(line)
        return "\n".join(lines)

    def link(self, page, match):
        picture, words, target = match.groups()
        if picture:
            path = ((self.root / page).parent / target).resolve().relative_to(self.root).as_posix()
            self.pictures.append(path)
            return f'<img src="{pathlib.Path(path).name}" alt="{html.escape(words)}"/>'
        words = CODE.sub(lambda c: f"<code>{html.escape(c[0][1:-1])}</code>", words)
        return f'<a href="{self.address(page, target)}">{words}</a>'

    def write(self, folder):
        for page, label in self.labels.items():
            (folder / f"{label}.md").write_text(self.converted(page))


def navigation(root, pages):
    """The list beside every page: that of docs/README.md, and the headers."""
    if not pages:
        return ""
    groups, items = [], []
    for line in (root / "docs/README.md").read_text().split("\n"):
        if line.startswith("## "):
            items = []
            groups.append((line[3:], items))
        item = re.match(r"\* \[(.+?)\]\((.+?)\)", line)
        if item:
            items.append((item[1].replace("`", ""), pages.address("docs/README.md", item[2])))
    groups.insert(0, ("Start", [("kvsharer", "index.html"), ("Tutorial", pages.address("docs/README.md", "tutorial.md")),
                                ("All pages", "page-documentation.html"),
                                ("Troubleshooting", pages.address("docs/README.md", "troubleshooting.md"))]))
    groups.append(("Names", [("Headers", "files.html"), ("Types", "annotated.html"), ("Concepts", "concepts.html"),
                             ("Namespaces", "namespaces.html")]))
    shown = []
    for title, links in groups:
        links = "".join(f'<li><a href="{address}">{html.escape(words)}</a></li>' for words, address in links)
        opened = "" if title == "Decisions" else " open"
        shown.append(f"<details{opened}><summary>{html.escape(title)}</summary><ul>{links}</ul></details>")
    return "\n".join(shown)


def link_codes(text, names):
    """Names of the library and of its headers that stand in <code>, or <tt>, become links."""
    by_name = {}
    for name, kind, address in names:
        short = name.removeprefix("kvsharer::")
        for form in {name, short, short.split("::")[-1] if kind in ("class", "struct", "concept") else short}:
            by_name.setdefault(form, []).append(address)
    one = {name: found[0] for name, found in by_name.items() if len({a.split("#")[0] for a in found}) == 1}

    def linked(match):
        before, code, words, after = match.groups()
        name = re.sub(r"(&lt;.*&gt;)?(\(.*\))?(\{.*\})?$", "", words)
        address = one.get(name)
        return f'{before}<a class="name" href="{address}">{code}</a>{after}' if address else match[0]

    return re.sub(r"(?<!\">)()(<(?:code|tt|span class=\"tt\")>([^<]+)</(?:code|tt|span)>)()(?!</a>)", linked, text)


def source_page(file, path, pages):
    """A file of the repository that pages link to, or a list of what is in a folder."""
    title = f'<div class="header"><div class="headertitle"><div class="title">{html.escape(path)}</div></div></div>'
    if file.is_dir():
        inside = "".join(f"<li>{html.escape(p.name)}{'/' if p.is_dir() else ''}</li>" for p in sorted(file.iterdir()))
        return f'{title}<div class="contents"><p>In this folder of the sources:</p><ul>{inside}</ul></div>'
    lines = file.read_text().rstrip("\n").split("\n")
    shown = "\n".join(f'<span class="lineno">{n:4}</span> {html.escape(line)}' for n, line in enumerate(lines, 1))
    return f'{title}<div class="contents"><pre class="fragment">{shown}</pre></div>'
