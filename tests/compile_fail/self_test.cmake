# SPDX-License-Identifier: Apache-2.0
# Does check.cmake refuse what it should, and has every number that the library says a file here?
#   cmake -D COMPILER=... -D INCLUDE=... -D SCRATCH=... -P self_test.cmake

# Runs check.cmake on a source text; `expected` is part of what it must say.
function(expect expected passes number text)
  file(WRITE ${SCRATCH}/made_up.cpp "${text}")
  execute_process(
    COMMAND ${CMAKE_COMMAND} -D COMPILER=${COMPILER} -D SOURCE=${SCRATCH}/made_up.cpp -D NUMBER=${number}
            -D INCLUDE=${INCLUDE} -P ${CMAKE_CURRENT_LIST_DIR}/check.cmake
    RESULT_VARIABLE status ERROR_VARIABLE said)
  if(passes AND NOT status EQUAL 0)
    message(SEND_ERROR "check.cmake refuses what is right:\n${text}\n${said}")
  elseif(NOT passes AND status EQUAL 0)
    message(SEND_ERROR "check.cmake accepts what is wrong (${expected}):\n${text}")
  elseif(NOT said MATCHES "${expected}")
    message(SEND_ERROR "check.cmake should say '${expected}' and says:\n${said}")
  endif()
endfunction()

set(first "static_assert(sizeof(int) == 1, \"kvsharer E901: one\")")
set(second "static_assert(sizeof(int) == 2, \"kvsharer E902: two\")")
expect("kvsharer E901: one" TRUE E901 "#ifdef KVSHARER_EXPECT_FAILURE\n${first};\n#endif\n")
expect("is not told E902" FALSE E902 "#ifdef KVSHARER_EXPECT_FAILURE\n${first};\n#endif\n")
expect("2 errors instead of one" FALSE E901 "#ifdef KVSHARER_EXPECT_FAILURE\n${first};\n${second};\n#endif\n")
expect("compiles although it should not" FALSE E901 "int unused;\n")
expect("does not compile as it stands" FALSE E901 "${first};\n")
expect("does not compile as it stands" FALSE E901
       "inline int f(long x) { return x; }\n#ifdef KVSHARER_EXPECT_FAILURE\n${first};\n#endif\n")

file(GLOB_RECURSE headers ${INCLUDE}/*.hpp)
set(numbers "")
foreach(header IN LISTS headers)
  file(READ ${header} text)
  string(REGEX MATCHALL "\"kvsharer E[0-9]+: " found "${text}")
  list(APPEND numbers ${found})
endforeach()
list(TRANSFORM numbers REPLACE ".*(E[0-9]+).*" "\\1")
list(REMOVE_DUPLICATES numbers)
list(LENGTH numbers count)
if(count LESS 20)
  message(SEND_ERROR "only ${count} numbers found under ${INCLUDE}; does the search still fit the library?")
endif()
foreach(number IN LISTS numbers)
  if(NOT EXISTS ${CMAKE_CURRENT_LIST_DIR}/${number}.cpp)
    message(SEND_ERROR "${number} is said by the library and has no compile_fail/${number}.cpp")
  endif()
endforeach()
