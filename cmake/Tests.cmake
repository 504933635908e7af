# All C++ tests are one binary, pawl_tests: one link, and a filter picks what to run.
find_package(GTest REQUIRED)
enable_testing()

file(GLOB_RECURSE pawl_tests_sources CONFIGURE_DEPENDS tests/*_test.cc)
file(GLOB_RECURSE pawl_support_sources CONFIGURE_DEPENDS tests/support/*.cc)
if(pawl_support_sources AND pawl_tests_sources)
  list(REMOVE_ITEM pawl_support_sources ${pawl_tests_sources})
endif()
# tests/package is a project of its own, which scripts/test_package builds.
list(FILTER pawl_tests_sources EXCLUDE REGEX "/tests/package/")

if(pawl_support_sources)
  add_library(pawl_test_support STATIC ${pawl_support_sources})
else()
  add_library(pawl_test_support INTERFACE)
  set(support_scope INTERFACE)
endif()
if(NOT support_scope)
  set(support_scope PUBLIC)
endif()
target_include_directories(pawl_test_support
  ${support_scope} ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR})
target_link_libraries(pawl_test_support
  ${support_scope} pawl::pawl pawl_options pawl_sqlite3 GTest::gmock GTest::gtest)

add_executable(pawl_tests ${pawl_unit_tests} ${pawl_tests_sources})
target_link_libraries(pawl_tests PRIVATE pawl_test_support GTest::gmock_main)
target_compile_definitions(pawl_tests PRIVATE
  PAWL_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
  PAWL_PROGRAM_DIR="${CMAKE_RUNTIME_OUTPUT_DIRECTORY}")
if(PAWL_PCH)
  target_precompile_headers(pawl_tests PRIVATE cmake/pch.h <gmock/gmock.h> <gtest/gtest.h>)
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
gtest_discover_tests(pawl_tests DISCOVERY_MODE PRE_TEST PROPERTIES TIMEOUT 300)
