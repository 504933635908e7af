// Boost.JSON is used header-only: this file alone compiles its definitions.
#include <boost/json/src.hpp>
