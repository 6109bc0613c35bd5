// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "report/results.hpp"

namespace mini_llama::report {

/// The whole report as one HTML file that needs nothing else: pictures are inline SVG, there is no script. Well-formed
/// as XML is, but for the doctype.
std::string page(const sweep_results& all);

}  // namespace mini_llama::report
