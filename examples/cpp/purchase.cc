// From a purchase to its payment, as a durable workflow in C++ whose actions write to the database of the store:
// a file to copy, with purchase_workflow.h. Makes one purchase of each kind, and checks what became of them.

#include "purchase_workflow.h"

#include <fmt/format.h>

#include <unistd.h>
#include <filesystem>
#include <iostream>
#include <set>
#include <thread>

namespace purchase {
namespace {

using namespace std::chrono_literals;

// Each of those that write is one commit with its result: no budget is taken twice, and nothing paid twice.
void register_actions(pawl::WorkflowRuntime& runtime) {
  runtime
      .register_action<CheckSupplier>([](const CheckSupplier::Parameters& p) {
        static const std::set<std::string> known{"Paper & Sons", "Desks Unlimited"};
        return CheckSupplier::Result{known.contains(p.supplier)};
      })
      .value();
  runtime
      .register_action<CheckItems>([](const CheckItems::Parameters& p) {
        CheckItems::Result result;
        for (const Item& item : p.items) {
          if (item.quantity <= 0) result.problems.push_back("how many of '" + item.name + "'?");
          result.cents += item.quantity * item.cents;
        }
        return result;
      })
      .value();
  runtime
      .register_action<AskApprover>([](const AskApprover::Parameters& p) {
        fmt::print("  {}, may we buy {}?\n", p.approver, p.order);
      })
      .value();
  runtime
      .register_database_action<ReserveBudget>(
          [](const ReserveBudget::Parameters& p,
             pawl::Transaction& sql) -> pawl::SqlResult<ReserveBudget::Result> {
            const auto taken = sql.execute(
                "UPDATE budgets SET cents = cents - $1 WHERE department = $2 AND cents >= $1",
                p.cents, p.department);
            if (!taken) return taken.error();
            return ReserveBudget::Result{.reserved = *taken == 1};
          })
      .value();
  runtime
      .register_database_action<ReleaseBudget>(
          [](const ReleaseBudget::Parameters& p, pawl::Transaction& sql) {
            sql.execute("UPDATE budgets SET cents = cents + ? WHERE department = ?", p.cents,
                        p.department)
                .value();
          })
      .value();
  runtime
      .register_database_action<PayForOrder>([](const PayForOrder::Parameters& p,
                                                pawl::Transaction& sql) {
        sql.execute("INSERT INTO payments VALUES(?, ?, ?)", p.order, p.supplier, p.cents).value();
      })
      .value();
  runtime
      .register_database_action<TakeBack>(
          [](const TakeBack::Parameters& p, pawl::Transaction& sql) {
            sql.execute("DELETE FROM payments WHERE order_id = ?", p.order).value();
          })
      .value();
  runtime
      .register_action<SendCourier>([](const SendCourier::Parameters& p) {
        if (!p.address.empty()) return SendCourier::Result{"Quick"};
        pawl::Failure failure;
        failure.name = "NoCourier";
        failure.message = "no courier goes nowhere";
        failure.failure_class = pawl::FailureClass::permanent;  // not worth another attempt
        throw pawl::FailureException(failure);
      })
      .value();
}

struct Sample {
  const char* id;
  std::int64_t cents;
  const char* outcome;
  const char* event = nullptr;  // sent when somebody is asked
  const char* supplier = "Desks Unlimited";
  const char* address = "1 Main Street";
};

void make_purchases(pawl::WorkflowRuntime& runtime) {
  for (const Sample& sample :
       {Sample{"small", 20'000, "delivered"},
        Sample{"stranger", 20'000, "invalid", nullptr, "Nobody"},
        Sample{"dear", 900'000, "over budget"}, Sample{"approved", 150'000, "delivered", "Approve"},
        Sample{"rejected", 150'000, "rejected", "Reject"},
        Sample{"undecided", 120'000, "not decided"},
        Sample{"unreachable", 30'000, "not delivered", nullptr, "Desks Unlimited", ""}}) {
    Purchase wanted;
    wanted.order = {
        sample.id, "office", sample.supplier, sample.address, {{"desk", 1, sample.cents}}};
    if (sample.event == nullptr) wanted.manager_ms = wanted.director_ms = 200;
    const std::string id = runtime
                               .start_workflow("PurchaseToPayment", wanted,
                                               {.tenant = "acme", .execution_id = sample.id})
                               .value();
    // It waits for whoever asks for it.
    if (sample.event != nullptr) runtime.submit_event(id, sample.event, {.tenant = "acme"}).value();
    const auto outcome =
        runtime.wait_for_workflow_completion<std::string>(id, {.tenant = "acme"}).value();
    const std::string became = outcome.result.value_or(std::string("?"));
    fmt::print("{:<12} {}\n", sample.id, became);
    if (became != sample.outcome) throw std::runtime_error(std::string("not ") + sample.outcome);
  }
}

int run(const std::filesystem::path& folder) {
  auto opened =
      pawl::WorkflowRuntime::open({.store = "sqlite:" + (folder / "purchases.db").string()});
  pawl::WorkflowRuntime& runtime = opened.value();
  auto session = runtime.database()->connect(pawl::SessionUse::application).value();
  for (const char* const sql :
       {"CREATE TABLE budgets(department TEXT PRIMARY KEY, cents INTEGER NOT NULL)",
        "CREATE TABLE payments(order_id TEXT PRIMARY KEY, supplier TEXT NOT NULL, cents INTEGER)",
        "INSERT INTO budgets VALUES('office', 500000)"}) {
    session->run(sql, {}).value();
  }
  register_actions(runtime);
  runtime.register_workflow("PurchaseToPayment", &purchase_to_payment).value();
  make_purchases(runtime);
  pawl::Transaction money(*session);
  const auto left = money.query_one<std::int64_t>("SELECT cents FROM budgets").value();
  const auto paid = money.query_one<std::int64_t>("SELECT sum(cents) FROM payments").value();
  fmt::print("\npaid: {}, left: {}\n", *paid, *left);
  return *paid == 170'000 && *left == 330'000 ? 0 : 1;
}

}  // namespace
}  // namespace purchase

int main() {
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / fmt::format("pawl-purchases-{}", getpid());
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  int code = 1;
  try {
    code = purchase::run(folder);
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
  }
  std::filesystem::remove_all(folder);
  return code;
}
