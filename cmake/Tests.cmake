# All C++ tests are one binary, pawl_tests: one link, and a filter picks what to run.
find_package(GTest REQUIRED)
enable_testing()
if(NOT (PAWL_POSTGRES AND PAWL_HTTP AND PAWL_REDIS))
  message(FATAL_ERROR "The tests need PAWL_POSTGRES, PAWL_HTTP and PAWL_REDIS: or configure with -DPAWL_TESTS=OFF")
endif()

file(GLOB_RECURSE pawl_tests_sources CONFIGURE_DEPENDS tests/*_test.cc)
file(GLOB_RECURSE pawl_support_sources CONFIGURE_DEPENDS tests/support/*.cc)
if(pawl_support_sources AND pawl_tests_sources)
  list(REMOVE_ITEM pawl_support_sources ${pawl_tests_sources})
endif()
# tests/package is a project of its own, which scripts/test_package builds.
list(FILTER pawl_tests_sources EXCLUDE REGEX "/tests/package/")

# Paths are compiled into one small file, and not given to all as definitions: ccache then shares
# the rest with other checkouts.
configure_file(tests/support/paths.cc.in ${PROJECT_BINARY_DIR}/paths.cc @ONLY)
add_library(pawl_test_support STATIC ${PROJECT_BINARY_DIR}/paths.cc ${pawl_support_sources})
target_include_directories(pawl_test_support PUBLIC ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR})
target_link_libraries(pawl_test_support
  PUBLIC pawl::pawl pawl::postgres pawl::http pawl::redis pawl_options pawl_sqlite3 GTest::gmock GTest::gtest)

add_executable(pawl_tests ${pawl_unit_tests} ${pawl_tests_sources})
target_link_libraries(pawl_tests PRIVATE pawl_test_support GTest::gmock_main)
if(PAWL_PCH)
  target_precompile_headers(pawl_tests PRIVATE ${pawl_pch} <gmock/gmock.h> <gtest/gtest.h>)
endif()

# Programs that tests start, kill and start again: each tests/programs/NAME.cc is bin/NAME.
file(GLOB programs CONFIGURE_DEPENDS tests/programs/*.cc)
foreach(source IN LISTS programs)
  get_filename_component(name ${source} NAME_WE)
  add_executable(${name} ${source})
  target_link_libraries(${name} PRIVATE pawl_test_support)
  add_dependencies(pawl_tests ${name})
endforeach()

include(GoogleTest)
# A sanitizer slows some of them down twentyfold.
set(test_seconds_max 300)
if(PAWL_SANITIZE)
  set(test_seconds_max 1500)
endif()
gtest_discover_tests(pawl_tests DISCOVERY_MODE PRE_TEST PROPERTIES TIMEOUT ${test_seconds_max})

# Programs that must not compile, and what the compiler has to say about them.
file(GLOB wrong_programs CONFIGURE_DEPENDS tests/compile_fail/*.cc)
get_target_property(boost_folders Boost::headers INTERFACE_INCLUDE_DIRECTORIES)
list(REMOVE_ITEM boost_folders ${CMAKE_CXX_IMPLICIT_INCLUDE_DIRECTORIES})
list(TRANSFORM boost_folders PREPEND -I)
set(old_gcc FALSE)
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  set(old_gcc TRUE)
endif()
foreach(source IN LISTS wrong_programs)
  get_filename_component(name ${source} NAME_WE)
  add_test(NAME CompileFail.${name}
    COMMAND ${CMAKE_COMMAND} -DSOURCE=${source} -DOLD_GCC=${old_gcc}
            -P ${PROJECT_SOURCE_DIR}/cmake/CompileFail.cmake --
            ${CMAKE_CXX_COMPILER} -std=c++20 -fsyntax-only -fmessage-length=0 -DFMT_HEADER_ONLY
            -I${PROJECT_SOURCE_DIR}/include ${boost_folders})
  set_tests_properties(CompileFail.${name} PROPERTIES TIMEOUT 300)
endforeach()
