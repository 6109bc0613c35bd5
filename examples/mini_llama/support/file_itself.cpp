// SPDX-License-Identifier: Apache-2.0
#include "support/file_itself.hpp"

#include <cerrno>
#include <cstring>
#include <string>
#include <system_error>

namespace mini_llama {

bool is_there(const std::filesystem::path& file) {
  std::error_code ignored;  // a name that cannot be looked up is no file either
  return std::filesystem::exists(std::filesystem::symlink_status(file, ignored));
}

void refuse_unopened(const std::filesystem::path& file) {
  const int reason = errno;
  std::error_code ignored;
  const std::filesystem::path target = std::filesystem::read_symlink(file, ignored);
  if (!target.empty() && !std::filesystem::exists(file, ignored))
    throw load_error(file, "is a link to " + target.string() +
                               ", which is not there. Fetch the file itself, or copy the folder again together with "
                               "what its links lead to, for one with cp -rL");
  throw load_error(file,
                   std::string("cannot be opened (") + std::strerror(reason) + "). Check the path and its permissions");
}

void refuse_pointer(const std::filesystem::path& file, std::string_view contents) {
  if (contents.size() < pointer_limit && contents.starts_with("version https://git-lfs.github.com/spec/"))
    throw load_error(file,
                     "is a pointer of git-lfs and not the file itself. Run git lfs pull in its folder, or download the "
                     "file from where it is published");
}

}  // namespace mini_llama
