# SPDX-License-Identifier: Apache-2.0
"""Doxygen's input filter for headers. Every line stays where it is.

The licence's line becomes the head of the file's own page; `namespace a::inline v0::b`, which Doxygen does not read,
becomes `namespace a::b`, as users write it. Members that a type has because a concept asks for them are said at the
concept, and get a link to it here where they have no docstring of their own.
"""
import pathlib
import re
import sys

# Room (or file) -> what a member looks like -> the concept that asks for it.
METRICS = {r"\bfold_scope scope\b|\b(step|merge|finish)\(": "DistanceMetric"}
POLICIES = {r"\brank\(const distance_matrix": "SharePolicy"}
LAYOUTS = {
    r"\busing value_type\b|\bat\(index_t head": "LayerView",
    r"\*\s*(row|find)\(index_t head": "RowContiguousView",
    r"\brows_contiguous =|\boffset\(index_t": "IndexLayout",
    r"\btoken_stride\(\) const|\brun\(index_t": "TokenRunLayout",
    r"\btoken_place place\(": "TokenOrder",
    r"\bpage_tokens\(cache_shape|\bindex\(cache_shape|\bname\(\) const": "CacheLayout",
}
CACHES = {
    r"\bmemory_space space =|\bcache_shape shape\(\)|\bindex_t length\(\)|\b(keys|values)\(layer_id l\)": "KVCache",
    r"\bsequence\(index_t place\)": "cuda::BatchView",
}
ROOMS = {
    "metric/": METRICS, "policy/": POLICIES, "layout/": LAYOUTS, "adapt/": CACHES, "runtime/shared_cache": CACHES,
    "search/calibration_average": CACHES, "backend/cuda/pool_view": LAYOUTS | CACHES,
    "backend/cuda/shared_cache": CACHES, "backend/cuda/calibration_average": CACHES,
}
IN_FRONT = re.compile(r"\s*(template <.*>|requires\b[^{]*)$")  # of a declaration; a docstring stands before it


def asked_for(line, room):
    for form, concept in room.items():
        if re.search(form, line) and re.match(r"  +(?!return|if|for)[\w~*]", line):
            return concept
    return None


def as_it_stands(match):
    lines = match[1].rstrip("\n").split("\n")
    lines[0] = lines[0].replace("///  ", "/// @code{.unparsed} ", 1)
    return "\n".join([line.replace("///  ", "/// ", 1) for line in lines]) + " @endcode\n"


def filtered(path, text):
    name = path[path.rindex("/kvsharer/") + 1:]
    room = next((r for prefix, r in ROOMS.items() if name.startswith("kvsharer/" + prefix)), {})
    text = text.replace("// SPDX-License-Identifier: Apache-2.0\n", f"/// @file {name}\n", 1)
    text = re.sub(r"::inline (v0|KVSHARER_LANES)\b", "", text)
    # What stands before a namespace is said of the file; the blank line above it becomes the place for that word.
    text = re.sub(r"\n\n((?:///.*\n)+)(?=namespace )", lambda m: f"\n/// @file {name}\n" + m[1], text)
    # Lines that docstrings indent are meant as they stand: what concepts ask for, formulas, formats.
    text = re.sub(r"((?:^ *///  +\S.*\n)+)", as_it_stands, text, flags=re.M)
    lines, documented, guide = [], False, False
    for line in text.split("\n"):
        own = "///" in line
        guide = guide or re.match(r"\w+\(.*(->|\)$)", line) is not None  # a deduction guide says nothing new
        if guide:
            guide = not line.endswith(";")
            line = ""
            if lines and lines[-1].startswith("template"):
                lines[-1] = ""
        elif not own and not documented:
            concept = asked_for(line, room)
            if concept:
                line = f"  /** As @ref kvsharer::{concept} \"{concept.split('::')[-1]}\" asks. */ " + line.lstrip()
            elif "friend" in line and line.endswith("= default;"):
                line = "  /** Member by member. */ " + line.lstrip()
        documented = line.lstrip().startswith("///") or (documented and IN_FRONT.match(line) is not None)
        lines.append(line)
    return "\n".join(lines)


if __name__ == "__main__":
    path = pathlib.Path(sys.argv[1])
    sys.stdout.write(filtered(path.resolve().as_posix(), path.read_text()))
