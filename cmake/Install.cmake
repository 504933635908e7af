# find_package(pawl) finds what this installs.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(pawl_installed pawl pawl_sqlite3)
install(TARGETS ${pawl_installed} EXPORT pawl-targets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/pawl DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        FILES_MATCHING PATTERN "*.h")
set(pawl_cmake_dir ${CMAKE_INSTALL_LIBDIR}/cmake/pawl)
install(EXPORT pawl-targets NAMESPACE pawl:: DESTINATION ${pawl_cmake_dir})
# A dependency of a part is looked for only by who asks for it: find_package(pawl COMPONENTS postgres).
foreach(part postgres http redis)
  if(TARGET pawl_${part})
    install(TARGETS pawl_${part} EXPORT pawl-${part}-targets
            ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
    install(EXPORT pawl-${part}-targets NAMESPACE pawl:: DESTINATION ${pawl_cmake_dir})
  endif()
endforeach()
configure_package_config_file(cmake/pawl-config.cmake.in
  ${PROJECT_BINARY_DIR}/pawl-config.cmake INSTALL_DESTINATION ${pawl_cmake_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/pawl-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/pawl-config.cmake
              ${PROJECT_BINARY_DIR}/pawl-config-version.cmake
        DESTINATION ${pawl_cmake_dir})
