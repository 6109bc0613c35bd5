# SPDX-License-Identifier: Apache-2.0
# The compilers that the library's headers and diagnostics are tested with: the one that builds the tests, and the other
# of gcc and clang if it is installed. Sets test_compilers and, for each of them, test_compiler_<name>; where the other
# one is missing, a test of its name says that it was skipped.
set(test_compiler_gcc_names g++ g++-14 g++-13 g++-12)
set(test_compiler_clang_names clang++ clang++-19 clang++-18 clang++-17 clang++-16 clang++-15 clang++-14)
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  set(test_compilers gcc)
  set(other_compiler clang)
else()
  set(test_compilers clang)
  set(other_compiler gcc)
endif()
set(test_compiler_${test_compilers} ${CMAKE_CXX_COMPILER})

find_program(test_compiler_${other_compiler} NAMES ${test_compiler_${other_compiler}_names})
if(test_compiler_${other_compiler})
  list(APPEND test_compilers ${other_compiler})
else()
  add_test(NAME other_compiler.${other_compiler}
           COMMAND ${CMAKE_COMMAND} -E echo "skipped: no ${other_compiler} here to test headers and diagnostics with")
  set_tests_properties(other_compiler.${other_compiler} PROPERTIES SKIP_REGULAR_EXPRESSION "skipped: no ")
endif()

# What such a compiler must be told to find third parties, as system includes: test_includes_cpu, test_includes_json, and
# nothing for the rest of the library. Compilers search their own folders unasked.
set(test_includes_core "")
function(third_party part library)
  get_target_property(folders ${library} INTERFACE_INCLUDE_DIRECTORIES)
  list(REMOVE_ITEM folders /usr/include ${CMAKE_CXX_IMPLICIT_INCLUDE_DIRECTORIES})
  list(TRANSFORM folders PREPEND -isystem)
  set(test_includes_${part} ${folders} PARENT_SCOPE)
endfunction()
third_party(cpu Eigen3::Eigen)
third_party(json nlohmann_json::nlohmann_json)
