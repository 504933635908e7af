#include "request_text.h"

#include "flat_reader.h"

namespace pawl::node {

std::string text_of(const Napi::CallbackInfo& info, const std::size_t index) {
  return to_utf8(info.Env(), info[index]);
}

std::int64_t integer_of(const Napi::CallbackInfo& info, const std::size_t index) {
  return info[index].As<Napi::Number>().Int64Value();
}

ListQuery list_query_of(const Napi::CallbackInfo& info, const std::size_t first) {
  ListQuery query;
  query.tenant = text_of(info, first);
  query.workflow = text_of(info, first + 1);
  query.status = text_of(info, first + 2);
  query.cursor = text_of(info, first + 3);
  query.limit = static_cast<int>(integer_of(info, first + 4));
  return query;
}

}  // namespace pawl::node
