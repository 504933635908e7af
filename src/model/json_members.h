#pragma once

#include <boost/container/small_vector.hpp>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "pawl/error.h"

namespace pawl {

struct JsonMemberText {
  std::string key;         // decoded
  std::string_view value;  // the very bytes of the value, without the white space around it

  friend bool operator==(const JsonMemberText&, const JsonMemberText&) = default;
};

// Splits the text of a JSON object into its members, in the order of the text; a key that stands
// there twice comes twice. The values refer into `text`.
// Errors: payload_refused where the text is no JSON, or JSON other than an object.
Result<std::vector<JsonMemberText>> json_members(std::string_view text);

// The same with an array and its elements.
Result<std::vector<std::string_view>> json_elements(std::string_view text);

// The same of text that is known to be JSON, since it is a part of what was looked at as a whole, or what
// this program wrote: not all that is wrong with others is found.
Result<std::vector<JsonMemberText>> members_of_valid(std::string_view text);
Result<std::vector<std::string_view>> elements_of_valid(std::string_view text);

// The same with keys as they stand between their quotes, for those who know theirs and that nothing in them
// is escaped: no memory is taken for a few.
struct JsonMemberView {
  std::string_view key;
  std::string_view value;
};
inline constexpr std::size_t kMemberViewsInPlace = 8;
using JsonMemberViews = boost::container::small_vector<JsonMemberView, kMemberViewsInPlace>;
Result<JsonMemberViews> member_views_of_valid(std::string_view text);

}  // namespace pawl
