# SPDX-License-Identifier: Apache-2.0
# The package: headers, the exported target, and a configuration that makes the components where it is used.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)
set(KVSHARER_INSTALL_CMAKEDIR ${CMAKE_INSTALL_DATADIR}/cmake/kvsharer CACHE STRING "Where the CMake package goes")
set(kvsharer_package ${KVSHARER_INSTALL_CMAKEDIR})

install(TARGETS kvsharer EXPORT kvsharerTargets FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT kvsharerTargets NAMESPACE kvsharer:: DESTINATION ${kvsharer_package})
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/kvsharerConfig.cmake.in
                              ${CMAKE_CURRENT_BINARY_DIR}/kvsharerConfig.cmake INSTALL_DESTINATION ${kvsharer_package})
# Below 1.0 every minor version may change what users see.
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/kvsharerConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/kvsharerConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/kvsharerConfigVersion.cmake
              ${CMAKE_CURRENT_LIST_DIR}/components.cmake DESTINATION ${kvsharer_package})

# For pkg-config: kvsharer, and one file per component with a third party of its own. They find their prefix from where
# they lie.
set(kvsharer_pkgconfig ${CMAKE_INSTALL_DATADIR}/pkgconfig)
file(RELATIVE_PATH kvsharer_prefix_from_pkgconfig /${kvsharer_pkgconfig} /)
function(kvsharer_install_pc name description requires cflags)
  configure_file(${CMAKE_CURRENT_FUNCTION_LIST_DIR}/kvsharer.pc.in ${name}.pc @ONLY)
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/${name}.pc DESTINATION ${kvsharer_pkgconfig})
endfunction()
kvsharer_install_pc(kvsharer "${PROJECT_DESCRIPTION}" "" "-I\${includedir}")
kvsharer_install_pc(kvsharer-cpu "${PROJECT_DESCRIPTION}: the CPU backend" "kvsharer = ${PROJECT_VERSION}, eigen3 >= 3.4" "")
kvsharer_install_pc(kvsharer-json "${PROJECT_DESCRIPTION}: plan files"
                    "kvsharer = ${PROJECT_VERSION}, nlohmann_json >= 3.9" "")
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
