#pragma once

// The port to rows of the inbox that could not be delivered: they are failed, and keep their payload, until an
// operator puts them back or drops them.
//
//   open --could not be delivered--> failed --retry--> open
//                                    failed --drop--> failed and dropped (listed no more)

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "model/execution_record.h"
#include "pawl/error.h"
#include "pawl/runtime.h"

namespace pawl {

// Of a page, with the letter that reaches it.
inline constexpr std::size_t kDeadLetterPageBytesMax = std::size_t{8} * 1024 * 1024;
inline constexpr int kDeadLettersMax = 1'000;

struct DeadLetterSearch {
  std::string tenant;
  std::string execution_id;  // empty: any
  InboxId after = 0;
  int limit = 100;
};

// Any thread; waits for the store. Errors: store_unavailable, outcome_unknown, store_invalid, and what `what_it_is`
// says of a row that is no dead letter.
class DeadLetterRows {
 public:
  virtual ~DeadLetterRows() = default;

  // By id. Fewer than the limit where kDeadLetterPageBytesMax is reached: `more` says whether there may be others.
  struct Page {
    std::vector<DeadLetter> letters;
    bool more = false;
  };
  virtual Result<Page> list(const DeadLetterSearch& search) = 0;
  // Durable when it returns. The letter is as it was, with the attempts that it has now.
  virtual Result<DeadLetter> retry(std::string_view tenant, InboxId id) = 0;
  virtual Result<DeadLetter> drop(std::string_view tenant, InboxId id) = 0;
};

// What people are told of a row that is none.
Error no_dead_letter(std::string_view tenant, InboxId id);
// It is there. `dropped`: by an operator.
Error not_dead(InboxId id, std::string_view status, bool dropped);
// Another row came under its key since.
Error sent_again(InboxId id, std::string_view idempotency_key);

// From what callers give. Errors: invalid_argument.
Result<DeadLetterSearch> dead_letter_search_of(const DeadLetterQuery& query, const Limits& limits);
Result<InboxId> dead_letter_id_of(const DeadLetterRequest& request, const Limits& limits);
DeadLetterPage dead_letter_page_of(DeadLetterRows::Page page);

}  // namespace pawl
