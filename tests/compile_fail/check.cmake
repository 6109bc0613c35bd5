# SPDX-License-Identifier: Apache-2.0
# Compiles SOURCE twice with COMPILER: as it stands it must pass, and with KVSHARER_EXPECT_FAILURE it must fail with one
# error, which says "kvsharer NUMBER: ".
#   cmake -D COMPILER=... -D SOURCE=... -D NUMBER=E101 -D INCLUDE=<folder> [-D SYSTEM=-isystem<folder>] [-D FIRST=-I<folder>]
#         -P check.cmake
set(ENV{LC_ALL} C)
set(compile ${COMPILER} -std=c++20 -fsyntax-only -Wall -Wextra -Wpedantic -Wconversion -Werror ${FIRST} -I${INCLUDE} ${SYSTEM})

execute_process(COMMAND ${compile} ${SOURCE} RESULT_VARIABLE status ERROR_VARIABLE said)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "does not compile as it stands:\n${said}")
endif()

execute_process(COMMAND ${compile} -DKVSHARER_EXPECT_FAILURE ${SOURCE} RESULT_VARIABLE status ERROR_VARIABLE said)
if(status EQUAL 0)
  message(FATAL_ERROR "compiles although it should not")
endif()
string(REGEX MATCHALL "[^\n]*error:[^\n]*" errors "${said}")
string(REGEX MATCHALL "error:" marks "${said}")
list(LENGTH marks count)
if(NOT count EQUAL 1)
  message(FATAL_ERROR "${count} errors instead of one:\n${said}")
endif()
if(NOT errors MATCHES "kvsharer ${NUMBER}: ")
  message(FATAL_ERROR "is not told ${NUMBER}:\n${errors}")
endif()
message("${errors}")
