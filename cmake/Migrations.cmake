# pawl_migration_sources: the numbered .sql files of each store, as C++.
foreach(store IN ITEMS sqlite postgres)
  set(folder ${PROJECT_SOURCE_DIR}/src/store/migrations/${store})
  set(source ${PROJECT_BINARY_DIR}/generated/${store}_migrations.cc)
  file(GLOB migrations CONFIGURE_DEPENDS ${folder}/*.sql)
  add_custom_command(
    OUTPUT ${source}
    COMMAND ${CMAKE_COMMAND} -DFROM=${folder} -DTO=${source} -DNAME=${store}
            -P ${PROJECT_SOURCE_DIR}/cmake/EmbedMigrations.cmake
    DEPENDS ${migrations} cmake/EmbedMigrations.cmake
    COMMENT "Embedding the migrations of ${store}"
    VERBATIM)
  list(APPEND pawl_migration_sources ${source})
endforeach()
