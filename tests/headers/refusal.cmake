# SPDX-License-Identifier: Apache-2.0
# cmake -DCOMPILER=… -DFLAG=-std=c++17 -DSAYS=<words> -DINCLUDE=<folder> -DSOURCE=… -P refusal.cmake: fails unless the source
# compiles without FLAG and, with it, ends at an error that has these words: the file that ends it is the only other one.
set(ENV{LC_ALL} C)
execute_process(COMMAND ${COMPILER} -std=c++20 -fsyntax-only -I${INCLUDE} ${SOURCE} COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${COMPILER} -std=c++20 ${FLAG} -fsyntax-only -I${INCLUDE} ${SOURCE} RESULT_VARIABLE status
                ERROR_VARIABLE said)
if(status EQUAL 0)
  message(FATAL_ERROR "compiles although it should not")
endif()
string(REPLACE ";" "," said "${said}")
string(REGEX MATCHALL "[^\n]*error: [^\n]*" errors "${said}")
list(LENGTH errors count)
list(GET errors 0 first)
string(FIND "${first}" "${SAYS}" at)
if(NOT count EQUAL 2 OR at LESS 0)
  message(FATAL_ERROR "is not told \"${SAYS}\" alone:\n${said}")
endif()
