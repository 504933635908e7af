#include "store_check.h"

#include <string>
#include <utility>

#include <pawl/store_care.h>

#include "async_call.h"
#include "flat_reader.h"
#include "json_text.h"

namespace pawl::node {

Napi::Value check_store(const Napi::CallbackInfo& info) {
  IntegrityOptions options;
  options.findings_max = info[1].As<Napi::Number>().Int32Value();
  return call_async(info.Env(), [store = to_utf8(info.Env(), info[0]), options] {
    const Result<IntegrityReport> report = pawl::check_store(store, options);
    if (!report) return refusal_text(report.error());
    std::string text = "[0,";
    append_integrity_report(text, *report);
    text += ']';
    return text;
  });
}

}  // namespace pawl::node
