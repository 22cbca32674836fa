#include "http/builtin/label_choice.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "http/builtin/text_features.hpp"

namespace millrace::http::builtin {

namespace {

constexpr std::size_t max_signs = 16;

struct known_label {
  std::string_view label;
  std::array<std::string_view, max_signs> signs;  ///< words or phrases, in lower case
};

/// What is printed on such documents, most telling first.
constexpr std::array<known_label, 16> known = {{
    {"bank_statement",
     {"bank statement", "account statement", "statement period", "opening balance", "closing balance",
      "account number", "deposits", "withdrawals", "available balance", "debit", "credit", "iban",
      "sort code", "transactions"}},
    {"invoice",
     {"invoice", "invoice number", "invoice date", "bill to", "due date", "amount due", "subtotal",
      "unit price", "quantity", "vat", "tax", "payment terms", "remit to", "total due"}},
    {"drivers_license",
     {"driver license", "drivers license", "driver's license", "driving licence", "class", "endorsements",
      "restrictions", "date of birth", "dob", "expires", "issued", "sex", "height", "eyes", "dl"}},
    {"passport",
     {"passport", "passport no", "nationality", "place of birth", "date of birth", "surname", "given names",
      "authority", "date of expiry", "type p"}},
    {"receipt",
     {"receipt", "thank you", "cash", "change due", "change", "cashier", "subtotal", "total", "card ending",
      "store", "register", "tip", "items"}},
    {"tax_form",
     {"form w-2", "w-2", "form 1040", "1099", "internal revenue service", "tax year",
      "employer identification", "wages tips", "federal income tax", "withheld", "adjusted gross income",
      "tax return"}},
    {"pay_stub",
     {"pay stub", "payslip", "earnings statement", "pay period", "pay date", "gross pay", "net pay",
      "deductions", "year to date", "ytd", "employee id", "overtime", "hours"}},
    {"contract",
     {"agreement", "contract", "hereinafter", "party", "parties", "whereas", "in witness whereof",
      "terms and conditions", "governing law", "termination", "obligations", "signature"}},
    {"insurance_claim",
     {"claim number", "claim", "policy number", "insured", "date of loss", "adjuster", "coverage",
      "deductible", "claimant", "insurance"}},
    {"loan_application",
     {"loan application", "borrower", "co-borrower", "loan amount", "monthly income", "mortgage",
      "interest rate", "employment information", "assets", "liabilities"}},
    {"utility_bill",
     {"utility", "electricity", "gas bill", "water bill", "meter reading", "kwh", "usage", "service address",
      "billing period", "amount due", "previous reading"}},
    {"medical_record",
     {"patient", "diagnosis", "medical record", "mrn", "physician", "symptoms", "treatment", "medications",
      "allergies", "blood pressure", "history"}},
    {"prescription",
     {"prescription", "rx", "refills", "dosage", "mg", "take one tablet", "pharmacy", "dispense",
      "prescriber"}},
    {"lab_report",
     {"laboratory", "lab report", "specimen", "reference range", "result", "hemoglobin", "glucose",
      "collected", "test name", "units"}},
    {"purchase_order",
     {"purchase order", "po number", "ship to", "vendor", "delivery date", "buyer", "quantity", "unit price",
      "order date"}},
    {"resume",
     {"resume", "curriculum vitae", "work experience", "education", "skills", "references", "objective",
      "employment history"}},
}};

/// The text as words with one space before and behind each, so that phrases are found as whole words.
std::string spaced(std::string_view text) {
  std::string out = " ";
  for (const std::string& word : words_of(text)) out.append(word).append(" ");
  return out;
}

/// 1 for the first time, less for each time more.
double weight_of(const std::string& text, std::string_view sign) {
  const std::string phrase = spaced(sign);
  if (phrase.size() < 3) return 0;
  int times = 0;
  for (std::size_t at = text.find(phrase); at != std::string::npos; at = text.find(phrase, at + 1)) ++times;
  // Phrases say more than words.
  const double words = static_cast<double>(std::count(phrase.begin(), phrase.end(), ' ') - 1);
  return times == 0 ? 0 : words * (1 + 0.3 * std::log(times));
}

std::string plain_name(std::string_view label) {
  std::string out;
  for (const std::string& word : words_of(label)) out.append(out.empty() ? "" : "_").append(word);
  return out;
}

double score(const std::string& text, const std::string& label) {
  double sum = 2 * weight_of(text, label);
  const std::string name = plain_name(label);
  const auto found =
      std::find_if(known.begin(), known.end(), [&](const known_label& k) { return k.label == name; });
  if (found == known.end()) return sum;
  double rank = 1.5;
  for (const std::string_view sign : found->signs) {
    if (sign.empty()) break;
    sum += rank * weight_of(text, sign);
    rank = std::max(0.5, rank - 0.1);
  }
  return sum;
}

}  // namespace

label_choice choose_label(std::string_view text, const std::vector<std::string>& labels) {
  const std::string words = spaced(text);
  label_choice out;
  double best = 0;
  double all = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const double s = score(words, labels[i]);
    all += s;
    if (s > best) {
      best = s;
      out.index = i;
    }
  }
  if (best <= 0) {
    for (std::size_t i = 0; i < labels.size(); ++i) {
      if (labels[i] == "other" || labels[i] == "unknown") out.index = i;
    }
    return out;
  }
  // One sign alone is little, however far ahead of none it is.
  out.confidence = best / (all + 1);
  return out;
}

}  // namespace millrace::http::builtin
