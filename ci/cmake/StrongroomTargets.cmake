# One target a folder. strongroom_library(NAME SOURCES ... HEADERS ... LINKS ...) makes sr_NAME: warnings are errors,
# every public header must compile on its own (CMAKE_VERIFY_INTERFACE_HEADER_SETS), includes are from the root.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_VERIFY_INTERFACE_HEADER_SETS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()

add_library(sr_flags INTERFACE)
target_compile_options(sr_flags INTERFACE -Wall -Wextra -Wpedantic -Werror -Wshadow -Wnon-virtual-dtor
  -Woverloaded-virtual -Wimplicit-fallthrough -fstack-protector-strong -fno-omit-frame-pointer)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # Known false alarms of g++ 12 on inlined vector inserts and string concatenation (GCC bugs 105329, 105762).
  target_compile_options(sr_flags INTERFACE -Wno-stringop-overflow -Wno-restrict -Wno-array-bounds)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  target_compile_options(sr_flags INTERFACE -Werror=thread-safety)
endif()
target_compile_definitions(sr_flags INTERFACE
  $<$<CONFIG:Release>:_FORTIFY_SOURCE=2> BOOST_JSON_NO_LIB BOOST_SYSTEM_NO_LIB)
target_link_options(sr_flags INTERFACE -Wl,-z,relro,-z,now)
target_link_libraries(sr_flags INTERFACE Threads::Threads)

function(strongroom_library name)
  cmake_parse_arguments(A "" "" "SOURCES;HEADERS;LINKS;PRIVATE_LINKS" ${ARGN})
  add_library(sr_${name} STATIC ${A_SOURCES})
  target_sources(sr_${name} PUBLIC FILE_SET HEADERS BASE_DIRS ${CMAKE_SOURCE_DIR} FILES ${A_HEADERS})
  target_include_directories(sr_${name} PUBLIC ${CMAKE_SOURCE_DIR})
  target_link_libraries(sr_${name} PUBLIC ${A_LINKS} PRIVATE sr_flags ${A_PRIVATE_LINKS})
endfunction()

function(strongroom_program name)
  cmake_parse_arguments(A "" "" "SOURCES;LINKS" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  target_link_libraries(${name} PRIVATE sr_flags ${A_LINKS})
endfunction()
