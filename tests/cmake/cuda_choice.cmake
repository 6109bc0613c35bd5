# SPDX-License-Identifier: Apache-2.0
# cmake -P: what is built for a GPU follows who asks. Each question is a CMake of its own, since most end it.
cmake_minimum_required(VERSION 3.24)
set(choice ${CMAKE_CURRENT_LIST_DIR}/../../cmake/cuda_choice.cmake)
if(ASKED)
  include(${choice})
  kvsharer_explain_nvcc("${NVCC}")
  message(STATUS "architectures: ${CMAKE_CUDA_ARCHITECTURES}.")
  return()
endif()

function(ask expected)  # then arguments of cmake, behind those that are NAME=VALUE for the environment
  execute_process(COMMAND ${CMAKE_COMMAND} -E env --unset=CUDAARCHS ${ARGN} -DASKED=ON -P ${CMAKE_CURRENT_LIST_FILE}
                  OUTPUT_VARIABLE said ERROR_VARIABLE said TIMEOUT 60)
  string(REGEX REPLACE "[ \n]+" " " said "${said}")
  string(FIND "${said}" "${expected}" at)
  if(at LESS 0)
    message(SEND_ERROR "${ARGN}: \"${expected}\" is not in \"${said}\"")
  endif()
endfunction()
ask("architectures: 90a-real." ${CMAKE_COMMAND})
ask("architectures: 90a-real." CUDAARCHS= ${CMAKE_COMMAND})
ask("architectures: ." CUDAARCHS=80 ${CMAKE_COMMAND})
ask("architectures: 86." CUDAARCHS=80 ${CMAKE_COMMAND} -DCMAKE_CUDA_ARCHITECTURES=86)
ask("nothing is built for a GPU, since /opt/cuda/bin/nvcc is not in PATH. To build for a GPU, set PATH=/opt/cuda/bin:$PATH, or \
configure with -DCMAKE_CUDA_COMPILER=/opt/cuda/bin/nvcc" ${CMAKE_COMMAND} -DNVCC=/opt/cuda/bin/nvcc)
ask("CMake Error" ${CMAKE_COMMAND} -DNVCC=/opt/cuda/bin/nvcc -DKVSHARER_CUDA=ON)
foreach(silent IN ITEMS -DKVSHARER_CUDA=OFF -DCMAKE_CUDA_COMPILER=/opt/cuda/bin/nvcc)
  ask("-- architectures: 90a-real." ${CMAKE_COMMAND} -DNVCC=/opt/cuda/bin/nvcc ${silent})
endforeach()
