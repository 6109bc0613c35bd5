# SPDX-License-Identifier: Apache-2.0
"""Whether the check of docstrings can fail: headers of which a few names lack theirs.

usage: undocumented_is_heard.py <scratch folder> <command of make_site.py...>
"""
import pathlib
import re
import shutil
import subprocess
import sys

HEADER = """// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace kvsharer::inline v0 {

/// Has one.
struct with_words {
  int told = 0;  ///< said
  int untold = 0;
  friend bool operator==(const with_words&, const with_words&) = default;
};
with_words(int) -> with_words;
struct without_words {
  int anything = 0;
};
/// Has one.
inline void spoken() {}
inline void silent() {}
#define KVSHARER_SILENT 1
namespace detail {
inline void private_matter() {}
}  // namespace detail

}  // namespace kvsharer::inline v0
"""

METRIC = """// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace kvsharer::inline v0::metric {

/// Its members are those of the concept, but for one.
struct some {
  double finish(float p, index_t) const { return p; }
  double more() const { return 0; }
};

}  // namespace kvsharer::inline v0::metric
"""

scratch, command = pathlib.Path(sys.argv[1]), sys.argv[2:]
shutil.rmtree(scratch, ignore_errors=True)
headers = scratch / "include"
for name, text in {"core/words.hpp": HEADER, "metric/some.hpp": METRIC}.items():
    file = headers / "kvsharer" / name
    file.parent.mkdir(parents=True)
    file.write_text(text)
subprocess.run([*command, str(scratch / "site"), "--headers", str(headers)], check=True)
log = (scratch / "site" / "warnings.log").read_text()
lines = [line for line in log.split("\n") if "is not documented" in line]
expected = {"Member untold", "Compound kvsharer::without_words", "Member anything", "Member silent", "Member KVSHARER_SILENT",
            "Member more"}
said = {re.search(r": warning: (\w+ [\w:]+)", line)[1] for line in lines}
if said != expected:
    sys.exit(f"complaints of {sorted(said)}, wanted of {sorted(expected)}:\n{log}")
