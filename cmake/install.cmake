# SPDX-License-Identifier: Apache-2.0
# The package: headers, the exported target, and a configuration that makes the components where it is used.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)
set(kvsharer_package ${CMAKE_INSTALL_DATADIR}/cmake/kvsharer)

install(TARGETS kvsharer EXPORT kvsharerTargets FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT kvsharerTargets NAMESPACE kvsharer:: DESTINATION ${kvsharer_package})
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/kvsharerConfig.cmake.in
                              ${CMAKE_CURRENT_BINARY_DIR}/kvsharerConfig.cmake INSTALL_DESTINATION ${kvsharer_package})
# Below 1.0 every minor version may change what users see.
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/kvsharerConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/kvsharerConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/kvsharerConfigVersion.cmake
              ${CMAKE_CURRENT_LIST_DIR}/components.cmake DESTINATION ${kvsharer_package})
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
