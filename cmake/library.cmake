# The library graft::graft: every .cpp of the layers, with the instruction set that a kernel file's name asks for.

find_package(Threads REQUIRED)
find_package(nlohmann_json REQUIRED)

# Public headers are included as graft/core/tensor.h everywhere: here through a link to the sources.
file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/include)
file(CREATE_LINK ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR}/include/graft SYMBOLIC)

file(GLOB kernels CONFIGURE_DEPENDS kernels/*.cpp kernels/*/*.cpp)
list(FILTER kernels EXCLUDE REGEX "/kernels/cuda/")
include(cmake/cuda.cmake)
if(NOT GRAFT_CUDA)
  list(APPEND kernels kernels/cuda/unavailable.cpp)
endif()
file(GLOB sources CONFIGURE_DEPENDS core/*.cpp core/*/*.cpp nn/*.cpp nn/*/*.cpp optim/*.cpp optim/*/*.cpp
     surgery/*.cpp surgery/*/*.cpp io/*.cpp io/*/*.cpp)

if(GRAFT_CUDA)
  list(FILTER sources EXCLUDE REGEX "/core/cuda_graph_unavailable.cpp$")
else()
  list(FILTER sources EXCLUDE REGEX "/core/cuda_graph.cpp$")
endif()

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
# Loops that run for their arithmetic are unrolled and peeled; those that wait for memory, or run where there is no AVX2, are
# not, which halves the size of what is compiled for every dtype.
foreach(file ${kernels})
  set(optimise -O2)
  if(file MATCHES "/(attention|conv|gemm|matmul|norm|pointwise|softmax|optimizer)/" AND
     NOT file MATCHES "/reference.cpp$|\\.baseline.cpp$")
    set(optimise ${GRAFT_KERNEL_FLAGS})
  elseif(file MATCHES "/reduce/")
    list(APPEND optimise $<$<CXX_COMPILER_ID:GNU>:-ftree-vectorize> $<$<CXX_COMPILER_ID:GNU>:-fvect-cost-model=dynamic>)
  endif()
  set_property(SOURCE ${file} APPEND PROPERTY COMPILE_OPTIONS $<$<CONFIG:Release>:${optimise}>)
endforeach()
# Nobody looks at errno or at floating point flags: without these, roots and selections do not become vector instructions.
file(GLOB rows kernels/pointwise/rows*.cpp kernels/softmax/lines*.cpp)
set_property(SOURCE ${rows} APPEND PROPERTY COMPILE_OPTIONS -fno-math-errno -fno-trapping-math)
set_source_files_properties(${rows} PROPERTIES SKIP_PRECOMPILE_HEADERS ON)

# Compiled once, for libgraft.a and libgraft.so alike: what computes, and what edits and stores models.
function(graft_object_library target)
  add_library(${target} OBJECT ${ARGN})
  graft_options(${target})
  set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE ON)
  target_include_directories(${target} PRIVATE ${PROJECT_BINARY_DIR}/include)
  target_compile_options(${target} PRIVATE -ftls-model=initial-exec -fno-semantic-interposition
                         -fvisibility-inlines-hidden $<$<BOOL:${x86}>:-march=x86-64-v2>)
  target_link_libraries(${target} PRIVATE nlohmann_json::nlohmann_json)
  if(GRAFT_UNITY)
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
  endif()
endfunction()
set(edits ${sources})
list(FILTER edits INCLUDE REGEX "/(surgery|io)/[^/]*\\.cpp$")
list(REMOVE_ITEM sources ${edits})
graft_object_library(graft_objects ${kernels} ${sources})
graft_object_library(graft_edit_objects ${edits})
target_compile_options(graft_edit_objects PRIVATE  # no loop there is worth the padding before it
                       $<$<CXX_COMPILER_ID:GNU>:-fno-align-functions> $<$<CXX_COMPILER_ID:GNU>:-fno-align-loops>
                       $<$<CXX_COMPILER_ID:GNU>:-fno-align-jumps>)
if(GRAFT_UNITY)
  foreach(folder core core/ops nn nn/functional optim surgery io)
    file(GLOB files CONFIGURE_DEPENDS ${folder}/*.cpp)
    set_source_files_properties(${files} PROPERTIES UNITY_GROUP "${folder}")
  endforeach()
endif()
if(GRAFT_PCH)
  target_precompile_headers(graft_objects PRIVATE cmake/std.h)
  target_precompile_headers(graft_edit_objects REUSE_FROM graft_objects)
endif()

# Nothing of how the objects were compiled reaches a consumer: include directory and C++20 are all.
function(graft_library target type)
  add_library(${target} ${type} $<TARGET_OBJECTS:graft_objects> $<TARGET_OBJECTS:graft_edit_objects>
              ${graft_cuda_objects})
  set_target_properties(${target} PROPERTIES EXPORT_NAME graft OUTPUT_NAME graft LINKER_LANGUAGE CXX
                        VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
  target_compile_features(${target} PUBLIC cxx_std_20)
  target_include_directories(${target} PUBLIC $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/include>
                             $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_link_libraries(${target} PRIVATE Threads::Threads)
  if(GRAFT_CUDA STREQUAL "EMULATED")
    target_link_libraries(${target} PRIVATE ${CMAKE_DL_LIBS})
  elseif(GRAFT_CUDA)
    target_link_libraries(${target} PRIVATE CUDA::cudart_static)  # opens the driver late: starts without one
  endif()
  get_target_property(type ${target} TYPE)
  if(type STREQUAL "SHARED_LIBRARY")
    target_link_options(${target} PRIVATE LINKER:-Bsymbolic-functions)
  endif()
endfunction()

graft_library(graft "")  # static, or shared with BUILD_SHARED_LIBS
add_library(graft::graft ALIAS graft)
# The shared library beside a static one, for benchmarks and the tests of its installation.
if(BUILD_SHARED_LIBS)
  add_library(graft_shared ALIAS graft)
elseif(GRAFT_BUILD_TESTS OR GRAFT_BUILD_BENCHMARKS)
  graft_library(graft_shared SHARED)
  set_target_properties(graft_shared PROPERTIES EXCLUDE_FROM_ALL ON)
endif()
