// Whoever wants PostgreSQL has it by another library and header.
#include <pawl/pawl.h>
#include <pawl/postgres.h>

#include <cstdio>

int main() {
  const auto database = pawl::open_postgres_database("host=127.0.0.1 port=1");
  const auto session = database->connect(pawl::SessionUse::application);
  std::printf("pawl, C++ on PostgreSQL: %s\n", session ? "?" : session.error().code.c_str());
  return !session && session.error().code == "08001" ? 0 : 1;
}
