//! Texts for people in every language that the server answers in, from `locales/*.ftl`.

use std::sync::LazyLock;

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};

use crate::domain::actor::Locale;
use crate::domain::code::{Code, RecordKind, TypeName};
use crate::domain::import::{Particular, Phrase, Wording};

const EN: &str = include_str!("../locales/en.ftl");
const ZH_CN: &str = include_str!("../locales/zh-CN.ftl");

static BUNDLES: LazyLock<[FluentBundle<FluentResource>; 2]> =
    LazyLock::new(|| [bundle("en", EN), bundle("zh-CN", ZH_CN)]);

/// The text `key` in a language, its placeholders filled from `params`; `None` if
/// there is no such text, or one of its placeholders has no value.
#[must_use]
pub fn find(locale: Locale, key: &str, params: &[(&str, String)]) -> Option<String> {
    let bundle = match locale {
        Locale::En => &BUNDLES[0],
        Locale::ZhCn => &BUNDLES[1],
    };
    let pattern = bundle.get_message(key)?.value()?;
    let mut args = FluentArgs::with_capacity(params.len());
    for (name, value) in params {
        // Texts, not numbers: a limit is shown as it was written, without grouping.
        args.set(*name, FluentValue::from(translated(locale, name, value)));
    }
    let mut errors = Vec::new();
    let text = bundle.format_pattern(pattern, Some(&args), &mut errors).into_owned();
    errors.is_empty().then_some(text)
}

/// The text of a code in a language.
#[must_use]
pub fn say<C: Code>(locale: Locale, code: &C) -> String {
    // A test walks all codes; the code itself is still better than a failure.
    find(locale, &key(C::FAMILY, code.as_str()), &code.params())
        .unwrap_or_else(|| code.as_str().replace('_', " "))
}

impl Wording {
    /// What it says in a language; in English with all particulars.
    #[must_use]
    pub fn text(&self, locale: Locale) -> String {
        let said = || self.phrase.as_ref().and_then(|phrase| said(locale, phrase));
        let kept = || self.message.clone();
        let text = match locale {
            Locale::En => kept().or_else(said),
            Locale::ZhCn => said().or_else(kept),
        };
        text.unwrap_or_else(|| self.code.replace('_', " "))
    }
}

/// The text of a phrase in a language, with what it is said of before it.
fn said(locale: Locale, phrase: &Phrase) -> Option<String> {
    let Phrase { about, family, code, params } = phrase;
    let mut values = Vec::with_capacity(params.len());
    for (name, particular) in params {
        let value = match particular {
            Particular::Plain(text) => text.clone(),
            Particular::Phrase(inner) => said(locale, inner)?,
        };
        values.push((name.as_str(), value));
    }
    let text = find(locale, &key(family, code), &values)?;
    let Some(about) = about else { return Some(text) };
    Some(match locale {
        Locale::En => format!("{about}: {text}"),
        Locale::ZhCn => format!("{about}：{text}"),
    })
}

/// A value that is itself a code, in words.
fn translated(locale: Locale, name: &str, value: &str) -> String {
    let word =
        |family: &str, code: &str| find(locale, &key(family, code), &[]).unwrap_or_else(|| code.to_owned());
    match name {
        "kind" => word(RecordKind::FAMILY, value),
        "expected" => {
            let words: Vec<_> = value.split('|').map(|code| word(TypeName::FAMILY, code)).collect();
            words.join(" / ")
        }
        _ => value.to_owned(),
    }
}

/// The key of a text from its family and a code: `fault` and `too_long` make `fault-too-long`.
#[must_use]
pub fn key(family: &str, code: &str) -> String {
    format!("{family}-{}", code.replace(['_', ':'], "-"))
}

