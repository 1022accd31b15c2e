# The Debian packages, by `cpack --preset release`: xzfs, and the library as libxzfs0 and libxzfs-dev.
# They depend on the libraries of the system that builds them, so there is one set for each release of
# Debian; the version names the release.
set(CPACK_GENERATOR DEB)
# The person who builds a package maintains it; the variables of Debian's own tools name that person.
set(CPACK_PACKAGE_CONTACT "The xzfs authors <xzfs@localhost>")
if(DEFINED ENV{DEBEMAIL})
  set(CPACK_PACKAGE_CONTACT "$ENV{DEBFULLNAME} <$ENV{DEBEMAIL}>")
endif()
set(CPACK_PACKAGE_VENDOR xzfs)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL runtime library development)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)

set(release 1)
if(EXISTS /etc/os-release)
  file(STRINGS /etc/os-release os REGEX "^(ID|VERSION_ID)=")
  if("ID=debian" IN_LIST os AND os MATCHES "VERSION_ID=\"?([0-9]+)")
    set(release "1~deb${CMAKE_MATCH_1}")
  endif()
endif()
set(CPACK_DEBIAN_PACKAGE_RELEASE ${release})

set(CPACK_DEBIAN_RUNTIME_PACKAGE_NAME xzfs)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SECTION utils)
# fuse3 has fuse.conf, and fusermount3, which ordinary users need to mount.
set(CPACK_DEBIAN_RUNTIME_PACKAGE_DEPENDS "fuse3")
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SUGGESTS "attr, xz-utils")
set(CPACK_COMPONENT_RUNTIME_DESCRIPTION "mount a directory of .xz files as the plain files in them
xzfs shows each NAME.xz of a directory as the plain file NAME. Any
program reads it at any offset: only what is touched is decoded, on all
processors, and verified. What is written is compressed in the
background, crash-safe, into ordinary .xz files.
.
xzfsctl packs, verifies and lists such files, and shows what a mount does.")

set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_LIBRARY_PACKAGE_NAME libxzfs0)
set(CPACK_DEBIAN_LIBRARY_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_LIBRARY_PACKAGE_CONTROL_EXTRA
  ${CMAKE_CURRENT_SOURCE_DIR}/packaging/deb/triggers)
set(CPACK_COMPONENT_LIBRARY_DESCRIPTION "read .xz files at any offset, and write them: library
What xzfs is made of, for other programs: compressing and decompressing
buffers and streams, a seekable reader that many threads may share, and
a writer of .xz files of many Blocks.")
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME libxzfs-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS
  "libxzfs0 (= ${PROJECT_VERSION}-${release}), liblzma-dev")
set(CPACK_COMPONENT_DEVELOPMENT_DESCRIPTION "read .xz files at any offset, and write them: development
Headers, the static library, and what CMake and pkg-config ask for, to
build programs with libxzfs.")

# Files that Debian's policy requires in every package; an installation by hand does not have them.
string(TIMESTAMP XZFS_BUILD_DATE "%a, %d %b %Y %H:%M:%S +0000" UTC)
configure_file(packaging/deb/copyright.in packaging/deb/copyright @ONLY)
configure_file(packaging/deb/changelog.in packaging/deb/changelog @ONLY)
set(CPACK_XZFS_DEB_FOLDER ${CMAKE_CURRENT_BINARY_DIR}/packaging/deb)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_CURRENT_SOURCE_DIR}/packaging/deb/finish.cmake)
include(CPack)
