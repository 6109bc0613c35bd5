// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

/// The order of the library's rooms, as a check over header texts: who may include whom, and where the preprocessor may
/// decide anything.
namespace conventions {

/// Path below include/ -> text.
using headers = std::map<std::string, std::string>;

/// Which other rooms a room's headers may include. A room is a folder, or a header that lies in none. Nothing below
/// `concepts` knows anything of caches; layouts, metrics and policies do not know each other. Beyond that:
/// the adapters, the search's average and the runtime's cache are made of the views in `layout`; both backends have a
/// form of their own of one of the metrics, and the host's solves for alignments; the device's cache shares the
/// runtime's bookkeeping, and its average and score the search's choices; files hold what a search found.
inline const std::map<std::string, std::set<std::string>> rooms_below{
    {"config.hpp", {}},
    {"version.hpp", {}},
    {"fwd.hpp", {}},
    {"core", {"config.hpp"}},
    {"concepts", {"config.hpp", "core"}},
    {"layout", {"config.hpp", "core", "concepts"}},
    {"codec", {"config.hpp", "core", "concepts"}},
    {"metric", {"config.hpp", "core", "concepts"}},
    {"policy", {"config.hpp", "core", "concepts"}},
    {"budget", {"config.hpp", "core", "concepts"}},
    {"select", {"config.hpp", "core", "concepts"}},
    {"adapt", {"config.hpp", "core", "concepts", "layout"}},
    {"align", {"config.hpp", "core", "concepts"}},
    {"search", {"config.hpp", "core", "concepts", "layout"}},
    {"runtime", {"config.hpp", "core", "concepts", "layout", "codec"}},
    {"io", {"config.hpp", "core", "concepts", "search"}},
    {"testing", {"core", "concepts"}},
    {"backend/cpu", {"config.hpp", "core", "concepts", "metric", "align"}},
    {"backend/cuda", {"config.hpp", "core", "concepts", "layout", "codec", "metric", "adapt", "search", "runtime"}},
    {"kvsharer.hpp",
     {"version.hpp", "core", "concepts", "layout", "codec", "adapt", "align", "metric", "policy", "budget", "select",
      "search", "runtime"}},
    {"cpu.hpp", {"kvsharer.hpp", "backend/cpu"}},
    {"c.h", {}},
    {"c.hpp", {"c.h", "core", "runtime", "search", "io"}},
    {"cuda.cuh", {"kvsharer.hpp", "backend/cuda"}},
};

/// Third parties by room; all else that stands in <> must be a header of the standard library.
inline const std::map<std::string, std::set<std::string>> third_parties{
    {"config.hpp", {"kvsharer needs C++20", "kvsharer needs exceptions"}},  // which nobody has
    {"backend/cpu", {"Eigen/Cholesky", "Eigen/Core", "immintrin.h", "omp.h"}},
    {"backend/cuda", {"cuda_runtime.h", "nv/target"}},
    {"io", {"nlohmann/json.hpp"}},
    {"c.h", {"stddef.h", "stdint.h"}},
};

/// The headers that ask which compiler, machine or extension it is, so that no other has to.
inline const std::set<std::string> may_decide{
    "kvsharer/config.hpp",
    "kvsharer/c.h",  // C or C++
    "kvsharer/backend/cpu/parallel.hpp",
    "kvsharer/backend/cpu/simd.hpp",
};

/// The room of "kvsharer/...".
inline std::string room(const std::string& path) {
  static const std::regex form("kvsharer/(backend/[^/]+|[^/]+).*");
  std::smatch found;
  return std::regex_match(path, found, form) ? found[1].str() : "";
}

inline bool permits(const std::map<std::string, std::set<std::string>>& table, const std::string& from,
                    const std::string& to) {
  const auto row = table.find(from);
  return row != table.end() && row->second.contains(to);
}

/// What is wrong with one line of one header, or nothing.
inline std::string line_violation(const headers& all, const std::string& path, const std::string& line) {
  static const std::regex own("\\s*#\\s*include\\s*\"([^\"]*)\".*"), other("\\s*#\\s*include\\s*<([^>]*)>.*"),
      condition("\\s*#\\s*(if|ifdef|ifndef|elif)\\b.*"), standard("[a-z_]+"), assumed(".*\\bis(nan|finite|inf)\\(.*");
  std::smatch found;
  const std::string here = room(path);
  if (std::regex_match(line, condition) && !may_decide.contains(path))
    return "decides by the preprocessor; only config.hpp and the like may";
  if (std::regex_match(line, assumed))
    return "asks the standard library whether a number is finite, which -ffast-math answers; core/finite.hpp asks the "
           "bits";
  if (line.find("__global__") != line.npos && !line.starts_with("#") && line.find("KVSHARER_HIDDEN") == line.npos &&
      line.find("static") == line.npos)
    return "has a kernel that is neither KVSHARER_HIDDEN nor static; two shared objects would mix up theirs";
  if (std::regex_match(line, found, other)) {
    const std::string name = found[1];
    if (!std::regex_match(name, standard) && !permits(third_parties, here, name))
      return "includes <" + name + ">, a third party that " + here + " may not know";
  }
  if (!std::regex_match(line, found, own)) return "";
  const std::string target = found[1];
  if (!all.contains(target)) return "includes \"" + target + "\", which is no full path of a header of the library";
  const std::string there = room(target);
  if (here != there && !permits(rooms_below, here, there))
    return "includes " + target + ": " + here + " may not know " + there;
  if (const auto detail = target.find("/detail/"); detail != target.npos && !path.starts_with(target.substr(0, detail)))
    return "includes " + target + ", which is private to its room";
  return "";
}

/// "path: what is wrong", for every violation.
inline std::vector<std::string> violations(const headers& all) {
  std::vector<std::string> found;
  for (const auto& [path, text] : all) {
    if (!rooms_below.contains(room(path))) found.push_back(path + ": lies in a room that has no place in the order");
    if (!text.starts_with("// SPDX-License-Identifier: Apache-2.0\n#pragma once\n"))
      found.push_back(path + ": does not begin with its licence and #pragma once");
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);)
      if (const std::string wrong = line_violation(all, path, line); !wrong.empty())
        found.push_back(path + ": " + wrong);
  }
  return found;
}

/// Public headers that `umbrella` should include and does not: those of all rooms that it includes from.
inline std::vector<std::string> left_out(const headers& all, const std::string& umbrella) {
  std::vector<std::string> missing;
  const std::string& text = all.at(umbrella);
  for (const auto& [path, unused] : all)
    if (path.find("/detail/") == path.npos && permits(rooms_below, room(umbrella), room(path)) &&
        text.find("#include \"" + path + "\"") == text.npos)
      missing.push_back(path);
  return missing;
}

}  // namespace conventions
