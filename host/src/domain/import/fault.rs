//! What is wrong with a row of a file: where, and what is to be said of it.
//!
//! What is said is kept by its code with the values that the code's text names, not as it reads in
//! one language: who reads the error file may speak another one than who has made the import. The
//! texts themselves are found by `texts.rs`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::actor::Locale;
use crate::domain::code::{Code, FaultCode, JsonCode, Params, RowCode};
use crate::error::{Error, Fault};

/// Characters of a wrong value that are kept in the error file.
pub const RAW_VALUE_CHARS_MAX: usize = 200;
/// Characters of a message, and of each value that a text names: they may come from the file or a plugin.
pub const WORDS_CHARS_MAX: usize = 1_000;

/// What is wrong with a row, and where in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowFault {
    /// The line on which the record begins or, for a broken quote, the quote; from 1.
    pub line: u64,
    /// The column's name, or its number from 1 if the fault is in the file's form.
    pub column: Option<String>,
    /// What stood there, cut to [`RAW_VALUE_CHARS_MAX`] characters.
    pub value: Option<String>,
    /// What is said of it.
    pub wording: Box<Wording>,
}

/// What is said of a fault, in any language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wording {
    /// Stable snake_case code.
    pub code: String,
    /// English that says more than the code's text, or words that are not ours.
    pub(crate) message: Option<String>,
    /// The code's text; none if the words are a plugin's, which are in its caller's language already.
    pub(crate) phrase: Option<Phrase>,
}

/// A text of ours: its address, and the values that it names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Phrase {
    /// What it is said of, such as `total`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) about: Option<String>,
    pub(crate) family: String,
    pub(crate) code: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) params: BTreeMap<String, Particular>,
}

/// A value that a text names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Particular {
    /// The same in every language.
    Plain(String),
    /// Words of ours.
    Phrase(Phrase),
}

impl RowFault {
    /// A fault of a whole row.
    #[must_use]
    pub fn new(line: u64, code: &RowCode) -> Self {
        Self::said(line, Phrase::of(code), None)
    }

    /// A line that is no JSON object; `reason` says in English more than `code`.
    #[must_use]
    pub fn of_json(line: u64, code: &JsonCode, reason: &str) -> Self {
        let bad_json = RowCode::BadJson { reason: reason.to_owned() };
        let english = Self::new(line, &bad_json).wording.text(Locale::En);
        Self::said(line, Phrase::of(&bad_json).naming("reason", code), Some(&english))
    }

    /// A fault of the record that was made of a row, at `about` in it.
    #[must_use]
    pub fn of_fault(line: u64, fault: &Fault, about: &str) -> Self {
        let about = (!about.is_empty()).then(|| cut(about, WORDS_CHARS_MAX));
        let message = match &about {
            Some(about) => cut(&format!("{about}: {}", fault.message), WORDS_CHARS_MAX),
            None => cut(&fault.message, WORDS_CHARS_MAX),
        };
        let phrase = fault
            .params()
            .map(|params| Phrase { about, ..Phrase::new(FaultCode::FAMILY, &fault.code, params.clone()) });
        let wording = Wording { code: fault.code.clone().into_owned(), message: Some(message), phrase };
        Self { line, column: None, value: None, wording: Box::new(wording) }
    }

    /// A refusal of the record that was made of a row.
    #[must_use]
    pub fn of_refusal(line: u64, error: &Error) -> Self {
        let phrase = Phrase::of(&error.reason());
        // How it has failed is a text of ours too; why it refuses are its own words.
        let phrase = if let Error::PluginFailed { code, .. } = error {
            phrase.naming("message", code)
        } else {
            phrase
        };
        Self::said(line, phrase, Some(&error.to_string()))
    }

    fn said(line: u64, phrase: Phrase, message: Option<&str>) -> Self {
        let message = message.map(|message| cut(message, WORDS_CHARS_MAX));
        let wording = Wording { code: phrase.code.clone(), message, phrase: Some(phrase) };
        Self { line, column: None, value: None, wording: Box::new(wording) }
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.wording.code
    }

    /// The fault of a code, with what its text is said of.
    #[must_use]
    pub fn about(mut self, target: &str) -> Self {
        if let Some(phrase) = &mut self.wording.phrase {
            phrase.about = Some(cut(target, WORDS_CHARS_MAX));
        }
        self
    }

    /// The fault, with the column that it is in.
    #[must_use]
    pub fn in_column(mut self, column: impl Into<String>) -> Self {
        self.column = Some(column.into());
        self
    }

    /// The fault, with what stood there.
    #[must_use]
    pub fn with_value(mut self, value: &str) -> Self {
        self.value = Some(cut(value, RAW_VALUE_CHARS_MAX));
        self
    }
}

impl Wording {
    /// By what its texts are found, as it is kept beside the code and the English message.
    #[must_use]
    pub fn to_stored(&self) -> Option<String> {
        let phrase = self.phrase.as_ref()?;
        Some(serde_json::to_string(phrase).expect("texts are plain data"))
    }

    /// What was kept.
    #[must_use]
    pub fn from_stored(code: String, message: String, phrase: Option<&str>) -> Self {
        // A newer server may keep it in a form that this one cannot read: the message is left.
        let phrase = phrase.and_then(|phrase| serde_json::from_str(phrase).ok());
        Self { code, message: Some(message), phrase }
    }
}

impl Phrase {
    fn of<C: Code>(code: &C) -> Self {
        Self::new(C::FAMILY, code.as_str(), code.params())
    }

