# SPDX-License-Identifier: Apache-2.0
# kvsharer::kvsharer, which needs a C++20 compiler and nothing else, and the components of KVSHARER_COMPONENTS whose third parties
# are here.
add_library(kvsharer INTERFACE)
add_library(kvsharer::kvsharer ALIAS kvsharer)
target_compile_features(kvsharer INTERFACE cxx_std_20)
file(GLOB_RECURSE kvsharer_headers CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/include/kvsharer/*.h
     ${CMAKE_CURRENT_SOURCE_DIR}/include/kvsharer/*.hpp
     ${CMAKE_CURRENT_SOURCE_DIR}/include/kvsharer/*.cuh)
target_sources(kvsharer INTERFACE FILE_SET HEADERS BASE_DIRS ${CMAKE_CURRENT_SOURCE_DIR}/include FILES ${kvsharer_headers})

include(${CMAKE_CURRENT_LIST_DIR}/components.cmake)
foreach(component IN LISTS KVSHARER_COMPONENTS)
  kvsharer_add_component(${component})
endforeach()
