# SPDX-License-Identifier: Apache-2.0
# No object in the list LIGHT, which was optimised lightly, defines a numeric template that a linker might choose over that of
# the libraries. HEARD is an object that does define some: without it nobody would know that the question is heard.
set(numeric "kvsharer::v0::cpu::|Eigen::")
function(numeric_symbols object result)
  execute_process(COMMAND ${NM} -C --defined-only ${object} OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL " W [^\n]*(${numeric})[^\n]*" found "${symbols}")
  set(${result} "${found}" PARENT_SCOPE)
endfunction()

numeric_symbols(${HEARD} heard)
if(NOT heard)
  message(FATAL_ERROR "${HEARD} defines no numeric template, so that this test would find none")
endif()
file(READ ${LIGHT} objects)
foreach(object IN LISTS objects)
  numeric_symbols(${object} found)
  if(found)
    list(GET found 0 first)
    list(LENGTH found count)
    message(SEND_ERROR "${object} is optimised lightly and defines ${count} numeric templates, such as${first}; take its source "
                       "out of the light ones (tests/CMakeLists.txt, examples/mini_llama/CMakeLists.txt)")
  endif()
endforeach()
