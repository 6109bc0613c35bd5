# SPDX-License-Identifier: Apache-2.0
# The parts of the library that need more than a C++20 compiler. Read by this build and by the installed package alike, so
# that both offer the same targets.
set(kvsharer_components cpu json cuda)
set(kvsharer_cpu_needs "Eigen 3.4 or newer (Debian: libeigen3-dev)")
set(kvsharer_json_needs "nlohmann_json 3.9 or newer (Debian: nlohmann-json3-dev)")
set(kvsharer_cuda_needs "the CUDA Toolkit 12.4 or newer")

# Makes kvsharer::<component> where its third party is found; elsewhere there is no such target.
macro(kvsharer_add_component component)
  if("${component}" STREQUAL "cpu" AND NOT TARGET kvsharer::cpu)
    find_package(Eigen3 3.4 QUIET NO_MODULE)
    find_package(OpenMP QUIET COMPONENTS CXX)
    if(TARGET Eigen3::Eigen)
      add_library(kvsharer::cpu INTERFACE IMPORTED GLOBAL)
      target_link_libraries(kvsharer::cpu INTERFACE kvsharer::kvsharer Eigen3::Eigen
                                                    $<TARGET_NAME_IF_EXISTS:OpenMP::OpenMP_CXX>)
    endif()
  elseif("${component}" STREQUAL "json" AND NOT TARGET kvsharer::json)
    find_package(nlohmann_json 3.9 QUIET)
    if(TARGET nlohmann_json::nlohmann_json)
      add_library(kvsharer::json INTERFACE IMPORTED GLOBAL)
      target_link_libraries(kvsharer::json INTERFACE kvsharer::kvsharer nlohmann_json::nlohmann_json)
    endif()
  elseif("${component}" STREQUAL "cuda" AND NOT TARGET kvsharer::cuda)
    find_package(CUDAToolkit 12.4 QUIET)
    if(CUDAToolkit_FOUND)
      add_library(kvsharer::cuda INTERFACE IMPORTED GLOBAL)
      target_link_libraries(kvsharer::cuda INTERFACE kvsharer::kvsharer)
      target_include_directories(kvsharer::cuda SYSTEM INTERFACE ${CUDAToolkit_INCLUDE_DIRS})
      if("cuda_std_20" IN_LIST CMAKE_CUDA_COMPILE_FEATURES)
        target_compile_features(kvsharer::cuda INTERFACE cuda_std_20)
      elseif(CMAKE_CUDA_COMPILER_LOADED)  # older CMake does not know what newer toolkits can
        target_compile_options(kvsharer::cuda INTERFACE $<$<COMPILE_LANGUAGE:CUDA>:-std=c++20>)
      endif()
    endif()
  endif()
endmacro()
