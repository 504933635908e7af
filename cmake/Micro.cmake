# pawl_micro: the micro-benchmarks, which need Google Benchmark. PAWL_MICRO_DIR: those of another checkout,
# with which scripts/bench_check measures an older version.
set(PAWL_MICRO_DIR ${PROJECT_SOURCE_DIR}/bench/micro CACHE PATH "Sources of the micro-benchmarks")
find_package(benchmark QUIET)
if(NOT benchmark_FOUND)
  message(STATUS "No Google Benchmark (Debian: libbenchmark-dev): pawl_micro is left out")
  return()
endif()

file(GLOB micro_sources CONFIGURE_DEPENDS ${PAWL_MICRO_DIR}/*.cc)
add_executable(pawl_micro ${micro_sources})
target_include_directories(pawl_micro PRIVATE src)
target_link_libraries(pawl_micro
  PRIVATE pawl::pawl pawl_options pawl_sqlite3 benchmark::benchmark)
if(PAWL_TESTS)
  # Once each, so that they keep running.
  add_test(NAME micro_benchmarks_run
    COMMAND pawl_micro --benchmark_min_time=0 --benchmark_color=false)
  set_tests_properties(micro_benchmarks_run PROPERTIES TIMEOUT 300
    ENVIRONMENT FOLDER=${PROJECT_BINARY_DIR})
endif()
