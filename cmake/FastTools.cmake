# ccache and mold make builds faster where they are installed; nothing depends on them.
find_program(PAWL_CCACHE ccache)
if(PAWL_CCACHE)
  # base_dir and nohashdir let checkouts in different folders share results; the sloppiness is
  # what ccache's manual asks for with precompiled headers.
  set(pawl_launcher ${CMAKE_COMMAND} -E env
      CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      ${PAWL_CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${pawl_launcher})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${pawl_launcher})
endif()

find_program(PAWL_MOLD mold)
if(PAWL_MOLD)
  add_link_options(-fuse-ld=mold)
endif()
