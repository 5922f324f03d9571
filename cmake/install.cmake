# Installation: library, public headers, LICENSE, and the files by which CMake and pkg-config find them. The component
# "graft_shared" is the shared library beside a static one: installed only when asked for by name.
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/graft)
function(graft_install_library target)
  get_target_property(type ${target} TYPE)
  string(REGEX REPLACE "_LIBRARY" "" type "${type}")
  string(TOLOWER "${type}" type)
  install(TARGETS ${target} EXPORT ${target} ${ARGN})
  install(EXPORT ${target} NAMESPACE graft:: FILE graft-${type}.cmake DESTINATION ${package_dir} ${ARGN})
endfunction()
graft_install_library(graft COMPONENT graft)
if(TARGET graft_shared AND NOT BUILD_SHARED_LIBS)
  graft_install_library(graft_shared COMPONENT graft_shared EXCLUDE_FROM_ALL)
endif()
set(CMAKE_INSTALL_DEFAULT_COMPONENT_NAME graft_files)
# Of the kernels only what ops, a user's own included, name: views, the table, attributes.
file(GLOB_RECURSE headers CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR} core/*.h nn/*.h optim/*.h surgery/*.h io/*.h)
file(GLOB kernel_headers CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR} kernels/*.h kernels/*/attrs.h)
set(graft_public_headers ${headers} ${kernel_headers})
foreach(header ${graft_public_headers})
  cmake_path(GET header PARENT_PATH folder)
  install(FILES ${header} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/graft/${folder})
endforeach()
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

write_basic_package_version_file(${PROJECT_BINARY_DIR}/graft-config-version.cmake COMPATIBILITY SameMinorVersion)
configure_file(cmake/graft-config.cmake.in ${PROJECT_BINARY_DIR}/graft-config.cmake @ONLY)
# In the .pc file everything is relative to where it lies: an installed tree may be moved.
set(pc_prefix ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
string(REGEX REPLACE "[^/]+" ".." pc_prefix "${pc_prefix}")
configure_file(cmake/graft.pc.in ${PROJECT_BINARY_DIR}/graft.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/graft-config.cmake ${PROJECT_BINARY_DIR}/graft-config-version.cmake
        DESTINATION ${package_dir})
install(FILES ${PROJECT_BINARY_DIR}/graft.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
