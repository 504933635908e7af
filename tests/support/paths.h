#pragma once

#include <string>

namespace pawl::test {

// The root of the checkout.
std::string source_dir();

// Where the programs of tests/programs are.
std::string program_dir();

}  // namespace pawl::test
