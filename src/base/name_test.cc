#include "base/name.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pawl {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Name, MeetsInEveryCasing) {
  for (const char* name :
       {"UpdateInvoiceStatus", "updateInvoiceStatus", "update_invoice_status",
        "update-invoice-status", "UPDATE_INVOICE_STATUS", "_update-Invoice_status_"}) {
    EXPECT_EQ(meeting_name(name), "updateinvoicestatus") << name;
  }
}

TEST(Name, KeepsWhatIsNotAsciiLetterOrSeparator) {
  EXPECT_EQ(meeting_name("Zähl.Bestände 2"), "zähl.bestände 2");
  EXPECT_EQ(meeting_name(""), "");
  EXPECT_EQ(meeting_name("_-_"), "");
}

TEST(Name, NearestComeFirst) {
  const std::vector<std::string> known = {"SendNotification", "send_invoice", "ChargeCard",
                                          "ChargeCart"};
  EXPECT_THAT(nearest_names("charge_crad", known), ElementsAre("ChargeCard", "ChargeCart"));
  EXPECT_THAT(nearest_names("sendNotificaton", known), ElementsAre("SendNotification"));
}

TEST(Name, ABeginningIsNear) {
  EXPECT_THAT(nearest_names("send", {"SendNotification", "resend"}),
              ElementsAre("resend", "SendNotification"));
}

TEST(Name, NothingNearIsEmpty) {
  EXPECT_THAT(nearest_names("refund", {"ChargeCard", "BookCourier"}), IsEmpty());
  EXPECT_THAT(nearest_names("ab", {"xy"}), IsEmpty());
  EXPECT_THAT(nearest_names("", {"", "a"}), ElementsAre(""));
}

TEST(Name, AtMostAsManyAsAsked) {
  EXPECT_THAT(nearest_names("step", {"step3", "step1", "step2", "step4"}),
              ElementsAre("step1", "step2", "step3"));
  EXPECT_THAT(nearest_names("step", {"step3", "step1"}, 1), ElementsAre("step1"));
}

TEST(Name, VeryLongNamesAreCutBeforeTheyAreCompared) {
  const std::string huge(1'000'000, 'x');
  EXPECT_THAT(nearest_names(huge, {huge + "y"}), ElementsAre(huge + "y"));
}

}  // namespace
}  // namespace pawl
