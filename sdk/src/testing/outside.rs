//! The fake host's functions beyond core records: files, and other plugins.

pub(crate) mod files {
    use super::super::fake::{at_most, page, reading, writing};
    use crate::bindings::imports::hospes::plugin::files::{File, Info, Page, Search};
    use crate::testing::World;
    use crate::{Error, Result};

    const FILES_MAX: usize = 10_000;
    const BYTES_MAX: usize = 256 << 20;

    pub(crate) fn read_many(names: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
        at_most("names", names.len(), 20)?;
        names.iter().try_for_each(|name| check(name))?;
        reading(|world| {
            Ok(names.iter().map(|name| world.files.get(name).map(|file| file.0.clone())).collect())
        })
    }

    pub(crate) fn write_many(files: &[File]) -> Result<()> {
        at_most("files", files.len(), 20)?;
        for file in files {
            check(&file.name)?;
            at_most("bytes of a file", file.content.len(), 2 << 20)?;
        }
        writing(|world| {
            let now = world.invocation.now;
            for file in files {
                world.files.insert(file.name.clone(), (file.content.clone(), now));
            }
            at_most("files of the plugin", world.files.len(), FILES_MAX)?;
            at_most("bytes of the plugin's files", total(world), BYTES_MAX)
        })
    }

    fn total(world: &World) -> usize {
        world.files.values().map(|file| file.0.len()).sum()
    }

    pub(crate) fn delete_many(names: &[String]) -> Result<()> {
        at_most("names", names.len(), 100)?;
        names.iter().try_for_each(|name| check(name))?;
        writing(|world| {
            for name in names {
                world.files.remove(name);
            }
            Ok(())
        })
    }

    pub(crate) fn query(search: &Search) -> Result<Page> {
        at_most("limit", search.limit as usize, 500)?;
        reading(|world| {
            let found = world.files.iter().filter(|(name, _)| name.starts_with(&search.prefix));
            let infos = found.map(|(name, (content, modified_at))| Info {
                name: name.clone(),
                size: content.len() as u64,
                modified_at: *modified_at,
            });
            let (files, cursor) = page(infos.collect(), search.limit, search.cursor.as_ref());
            Ok(Page { files, cursor })
        })
    }

    fn check(name: &str) -> Result<()> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let segment = |part: &str| {
            !part.is_empty() && part.len() <= 100 && !part.starts_with('.') && part.bytes().all(plain)
        };
        if name.len() <= 240 && name.split('/').all(segment) {
            return Ok(());
        }
        Err(Error::invalid("", "file_name", format!("`{name}` is no name of a file")))
    }
}

pub(crate) mod plugins {
    use super::super::fake::reading;
    use crate::testing::with;
    use crate::{Error, Result};

    pub(crate) fn call(plugin: &str, function: &str, input: &str) -> Result<String> {
        let place = (plugin.to_owned(), function.to_owned());
        with(|world| world.plugin_calls.push((place.clone(), input.to_owned())));
        reading(|world| match world.answers.get(&place) {
            Some(answer) => answer.clone(),
            None => Err(Error::NotFound(format!("function `{function}` of plugin `{plugin}`"))),
        })
    }
}
