# SPDX-License-Identifier: Apache-2.0
# cmake -DNM=… -DMAKER=<object> -DUSER=<object> -P kernels.cmake: the object that makes an engine's kernels holds
# them, and the one that was told so holds none but copies of pages, which members of the cache launch that are inline.
foreach(object IN ITEMS MAKER USER)
  execute_process(COMMAND ${NM} --demangle --defined-only ${${object}} OUTPUT_VARIABLE ${object} COMMAND_ERROR_IS_FATAL ANY)
endforeach()
foreach(kernel IN ITEMS decode_kernel prefill_kernel wide_prefill_kernel mass_kernel store_kernel fold_kernel merge_distances_kernel)
  if(NOT MAKER MATCHES "${kernel}<")
    message(FATAL_ERROR "${kernel} was not made")
  endif()
  if(USER MATCHES "[^\n]*${kernel}<[^\n]*")
    message(FATAL_ERROR "made again: ${CMAKE_MATCH_0}")
  endif()
endforeach()
