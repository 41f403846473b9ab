//! Who runs, for whom, and when.

use serde::{Deserialize, Serialize};

pub use crate::bindings::imports::hospes::plugin::context::{Actor, Invocation};
use crate::{Timestamp, host};

/// Describes the running invocation.
pub fn get() -> Invocation {
    host::context::get()
}

/// At most 1,024 random bytes, the same ones when the invocation is replayed.
pub fn random(length: u32) -> Vec<u8> {
    host::context::random(length)
}

impl Invocation {
    /// The time at which the invocation began.
    pub fn started_at(&self) -> Timestamp {
        Timestamp::from_micros(self.now)
    }

    /// The language to answer in.
    pub fn language(&self) -> Locale {
        if self.locale.starts_with("zh") { Locale::ZhCn } else { Locale::En }
    }
}

/// A language of the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Locale {
    En,
    ZhCn,
}

/// A text in both languages: `{"en": "…", "zh-CN": "…"}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    pub en: String,
    #[serde(rename = "zh-CN")]
    pub zh_cn: String,
}

impl Text {
    /// The text in one language.
    pub fn get(&self, locale: Locale) -> &str {
        match locale {
            Locale::En => &self.en,
            Locale::ZhCn => &self.zh_cn,
        }
    }
}
