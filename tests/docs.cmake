# Every page of the documentation is a program: its ```cpp blocks compile, and their statements run. See docs.awk.

file(GLOB doc_pages CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/docs/*.md ${PROJECT_SOURCE_DIR}/README.md)
file(GLOB doc_headers CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/core/*.h
     ${PROJECT_SOURCE_DIR}/nn/*.h ${PROJECT_SOURCE_DIR}/optim/*.h ${PROJECT_SOURCE_DIR}/surgery/*.h ${PROJECT_SOURCE_DIR}/io/*.h)
list(TRANSFORM doc_headers PREPEND graft/)
list(JOIN doc_headers " " doc_headers)

foreach(page ${doc_pages})
  file(STRINGS ${page} blocks REGEX "^```cpp")
  if(NOT blocks)
    continue()
  endif()
  cmake_path(GET page STEM name)
  set(source ${CMAKE_CURRENT_BINARY_DIR}/docs/${name}.cpp)
  add_custom_command(OUTPUT ${source} DEPENDS ${page} ${CMAKE_CURRENT_SOURCE_DIR}/docs.awk VERBATIM
    COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_CURRENT_BINARY_DIR}/docs
    COMMAND awk -v "headers=${doc_headers}" -f ${CMAKE_CURRENT_SOURCE_DIR}/docs.awk ${page} > ${source})
  add_executable(docs.${name} ${source})
  graft_check_options(docs.${name})
  target_compile_options(docs.${name} PRIVATE -Wno-unused -Wno-unused-but-set-variable)
  target_link_libraries(docs.${name} PRIVATE graft::graft)
  add_dependencies(graft_tests docs.${name})
  add_test(NAME docs.${name} COMMAND docs.${name} WORKING_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR})
  set_tests_properties(docs.${name} PROPERTIES TIMEOUT 120 LABELS docs)
endforeach()
