# What the compilers are told: warnings, sanitizers, ccache; and graft_options(), which every target of ours calls.

if(GRAFT_SANITIZE STREQUAL "address")
  # Null pointers and ends of objects are AddressSanitizer's: looking twice is an eighth of the compile time.
  set(sanitizer -fsanitize=address,undefined -fno-sanitize=null,object-size -fno-sanitize-recover=all -fno-omit-frame-pointer)
elseif(GRAFT_SANITIZE STREQUAL "thread")
  set(sanitizer -fsanitize=thread)
elseif(GRAFT_SANITIZE)
  message(FATAL_ERROR "GRAFT_SANITIZE is address, thread or empty, not \"${GRAFT_SANITIZE}\"")
endif()
if(sanitizer AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  list(APPEND sanitizer -Wno-maybe-uninitialized)  # sees paths that the sanitizer's own checks add
elseif(GRAFT_SANITIZE STREQUAL "address")
  # Said as g++ says it. A number outside of an integer's range becomes some integer, as in PyTorch; g++ does not look at these.
  list(APPEND sanitizer -D__SANITIZE_ADDRESS__ -fno-sanitize=float-cast-overflow)
elseif(GRAFT_SANITIZE)
  list(APPEND sanitizer -D__SANITIZE_THREAD__)
endif()
add_compile_options(${sanitizer})
add_link_options(${sanitizer})

# ccache needs to be told that a precompiled header may be trusted, and that two checkouts are the same source.
find_program(GRAFT_CCACHE_PROGRAM ccache)
mark_as_advanced(GRAFT_CCACHE_PROGRAM)
if(GRAFT_CCACHE AND GRAFT_CCACHE_PROGRAM)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros
      CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${GRAFT_CCACHE_PROGRAM})
  if(GRAFT_PCH AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    add_compile_options(-fpch-preprocess)
  endif()
endif()

# Compilers that the project is not tested with may know warnings of their own; there they stay warnings.
set(werror)
if(GRAFT_WERROR AND "${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}" MATCHES "^(GNU 12|Clang 19)\\.")
  set(werror -Werror)
endif()

function(graft_options target)
  target_compile_features(${target} PRIVATE cxx_std_20)
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF)
  target_compile_options(${target} PRIVATE -Wall -Wextra ${werror}
                         $<$<CXX_COMPILER_ID:GNU>:-Wno-psabi>
                         # libstdc++'s own std::stable_sort uses what its C++17 declares deprecated
                         $<$<CXX_COMPILER_ID:Clang>:-Wno-deprecated-declarations>)
endfunction()

# Programs whose time is spent in the library, or in the compiler: tests, pages of the documentation, tools.
function(graft_check_options target)
  graft_options(${target})
  target_compile_options(${target} PRIVATE $<$<OR:$<CONFIG:Release>,$<BOOL:${GRAFT_SANITIZE}>>:-O0>)
endfunction()
