# pawl_sqlite3: SQLite as a static, position-independent library of our own.
#
# bundled: the public-domain amalgamation, found in the sources of a development dependency of the
# npm package (see docs/decisions). system: the distribution's library, which is older and slower.
set(PAWL_SQLITE_DIR ${PROJECT_SOURCE_DIR}/node/node_modules/better-sqlite3/deps/sqlite3
    CACHE PATH "Folder with the SQLite amalgamation")
if(NOT DEFINED CACHE{PAWL_SQLITE})
  if(EXISTS ${PAWL_SQLITE_DIR}/sqlite3.c)
    set(sqlite_default bundled)
  else()
    set(sqlite_default system)
    message(STATUS "No SQLite amalgamation in ${PAWL_SQLITE_DIR}; taking the system's SQLite. "
                   "scripts/bootstrap fetches the amalgamation.")
  endif()
endif()
set(PAWL_SQLITE "${sqlite_default}" CACHE STRING "bundled or system")

if(PAWL_SQLITE STREQUAL "bundled")
  if(NOT EXISTS ${PAWL_SQLITE_DIR}/sqlite3.c)
    message(FATAL_ERROR "PAWL_SQLITE=bundled, but there is no ${PAWL_SQLITE_DIR}/sqlite3.c: run "
                        "scripts/bootstrap, or configure with -DPAWL_SQLITE=system")
  endif()
  add_library(pawl_sqlite3 STATIC ${PAWL_SQLITE_DIR}/sqlite3.c)
  target_include_directories(pawl_sqlite3 SYSTEM INTERFACE $<BUILD_INTERFACE:${PAWL_SQLITE_DIR}>)
  target_compile_options(pawl_sqlite3 PRIVATE -w -O2)
  if(PAWL_SANITIZE MATCHES undefined)
    # Undefined behaviour inside of SQLite is not ours to find, and looking for it takes minutes.
    target_compile_options(pawl_sqlite3 PRIVATE -O1 -fno-sanitize=undefined)
  endif()
  target_compile_definitions(pawl_sqlite3 PRIVATE
    # A connection belongs to one thread at a time.
    SQLITE_THREADSAFE=2
    # Linux has both. Without the first, each commit would also write the time of the change to the file,
    # which takes a second access to the disk; the length is synced by either.
    $<$<PLATFORM_ID:Linux>:HAVE_FDATASYNC=1>
    $<$<PLATFORM_ID:Linux>:HAVE_USLEEP=1>
    SQLITE_DQS=0
    SQLITE_DEFAULT_MEMSTATUS=0
    SQLITE_LIKE_DOESNT_MATCH_BLOBS
    SQLITE_OMIT_DEPRECATED
    SQLITE_OMIT_SHARED_CACHE
    SQLITE_OMIT_LOAD_EXTENSION)
  target_link_libraries(pawl_sqlite3 PRIVATE Threads::Threads m)
elseif(PAWL_SQLITE STREQUAL "system")
  find_package(SQLite3 REQUIRED)
  add_library(pawl_sqlite3 INTERFACE)
  target_link_libraries(pawl_sqlite3 INTERFACE SQLite::SQLite3)
else()
  message(FATAL_ERROR "PAWL_SQLITE is '${PAWL_SQLITE}'; it can be 'bundled' or 'system'")
endif()
