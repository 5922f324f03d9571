# The library graft::graft: every .cpp of the layers, with the instruction set that a kernel file's name asks for.

find_package(Threads REQUIRED)
find_package(Eigen3 REQUIRED NO_MODULE)
find_package(nlohmann_json REQUIRED)

# Public headers are included as graft/core/tensor.h everywhere: here through a link to the sources.
file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/include)
file(CREATE_LINK ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR}/include/graft SYMBOLIC)

file(GLOB kernels CONFIGURE_DEPENDS kernels/*.cpp kernels/*/*.cpp)
file(GLOB sources CONFIGURE_DEPENDS core/*.cpp core/*/*.cpp nn/*.cpp nn/*/*.cpp optim/*.cpp optim/*/*.cpp
     surgery/*.cpp surgery/*/*.cpp io/*.cpp io/*/*.cpp)

# x.avx2.cpp and x.avx512.cpp are compiled for wider instruction sets and chosen at run time. What they define must have
# internal linkage but for their one entry, or the linker may take a function from them for everybody; a test looks.
set(avx2 -mavx2 -mfma -mf16c)
set(avx512 -mavx512f -mavx512vl -mavx512dq -mavx512bw -mfma -mf16c -mprefer-vector-width=512)
set(x86 FALSE)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64|amd64")
  set(x86 TRUE)
endif()
foreach(isa avx2 avx512)
  set(files ${kernels})
  list(FILTER files INCLUDE REGEX "\\.${isa}\\.cpp$")
  if(x86)
    set_source_files_properties(${files} PROPERTIES SKIP_PRECOMPILE_HEADERS ON)
    set_property(SOURCE ${files} APPEND PROPERTY COMPILE_OPTIONS ${${isa}})
  else()
    list(REMOVE_ITEM kernels ${files})
  endif()
endforeach()
foreach(file ${kernels})
  set_property(SOURCE ${file} APPEND PROPERTY COMPILE_OPTIONS $<$<CONFIG:Release>:${GRAFT_KERNEL_FLAGS}>)
endforeach()

add_library(graft ${kernels} ${sources})
add_library(graft::graft ALIAS graft)
graft_options(graft)
target_compile_features(graft PUBLIC cxx_std_20)
set_target_properties(graft PROPERTIES POSITION_INDEPENDENT_CODE ON VERSION ${PROJECT_VERSION}
                      SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
target_include_directories(graft PUBLIC $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/include>
                           $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_compile_options(graft PRIVATE -ftls-model=initial-exec -fno-semantic-interposition -fvisibility-inlines-hidden
                       $<$<BOOL:${x86}>:-march=x86-64-v2>)
if(BUILD_SHARED_LIBS)
  target_link_options(graft PRIVATE LINKER:-Bsymbolic-functions)
endif()
# Only headers are used of these, only in .cpp files: a consumer needs neither.
target_link_libraries(graft PRIVATE Threads::Threads $<BUILD_INTERFACE:Eigen3::Eigen>
                      $<BUILD_INTERFACE:nlohmann_json::nlohmann_json>)
if(GRAFT_PCH)
  target_precompile_headers(graft PRIVATE cmake/std.h)
endif()
