# SPDX-License-Identifier: Apache-2.0
# The header-only targets. kvsharer::kvsharer needs a C++20 compiler and nothing else; kvsharer::cpu adds Eigen and, where
# the compiler has it, OpenMP; kvsharer::json adds nlohmann_json for strategy files.
add_library(kvsharer INTERFACE)
add_library(kvsharer::kvsharer ALIAS kvsharer)
target_compile_features(kvsharer INTERFACE cxx_std_20)
file(GLOB_RECURSE kvsharer_headers CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/include/kvsharer/*.hpp)
target_sources(kvsharer INTERFACE FILE_SET HEADERS BASE_DIRS ${CMAKE_CURRENT_SOURCE_DIR}/include FILES ${kvsharer_headers})

find_package(Eigen3 3.4 QUIET NO_MODULE)
find_package(OpenMP QUIET COMPONENTS CXX)
if(TARGET Eigen3::Eigen)
  add_library(kvsharer_cpu INTERFACE)
  add_library(kvsharer::cpu ALIAS kvsharer_cpu)
  set_target_properties(kvsharer_cpu PROPERTIES EXPORT_NAME cpu)
  target_link_libraries(kvsharer_cpu INTERFACE kvsharer Eigen3::Eigen $<TARGET_NAME_IF_EXISTS:OpenMP::OpenMP_CXX>)
endif()

find_package(nlohmann_json 3.9 QUIET)
if(TARGET nlohmann_json::nlohmann_json)
  add_library(kvsharer_json INTERFACE)
  add_library(kvsharer::json ALIAS kvsharer_json)
  set_target_properties(kvsharer_json PROPERTIES EXPORT_NAME json)
  target_link_libraries(kvsharer_json INTERFACE kvsharer nlohmann_json::nlohmann_json)
endif()
