#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace pawl {

// The form in which names of actions meet: lower-cased (ASCII), without '_' and '-'.
// UpdateInvoiceStatus, updateInvoiceStatus and update_invoice_status are one name.
std::string meeting_name(std::string_view name);

// Those of `known` that someone who wrote `wanted` may have meant, nearest first, at most `max`:
// few edits away once both are in their meeting form. Empty when none is near.
std::vector<std::string> nearest_names(std::string_view wanted,
                                       const std::vector<std::string>& known, std::size_t max = 3);

}  // namespace pawl
