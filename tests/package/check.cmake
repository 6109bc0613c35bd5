# SPDX-License-Identifier: Apache-2.0
# cmake -DHOW=… -DSOURCE=… -DWORK=… -DCOMPILER=… [-DMUST_SAY=…] -P check.cmake: builds and runs the outside project, with
# the library installed anew where HOW says find_package. With MUST_SAY its configuration must fail with those words.
file(REMOVE_RECURSE ${WORK})
set(generator -G Ninja -DCMAKE_CXX_COMPILER=${COMPILER})

function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE code OUTPUT_VARIABLE out ERROR_VARIABLE out)
  if(NOT code EQUAL 0)
    string(JOIN " " command ${ARGN})
    message(FATAL_ERROR "${command}\n${out}")
  endif()
endfunction()

if(HOW STREQUAL "include_path")
  file(MAKE_DIRECTORY ${WORK})
  run(${COMPILER} -std=c++20 -I${SOURCE}/include ${CMAKE_CURRENT_LIST_DIR}/consumer/core.cpp -o ${WORK}/core)
  run(${WORK}/core)
  return()
endif()

if(NOT HOW MATCHES "add_subdirectory|FetchContent")
  run(${CMAKE_COMMAND} -S ${SOURCE} -B ${WORK}/library ${generator} -DCMAKE_INSTALL_PREFIX=${WORK}/prefix
      -DKVSHARER_BUILD_TESTS=OFF -DKVSHARER_BUILD_EXAMPLES=OFF -DKVSHARER_BUILD_BENCHMARKS=OFF)
  run(${CMAKE_COMMAND} --install ${WORK}/library)
  file(GLOB_RECURSE installed RELATIVE ${WORK}/prefix ${WORK}/prefix/*)
  foreach(file IN LISTS installed)
    if(NOT file MATCHES "^(include/kvsharer/.*\\.(hpp|cuh)|share/cmake/kvsharer/.*\\.cmake|share/doc/kvsharer/LICENSE)$")
      message(FATAL_ERROR "${file} does not belong in an installation")
    endif()
  endforeach()
endif()

set(configure ${CMAKE_COMMAND} -S ${CMAKE_CURRENT_LIST_DIR}/consumer -B ${WORK}/consumer ${generator} -DHOW=${HOW}
              -DKVSHARER_SOURCE=${SOURCE} -DCMAKE_PREFIX_PATH=${WORK}/prefix)
if(MUST_SAY)
  execute_process(COMMAND ${configure} RESULT_VARIABLE code OUTPUT_VARIABLE out ERROR_VARIABLE out)
  string(REGEX REPLACE "[ \n]+" " " out "${out}")
  string(FIND "${out}" "${MUST_SAY}" at)
  if(code EQUAL 0 OR at EQUAL -1)
    message(FATAL_ERROR "wanted a failure that says \"${MUST_SAY}\"; exit code ${code}:\n${out}")
  endif()
else()
  run(${configure})
  run(${CMAKE_COMMAND} --build ${WORK}/consumer)
endif()