    fn new(family: &str, code: &str, params: Params) -> Self {
        let particular = |(name, value): (&str, String)| {
            (name.to_owned(), Particular::Plain(cut(&value, WORDS_CHARS_MAX)))
        };
        Self {
            about: None,
            family: family.to_owned(),
            code: code.to_owned(),
            params: params.into_iter().map(particular).collect(),
        }
    }

    /// The same with words of ours as one of the values.
    fn naming(mut self, name: &str, code: &impl Code) -> Self {
        self.params.insert(name.to_owned(), Particular::Phrase(Self::of(code)));
        self
    }
}

fn cut(text: &str, chars_max: usize) -> String {
    text.chars().take(chars_max).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::code::{FailureCode, Reason};

    fn kept(fault: &RowFault) -> Wording {
        let wording = &fault.wording;
        let stored = wording.to_stored();
        Wording::from_stored(wording.code.clone(), wording.text(Locale::En), stored.as_deref())
    }

    /// What a fault says in both languages, which is the same after it was kept.
    fn told(fault: &RowFault) -> [String; 2] {
        let told = [Locale::En, Locale::ZhCn].map(|locale| fault.wording.text(locale));
        assert_eq!(told, [Locale::En, Locale::ZhCn].map(|locale| kept(fault).text(locale)));
        told
    }

    #[test]
    fn a_fault_is_told_in_both_languages_with_its_particulars() {
        let range = RowCode::NumberOutOfRange { min: "1".to_owned(), max: "99".to_owned() };
        let fault = RowFault::new(7, &range).about("line.quantity");
        let expected = [
            "line.quantity: not a whole number between 1 and 99",
            "line.quantity：必须是 1 到 99 之间的整数",
        ];
        assert_eq!(told(&fault), expected);
        assert_eq!(fault.code(), "number_out_of_range");
    }

    #[test]
    fn a_fault_of_an_input_keeps_its_english_words_and_is_told_by_its_code_in_others() {
        let code = FaultCode::TotalMismatch { sum: "300".to_owned() };
        let fault = RowFault::of_fault(7, &Fault::new("/total", code, "but the lines are 300"), "total");
        assert_eq!(told(&fault), ["total: but the lines are 300", "total：各行合计为 300"]);
    }

    #[test]
    fn the_words_of_a_plugin_stay_as_they_are() {
        let fault = Fault::of_plugin("/name", "too_long".to_owned(), "名称太长");
        let fault = RowFault::of_fault(7, &fault, "name");
        assert_eq!(told(&fault), ["name: 名称太长", "name: 名称太长"]);
        let (plugin, code, message) = ("stamps".to_owned(), "no".to_owned(), "不行".to_owned());
        let fault = RowFault::of_refusal(7, &Error::PluginRejected { plugin, code, message, faults: vec![] });
        assert_eq!(told(&fault), ["plugin `stamps` refuses: 不行", "插件 `stamps` 拒绝：不行"]);
        assert_eq!(fault.code(), "plugin_rejected");
    }

    #[test]
    fn how_a_plugin_has_failed_is_told_in_the_language_of_the_text() {
        let (plugin, message) = ("stamps".to_owned(), "ran for more than 50 ms".to_owned());
        let code = FailureCode::Deadline { ms: "50".to_owned() };
        let fault = RowFault::of_refusal(7, &Error::PluginFailed { plugin, code, message });
        let [english, chinese] = told(&fault);
        assert_eq!(english, "plugin `stamps` failed: ran for more than 50 ms");
        assert_eq!(chinese, "插件 `stamps` 失败：运行超过 50 毫秒");
    }

    #[test]
    fn a_refusal_is_told_by_its_reason() {
        let left = Reason::RefundExceedsTotal { left: "5".to_owned() };
        let fault = RowFault::of_refusal(7, &Error::conflict(left, "only 5 are left"));
        assert_eq!(told(&fault), ["only 5 are left", "总额中只剩 5 可以退款"]);
    }

    #[test]
    fn what_was_kept_without_its_particulars_is_told_in_english() {
        for phrase in [None, Some("{}"), Some("of another form")] {
            let kept = Wording::from_stored("busy".to_owned(), "others were faster".to_owned(), phrase);
            assert_eq!(kept.text(Locale::ZhCn), "others were faster", "{phrase:?}");
        }
    }

    #[test]
    fn nothing_that_is_kept_is_longer_than_its_limit() {
        let long = "长".repeat(5_000);
        let id = RowCode::NotAdjacent { id: long.clone(), line: "3".to_owned() };
        let code = FaultCode::NotAllowed { options: long.clone() };
        for fault in [
            RowFault::new(1, &id).about(&long),
            RowFault::of_fault(1, &Fault::new("", code, long.clone()), &long),
            RowFault::of_fault(1, &Fault::of_plugin("", "rejected".to_owned(), long.clone()), &long),
            RowFault::of_json(1, &JsonCode::Repeated { name: long.clone() }, &long),
        ] {
            for text in told(&fault) {
                assert!(text.chars().count() <= 2 * WORDS_CHARS_MAX + 100, "{text}");
            }
            assert!(fault.wording.to_stored().is_none_or(|stored| stored.len() < 8 * WORDS_CHARS_MAX));
        }
        let value = RowFault::new(1, &RowCode::Required).with_value(&long).value.unwrap();
        assert_eq!(value.chars().count(), RAW_VALUE_CHARS_MAX);
    }
}
