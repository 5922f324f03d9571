# Installation: library, public headers, LICENSE, and the files by which CMake and pkg-config find them.
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/graft)
install(TARGETS graft EXPORT graft)
install(EXPORT graft NAMESPACE graft:: FILE graft-targets.cmake DESTINATION ${package_dir})
foreach(layer core nn optim surgery io)
  if(EXISTS ${PROJECT_SOURCE_DIR}/${layer})
    install(DIRECTORY ${layer} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/graft
            FILES_MATCHING PATTERN "*.h" PATTERN "*.inc")
  endif()
endforeach()
# Of the kernels only what a kernel of the user's own needs; the families are private.
file(GLOB kernel_headers CONFIGURE_DEPENDS kernels/*.h)
install(FILES ${kernel_headers} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/graft/kernels)
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
