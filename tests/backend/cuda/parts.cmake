# SPDX-License-Identifier: Apache-2.0
# Device tests of more than one file, for the programs of nvcc and of the host compiler alike.
find_program(KVSHARER_NM NAMES ${CMAKE_NM} nm)
set(parts_folder ${CMAKE_CURRENT_LIST_DIR})

# device_test_parts(<cuda|simt> <name of the test> <its main library>): further files of a test that has any.
function(device_test_parts room name library)
  set(language CUDA)
  if(room STREQUAL "simt")
    set(language CXX)
  endif()
  if(name STREQUAL "instantiate")
    set(source ${parts_folder}/instantiate/engine_kernels.cu)
    set_source_files_properties(${source} PROPERTIES LANGUAGE ${language})
    add_library(${room}_engine_kernels OBJECT ${source})
    target_link_libraries(${room}_engine_kernels PRIVATE ${library})
    target_sources(test_${room}.${name} PRIVATE $<TARGET_OBJECTS:${room}_engine_kernels>)
    if(KVSHARER_NM)
      add_test(NAME ${room}.instantiate.kernels
               COMMAND ${CMAKE_COMMAND} -DNM=${KVSHARER_NM} "-DMAKER=$<TARGET_OBJECTS:${room}_engine_kernels>"
                       "-DUSER=$<FILTER:$<TARGET_OBJECTS:test_${room}.${name}>,INCLUDE,instantiate_test>"
                       -P ${parts_folder}/instantiate/kernels.cmake)
    endif()
  elseif(name STREQUAL "engine_paged")
    # What it is held against: plain C++, by the host compiler in either room.
    set(flat ${parts_folder}/../../engines/flat_shared)
    add_library(${room}_flat_engine OBJECT ${flat}/engine.cpp ${flat}/find_sharing.cpp)
    target_link_libraries(${room}_flat_engine PUBLIC kvsharer::cpu)
    target_link_libraries(test_${room}.${name} PRIVATE ${room}_flat_engine)
  elseif(name STREQUAL "driver_families")
    # What it is held against, in code that nvcc does not read.
    add_library(${room}_host_logits OBJECT ${parts_folder}/driver_families/host_logits.cpp)
    target_link_libraries(${room}_host_logits PRIVATE mini_llama_engine kvsharer_development)
    target_link_libraries(test_${room}.${name} PRIVATE ${room}_host_logits)
  elseif(name STREQUAL "shared_objects")
    set(source ${parts_folder}/shared_objects/engine.cu)
    set_source_files_properties(${source} PROPERTIES LANGUAGE ${language})
    add_library(${room}_engine_object OBJECT ${source})
    set_target_properties(${room}_engine_object PROPERTIES POSITION_INDEPENDENT_CODE ON)
    target_link_libraries(${room}_engine_object PRIVATE ${library})
    foreach(which IN ITEMS first second)
      set(target ${room}_${which}_engine)
      add_library(${target} MODULE $<TARGET_OBJECTS:${room}_engine_object>)
      set_target_properties(${target} PROPERTIES LINKER_LANGUAGE ${language})
      string(TOUPPER ${which} upper)
      target_compile_definitions(test_${room}.${name} PRIVATE KVSHARER_${upper}_ENGINE="$<TARGET_FILE_NAME:${target}>")
      add_dependencies(test_${room}.${name} ${target})
    endforeach()
    target_link_libraries(test_${room}.${name} PRIVATE ${CMAKE_DL_LIBS})
    if(KVSHARER_NM)
      add_test(NAME ${room}.shared_objects.hidden
               COMMAND ${CMAKE_COMMAND} -DNM=${KVSHARER_NM} -DLIBRARY=$<TARGET_FILE:${room}_first_engine>
                       -P ${parts_folder}/shared_objects/hidden.cmake)
    endif()
  endif()
endfunction()
