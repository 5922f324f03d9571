# The CUDA backend: kernels/*/cuda*.cu. GRAFT_CUDA=ON compiles them by nvcc; EMULATED by the C++ compiler, for a device that
# kernels/cuda/emulation plays on the CPU and that looks at every access of theirs.
set(GRAFT_CUDA OFF CACHE STRING "OFF, EMULATED (device cuda is played by the CPU, for tests) or ON (nvcc)")
set_property(CACHE GRAFT_CUDA PROPERTY STRINGS OFF EMULATED ON)
set(graft_cuda_objects)
if(NOT GRAFT_CUDA)
  return()
endif()
if(GRAFT_SANITIZE)
  message(FATAL_ERROR "GRAFT_CUDA and GRAFT_SANITIZE exclude each other: the emulated device has a checker of its own")
endif()

file(GLOB cuda_kernels CONFIGURE_DEPENDS kernels/*/cuda*.cu)
set(cuda_sources kernels/cuda/runtime.cpp kernels/cuda/graph.cpp kernels/cuda/register.cpp kernels/cuda/vendor.cpp
    kernels/cuda/vendor_cublas.cpp kernels/cuda/vendor_cudnn.cpp)

if(GRAFT_CUDA STREQUAL "EMULATED")
  # NVIDIA's headers are all that is needed: of a toolkit, or what `./dev cuda` fetches from PyPI.
  find_package(CUDAToolkit QUIET)
  find_path(GRAFT_CUDA_INCLUDE cuda_runtime.h
            HINTS ${PROJECT_SOURCE_DIR}/build/cuda-headers/nvidia/cu13/include ${CUDAToolkit_INCLUDE_DIRS} REQUIRED
            DOC "Where cuda_runtime.h is")
  file(GLOB emulation CONFIGURE_DEPENDS kernels/cuda/emulation/*.cpp)
  list(APPEND cuda_sources ${emulation})
  # Every access calls the checker (kernels/cuda/emulation/checker.cpp); the library of ThreadSanitizer is not linked.
  set(graft_cuda_flags -x c++ -O1 -g1 -fno-tree-sra -fno-strict-aliasing -fsanitize=thread
      --param tsan-instrument-func-entry-exit=0 -Wno-unknown-pragmas -Wno-tsan -Wno-attributes -DGRAFT_CUDA_KERNEL)
elseif(GRAFT_CUDA)
  set(CMAKE_CUDA_ARCHITECTURES 80-real 90-real 100 CACHE STRING "GPUs to compile for; PTX of the last serves later ones")
  enable_language(CUDA)
  find_package(CUDAToolkit REQUIRED)
  set(GRAFT_CUDA_INCLUDE ${CUDAToolkit_INCLUDE_DIRS})
  set(graft_cuda_flags -std=c++20 --expt-relaxed-constexpr --expt-extended-lambda -diag-suppress=177 -Xcompiler=-fno-strict-aliasing)
endif()

# To be called in the directory of the target that compiles these .cu files.
function(graft_cuda_files)
  if(GRAFT_CUDA STREQUAL "EMULATED")
    set_source_files_properties(${ARGN} PROPERTIES LANGUAGE CXX SKIP_PRECOMPILE_HEADERS ON)
  endif()
  set_property(SOURCE ${ARGN} APPEND PROPERTY COMPILE_OPTIONS ${graft_cuda_flags})
endfunction()

add_library(graft_cuda OBJECT ${cuda_sources} ${cuda_kernels})
graft_cuda_files(${cuda_kernels})
set_target_properties(graft_cuda PROPERTIES POSITION_INDEPENDENT_CODE ON CXX_EXTENSIONS OFF)
target_compile_features(graft_cuda PRIVATE cxx_std_20)
target_compile_options(graft_cuda PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra ${werror} -Wno-psabi>
                       $<$<COMPILE_LANGUAGE:CXX>:-ftls-model=initial-exec>)
target_include_directories(graft_cuda PRIVATE ${PROJECT_BINARY_DIR}/include)
target_include_directories(graft_cuda SYSTEM PRIVATE ${GRAFT_CUDA_INCLUDE})
target_compile_definitions(graft_cuda PRIVATE $<$<STREQUAL:${GRAFT_CUDA},EMULATED>:GRAFT_CUDA_EMULATED>)
set(graft_cuda_objects $<TARGET_OBJECTS:graft_cuda>)

# What nvcc makes of the kernels, without the host's part of these files: half the time of objects. For `./dev cuda --bars`.
if(NOT GRAFT_CUDA STREQUAL "EMULATED")
  list(TRANSFORM GRAFT_CUDA_INCLUDE PREPEND "-isystem=" OUTPUT_VARIABLE system)
  set(cubins)
  foreach(file ${cuda_kernels})
    cmake_path(RELATIVE_PATH file BASE_DIRECTORY ${PROJECT_SOURCE_DIR}/kernels OUTPUT_VARIABLE name)
    string(REPLACE "/" "_" name ${name})
    foreach(arch ${CMAKE_CUDA_ARCHITECTURES})
      string(REGEX REPLACE "-.*" "" arch ${arch})
      set(cubin ${PROJECT_BINARY_DIR}/cubin/${name}.sm_${arch}.cubin)
      add_custom_command(OUTPUT ${cubin} DEPENDS ${file} DEPFILE ${cubin}.d VERBATIM
        COMMAND ${CMAKE_CUDA_COMPILER} ${graft_cuda_flags} -DNDEBUG -I${PROJECT_BINARY_DIR}/include ${system} -cubin
                -arch=sm_${arch} -MD -MF ${cubin}.d -o ${cubin} ${file}
        COMMENT "Compiling kernels of ${file} for sm_${arch}")
      list(APPEND cubins ${cubin})
    endforeach()
  endforeach()
  file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/cubin)
  add_custom_target(graft_cubins DEPENDS ${cubins})
endif()
