# Run as a script: cmake -DFROM=folder -DTO=file.cc -DNAME=sqlite -P EmbedMigrations.cmake
# Writes the numbered .sql files of a folder as a C++ table, in order; checks that the numbers run
# 1, 2, 3 … without a gap.
file(GLOB files ${FROM}/*.sql)
list(SORT files)
set(rows "")
set(expected 1)
foreach(file IN LISTS files)
  get_filename_component(name ${file} NAME_WE)
  if(NOT name MATCHES "^([0-9][0-9][0-9][0-9])_[a-z0-9_]+$")
    message(FATAL_ERROR "${file}: a migration is named NNNN_what_it_does.sql")
  endif()
  string(REGEX REPLACE "^0+" "" number "${CMAKE_MATCH_1}")
  if(NOT number EQUAL expected)
    message(FATAL_ERROR "${file}: the next migration has the number ${expected}")
  endif()
  math(EXPR expected "${expected} + 1")
  file(READ ${file} sql)
  string(APPEND rows "    {${number}, \"${name}\", R\"migration(${sql})migration\"},\n")
endforeach()
file(CONFIGURE OUTPUT ${TO} @ONLY CONTENT [[
// Made from src/store/migrations/@NAME@/*.sql.
#include "store/migration.h"

namespace pawl {
namespace {

constexpr Migration kMigrations[] = {
@rows@};

}  // namespace

std::span<const Migration> @NAME@_migrations() { return kMigrations; }

}  // namespace pawl
]])