fn bundle(tag: &str, source: &str) -> FluentBundle<FluentResource> {
    let language = tag.parse().expect("a literal language tag");
    let mut bundle = FluentBundle::new_concurrent(vec![language]);
    // Isolating marks are for bidirectional text on a page; in JSON they are noise.
    bundle.set_use_isolating(false);
    let resource = FluentResource::try_new(source.to_owned())
        .unwrap_or_else(|(_, errors)| panic!("locales/{tag}.ftl does not parse: {errors:?}"));
    bundle
        .add_resource(resource)
        .unwrap_or_else(|errors| panic!("locales/{tag}.ftl repeats a message: {errors:?}"));
    bundle
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::domain::code::{FailureCode, FaultCode, ImportCode, JsonCode, Reason, RowCode};
    use crate::domain::field_class::FieldClass;
    use crate::domain::grant::Grant;
    use crate::domain::sheet_word::SheetWord;
    use crate::http::ProblemKind;

    /// Each message's key with the values that it names.
    type Messages<'s> = BTreeMap<String, BTreeSet<&'s str>>;

    fn messages(source: &str) -> Messages<'_> {
        let mut found = BTreeMap::new();
        for line in source.lines() {
            let Some((key, text)) = line.split_once(" = ") else {
                assert!(line.is_empty() || line.starts_with('#'), "messages stand on one line: {line}");
                continue;
            };
            let named = text.split("{ $").skip(1).filter_map(|rest| rest.split(' ').next()).collect();
            assert!(found.insert(key.to_owned(), named).is_none(), "`{key}` is there twice");
        }
        found
    }

    /// The messages that the tables of codes ask for.
    fn wanted() -> Messages<'static> {
        let tables = [
            (ProblemKind::FAMILY, ProblemKind::TABLE),
            (Reason::FAMILY, Reason::TABLE),
            (FailureCode::FAMILY, FailureCode::TABLE),
            (FaultCode::FAMILY, FaultCode::TABLE),
            (RowCode::FAMILY, RowCode::TABLE),
            (JsonCode::FAMILY, JsonCode::TABLE),
            (ImportCode::FAMILY, ImportCode::TABLE),
            (RecordKind::FAMILY, RecordKind::TABLE),
            (TypeName::FAMILY, TypeName::TABLE),
            (SheetWord::FAMILY, SheetWord::TABLE),
        ];
        let plain = |family, code: &str| (key(family, code), BTreeSet::new());
        let grants = Grant::ALL.iter().map(|grant| plain(Grant::FAMILY, grant.as_str()));
        let classes = FieldClass::ALL.iter().map(|class| plain(FieldClass::FAMILY, class.as_str()));
        let codes = tables.iter().flat_map(|(family, table)| table.iter().map(move |code| (family, code)));
        let codes =
            codes.map(|(family, (code, params))| (key(family, code), params.iter().copied().collect()));
        codes.chain(grants).chain(classes).collect()
    }

    #[test]
    fn every_code_has_its_text_in_both_languages_and_no_text_is_left_over() {
        for (language, source) in [("en", EN), ("zh-CN", ZH_CN)] {
            let (wanted, found) = (wanted(), messages(source));
            let missing: Vec<_> = wanted.keys().filter(|key| !found.contains_key(*key)).collect();
            let left: Vec<_> = found.keys().filter(|key| !wanted.contains_key(*key)).collect();
            assert!(missing.is_empty(), "write into locales/{language}.ftl: {missing:?}");
            assert!(left.is_empty(), "no code leads to these of locales/{language}.ftl: {left:?}");
            for (key, named) in found {
                assert_eq!(named, wanted[&key], "locales/{language}.ftl names other values in `{key}`");
            }
        }
    }

    #[test]
    fn the_type_that_is_wanted_is_named_in_the_language_of_the_text() {
        let code = FaultCode::wrong_type(&[TypeName::Integer, TypeName::Null]);
        assert_eq!(say(Locale::En, &code), "must be of the type whole number / null");
        assert_eq!(say(Locale::ZhCn, &code), "类型必须是整数 / null");
    }

    #[test]
    fn a_text_without_its_value_is_not_shown() {
        assert_eq!(find(Locale::En, "fault-too-long", &[]), None);
        let max = [("max", "1000".to_owned())];
        assert_eq!(
            find(Locale::En, "fault-too-long", &max).as_deref(),
            Some("may have at most 1000 characters")
        );
        assert!(find(Locale::ZhCn, "fault-too-long", &max).unwrap().contains("1000"));
    }
}
