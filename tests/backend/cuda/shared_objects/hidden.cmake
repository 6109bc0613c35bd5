# SPDX-License-Identifier: Apache-2.0
# cmake -DNM=… -DLIBRARY=<shared object> -P hidden.cmake: it holds kernels, and offers none of them to others.
execute_process(COMMAND ${NM} --demangle ${LIBRARY} OUTPUT_VARIABLE all COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${NM} --demangle --dynamic --defined-only ${LIBRARY} OUTPUT_VARIABLE offered COMMAND_ERROR_IS_FATAL ANY)
if(NOT all MATCHES "cosine_parts_kernel<" OR NOT all MATCHES "mean_cosine_kernel")
  message(FATAL_ERROR "the kernels are not in it:\n${all}")
endif()
if(NOT offered MATCHES "kvsharer_test_similarity")
  message(FATAL_ERROR "it offers nothing:\n${offered}")
endif()
if(offered MATCHES "[^\n]*_kernel[<(][^\n]*")
  message(FATAL_ERROR "it offers a kernel: ${CMAKE_MATCH_0}")
endif()
