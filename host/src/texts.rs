//! Texts for people in every language that the server answers in, from `locales/*.ftl`.

use std::sync::LazyLock;

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};

use crate::domain::actor::Locale;

const EN: &str = include_str!("../locales/en.ftl");
const ZH_CN: &str = include_str!("../locales/zh-CN.ftl");

static BUNDLES: LazyLock<[FluentBundle<FluentResource>; 2]> =
    LazyLock::new(|| [bundle("en", EN), bundle("zh-CN", ZH_CN)]);

/// The text `key` in a language, its placeholders filled from `params`; `None` if
/// there is no such text, or one of its placeholders has no value.
#[must_use]
pub fn find(locale: Locale, key: &str, params: &[(&'static str, String)]) -> Option<String> {
    let bundle = match locale {
        Locale::En => &BUNDLES[0],
        Locale::ZhCn => &BUNDLES[1],
    };
    let pattern = bundle.get_message(key)?.value()?;
    let mut args = FluentArgs::with_capacity(params.len());
    for (name, value) in params {
        // Texts, not numbers: a limit is shown as it was written, without grouping.
        args.set(*name, FluentValue::from(value.as_str()));
    }
    let mut errors = Vec::new();
    let text = bundle.format_pattern(pattern, Some(&args), &mut errors).into_owned();
    errors.is_empty().then_some(text)
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

    /// Every message with the placeholders that it names.
    fn messages(source: &str) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut found = BTreeMap::new();
        for line in source.lines() {
            let Some((key, text)) = line.split_once(" = ") else {
                assert!(line.is_empty() || line.starts_with('#'), "messages stand on one line: {line}");
                continue;
            };
            let placeholders = text.split("{ $").skip(1).filter_map(|rest| rest.split(' ').next()).collect();
            assert!(found.insert(key, placeholders).is_none(), "`{key}` is there twice");
        }
        found
    }

    #[test]
    fn both_languages_have_the_same_messages_with_the_same_placeholders() {
        assert_eq!(messages(EN), messages(ZH_CN));
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
