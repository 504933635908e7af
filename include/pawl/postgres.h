#pragma once

// PostgreSQL as the database of actions: what a handler writes there and what its action comes to are one commit.
// And as the store itself. Link pawl::postgres, which needs libpq.
//
//   auto database = pawl::open_postgres_database("host=db.example dbname=shop user=shop");
//   runtime.register_database_action<SettleInvoice>(
//       &settle, {.database = database, .isolation = pawl::IsolationLevel::read_committed});
//
// The outcomes are in the table pawl_action_results there, which is created where it is missing, in the first
// schema of the search path. It is the same one that the TypeScript package has: what has a tenant and an
// idempotency key is done once, in whichever language.

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

#include <pawl/database.h>

namespace pawl {

// Makes it possible to open stores in PostgreSQL: RuntimeOptions::store may be "postgresql://…" from then on. Call
// it before the first is opened. Any thread; again: no effect.
void use_postgres_stores();

struct PostgresDatabaseOptions {
  // Sessions at once; an attempt at an action has one, from its begin to its end.
  std::size_t connections_max = 10;
  // How long one is waited for where all are in use. Then the attempt fails, and is tried again later.
  std::chrono::milliseconds connection_wait_max = std::chrono::seconds(30);
  std::chrono::milliseconds connect_max = std::chrono::seconds(10);
  // Of one statement, and of its waiting for a lock, as PostgreSQL's statement_timeout and lock_timeout.
  // 0: as the server has it.
  std::chrono::milliseconds statement_max{0};
  std::chrono::milliseconds lock_wait_max{0};
};

// `conninfo` is what libpq takes: "host=… dbname=…", or postgresql://… Nothing is connected before it is needed,
// so that what is wrong with it is told then. Of several hosts the next is tried where one refuses, not where one
// does not answer: connect_timeout has no effect here, connect_max is the time for all of them. Sessions do not
// give up what statements leave in a session beyond their transaction (SET, temporary tables) to the next one;
// functions of the user's that do so are not seen.
//
// Numbers are int2, int4, int8, float4 and float8; numeric comes as text, and so what sum(bigint) gives: cast it.
// A parameter has the type that its place asks for, and text where none does: SELECT $1::bigint.
//
// A handler has a transaction of its own, begun at the level that its action asks for, and can neither commit nor
// roll it back; savepoints are its own. Where it conflicts with another (SQLSTATE 40001, 40P01), it is called
// again at once, up to 5 times. A statement that runs when nobody waits for the attempt any more is cancelled.
std::shared_ptr<Database> open_postgres_database(std::string conninfo,
                                                 PostgresDatabaseOptions options = {});

}  // namespace pawl
