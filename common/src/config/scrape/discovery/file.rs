//! `file_sd_configs`

use std::path::Path;

use super::{
    super::{
        super::{
            PromDuration,
            fields::{Fault, Fields},
            paths::{BaseDir, has_star_in_last_element_only},
            yaml::Node,
        },
        FileSdConfig,
    },
    refresh_interval,
};

/// The endings a target file may have.
const TARGET_FILE_ENDINGS: [&str; 6] = [".json", ".yml", ".yaml", ".JSON", ".YML", ".YAML"];

pub(super) fn read(node: &Node, dir: BaseDir<'_>) -> Result<FileSdConfig, Fault> {
    let fields = Fields::of(node, "file.plain")?;
    let files = fields.strings("files")?;
    let refresh_interval = refresh_interval(&fields, PromDuration::from_secs(300))?;
    let files_line = fields.line_of("files");
    fields.finish()?;
    if files.is_empty() {
        return Err(Fault::new(files_line, "file service discovery config must contain at least one path name"));
    }
    for file in &files {
        let has_ending = TARGET_FILE_ENDINGS.iter().any(|ending| file.ends_with(ending));
        if !has_ending || !has_star_in_last_element_only(file) {
            return Err(Fault::new(files_line, format!("path name {file:?} is not valid for file discovery")));
        }
    }
    let relative = files.iter().filter(|file| Path::new(file).is_relative()).map(|file| dir.join(file)).collect();
    Ok(FileSdConfig { files: files.iter().map(|file| dir.join(file)).collect(), relative, refresh_interval })
}
