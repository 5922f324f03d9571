# Every page of the documentation is a program: its ```cpp blocks compile, their statements run, and they print what the
# page says. See docs.awk. docs/surgery/folding.md is docs.surgery.folding.

file(GLOB doc_pages CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/docs/*.md ${PROJECT_SOURCE_DIR}/docs/surgery/*.md
     ${PROJECT_SOURCE_DIR}/README.md)
file(GLOB doc_headers CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/core/*.h
     ${PROJECT_SOURCE_DIR}/nn/*.h ${PROJECT_SOURCE_DIR}/optim/*.h ${PROJECT_SOURCE_DIR}/surgery/*.h ${PROJECT_SOURCE_DIR}/io/*.h)
list(TRANSFORM doc_headers PREPEND graft/)
if(GRAFT_SANITIZE)
  list(FILTER doc_pages INCLUDE REGEX "/README.md$")  # whose model the test of the command needs; the others call what tests call
  list(FILTER doc_pages EXCLUDE REGEX "/docs/")
endif()

function(graft_page_options target)
  graft_check_options(${target})
  target_compile_options(${target} PRIVATE -Wno-unused -Wno-unused-but-set-variable)
  target_include_directories(${target} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
  target_link_libraries(${target} PRIVATE graft::graft)
endfunction()

# All pages include everything: once compiled, it serves them all.
file(CONFIGURE OUTPUT docs_pch.cpp CONTENT "")
add_library(graft_docs_pch OBJECT ${CMAKE_CURRENT_BINARY_DIR}/docs_pch.cpp)
graft_page_options(graft_docs_pch)
if(GRAFT_PCH)
  list(TRANSFORM doc_headers REPLACE "^(.+)$" "<\\1>" OUTPUT_VARIABLE headers)
  target_precompile_headers(graft_docs_pch PRIVATE ${headers} <iostream>)
endif()
list(JOIN doc_headers " " doc_headers)

foreach(page ${doc_pages})
  file(STRINGS ${page} blocks REGEX "^```cpp")
  if(NOT blocks)
    continue()
  endif()
  cmake_path(RELATIVE_PATH page BASE_DIRECTORY ${PROJECT_SOURCE_DIR} OUTPUT_VARIABLE name)
  string(REGEX REPLACE "^docs/|\\.md$" "" name ${name})
  string(REPLACE / . name ${name})
  set(source ${CMAKE_CURRENT_BINARY_DIR}/docs/${name}.cpp)
  add_custom_command(OUTPUT ${source} DEPENDS ${page} ${CMAKE_CURRENT_SOURCE_DIR}/docs.awk VERBATIM
    COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_CURRENT_BINARY_DIR}/docs
    COMMAND awk -v "headers=${doc_headers}" -f ${CMAKE_CURRENT_SOURCE_DIR}/docs.awk ${page} > ${source})
  add_executable(docs.${name} ${source})
  graft_page_options(docs.${name})
  if(GRAFT_PCH)
    target_precompile_headers(docs.${name} REUSE_FROM graft_docs_pch)
  endif()
  add_dependencies(graft_tests docs.${name})
  add_test(NAME docs.${name} COMMAND docs.${name} WORKING_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR})
  set_tests_properties(docs.${name} PROPERTIES TIMEOUT 120 LABELS docs)
  if(GRAFT_CUDA AND name STREQUAL "cuda")  # the page of device cuda does more where there is one
    add_dependencies(graft_cuda_tests docs.cuda)
    set_tests_properties(docs.cuda PROPERTIES LABELS "docs;cuda")
  endif()
endforeach()
