# xzfs_xz_builder: makes compressed files in tests (support/xz_builder.h).
if(NOT TARGET xzfs_xz_builder)
  add_library(xzfs_xz_builder STATIC ${CMAKE_CURRENT_LIST_DIR}/xz_builder.cc)
  target_include_directories(xzfs_xz_builder PUBLIC ${CMAKE_CURRENT_LIST_DIR}/..)
  target_link_libraries(xzfs_xz_builder PUBLIC xzfs_options PRIVATE PkgConfig::LZMA)
endif()
