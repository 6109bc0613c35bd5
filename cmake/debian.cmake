# SPDX-License-Identifier: Apache-2.0
# `cpack -G DEB` in the build folder makes libkvsharer-dev_<version>_all.deb: headers, CMake package and pkg-config files.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME libkvsharer-dev)
set(CPACK_PACKAGE_VENDOR kvsharer)
set(CPACK_PACKAGE_CONTACT "the kvsharer authors <kvsharer@invalid>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "${PROJECT_DESCRIPTION} (C++20 headers)")
set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_ARCHITECTURE all)
set(CPACK_DEBIAN_PACKAGE_SECTION libdevel)
# The core needs a compiler alone.
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "libeigen3-dev (>= 3.4), nlohmann-json3-dev (>= 3.9)")
include(CPack)
