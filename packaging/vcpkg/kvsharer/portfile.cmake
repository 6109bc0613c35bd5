# SPDX-License-Identifier: Apache-2.0
# An overlay port of the sources around it (vcpkg install kvsharer --overlay-ports=packaging/vcpkg), which downloads nothing.
# In a registry, replace the first line by vcpkg_from_github.
get_filename_component(SOURCE_PATH "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)

set(VCPKG_BUILD_TYPE release)  # headers
vcpkg_cmake_configure(
  SOURCE_PATH "${SOURCE_PATH}"
  OPTIONS
    -DKVSHARER_BUILD_TESTS=OFF
    -DKVSHARER_BUILD_EXAMPLES=OFF
    -DKVSHARER_BUILD_BENCHMARKS=OFF
    -DKVSHARER_INSTALL_CMAKEDIR=share/kvsharer
    -DKVSHARER_COMPONENTS=  # the package looks for them where it is used
)
vcpkg_cmake_install()
vcpkg_cmake_config_fixup()
vcpkg_fixup_pkgconfig()

file(REMOVE_RECURSE "${CURRENT_PACKAGES_DIR}/share/doc")
file(INSTALL "${CMAKE_CURRENT_LIST_DIR}/usage" DESTINATION "${CURRENT_PACKAGES_DIR}/share/${PORT}")
vcpkg_install_copyright(FILE_LIST "${SOURCE_PATH}/LICENSE")
