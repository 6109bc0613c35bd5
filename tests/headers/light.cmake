# SPDX-License-Identifier: Apache-2.0
# cmake "-DCOMMAND=<compiler and flags, that list what a file includes>" -DSOURCE=… -P light.cmake: fails when the source
# pulls in Eigen, JSON, Thrust or CUB, or <iostream> with its objects and their order of construction.
execute_process(COMMAND ${COMMAND} ${SOURCE} OUTPUT_VARIABLE included COMMAND_ERROR_IS_FATAL ANY)
if(NOT included MATCHES "/vector[ \n\\]")
  message(FATAL_ERROR "this is no list of what ${SOURCE} includes:\n${included}")
endif()
if(included MATCHES "[^ \n]*(/Eigen/|/nlohmann/|/thrust/|/cub/|/iostream)[^ \n]*")
  message(FATAL_ERROR "${SOURCE} pulls in ${CMAKE_MATCH_0}\n")
endif()
