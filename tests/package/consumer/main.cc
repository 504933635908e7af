// A user's first program: it knows the installed headers and nothing else of Pawl.
#include <pawl/error.h>

#include <cstdio>
#include <string>

int main() {
  const std::string name(pawl::to_string(pawl::ErrorCode::unknown_execution));
  std::printf("pawl, C++: %s\n", name.c_str());
  return name == "unknown_execution" ? 0 : 1;
}
