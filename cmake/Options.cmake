# pawl_options: how our own code is compiled. It is linked privately, so that users of the library
# get none of it, and third-party sources none of the warnings.
add_library(pawl_options INTERFACE)
target_compile_options(pawl_options INTERFACE
  -Wall -Wextra -Wpedantic -Werror
  -Wconversion -Wno-sign-conversion -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual
  -Wold-style-cast -Wcast-align -Wdouble-promotion -Wextra-semi -Wimplicit-fallthrough
  # Options are written as designated initialisers, whose point is to leave members out.
  -Wno-missing-field-initializers
  # GCC 12 reports overlapping memcpy in std::string's operator+ (GCC bug 105651).
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>
  # GCC 12 sees an uninitialised alternative in every std::variant that is moved.
  $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
target_compile_definitions(pawl_options INTERFACE
  FMT_HEADER_ONLY
  $<$<NOT:$<CONFIG:RelWithDebInfo>>:_GLIBCXX_ASSERTIONS>)

if(PAWL_SANITIZE)
  # Everything, SQLite too: a sanitizer that sees half of a program reports nonsense.
  add_compile_options(-fsanitize=${PAWL_SANITIZE} -fno-sanitize-recover=all
                      -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${PAWL_SANITIZE})
endif()
