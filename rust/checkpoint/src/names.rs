//! Which variable names can be stored, so that every name that is saved is found again.

use std::collections::HashMap;

use crate::error::{Error, Result};

/// The file that says that a save was finished.
pub const MARKER: &str = "snapshot_done";

/// The file that holds what the user says about a checkpoint, in JSON.
pub const METADATA: &str = "flowrs.json";

/// The most parts (separated by `/`) that a variable name may have.
pub const MAX_NAME_PARTS: usize = 32;

/// The longest part of a name in bytes that common file systems store.
const MAX_PART_BYTES: usize = 255;

/// Checks that all these variables can be stored in one directory, with metadata or without.
///
/// Names that differ only in case are stored where the file system tells them apart; where it
/// does not, making their directories fails ([`not_told_apart`]).
pub(crate) fn check<'n>(names: impl Iterator<Item = &'n str>, metadata: bool) -> Result<()> {
    let mut taken = HashMap::new();
    for file in [Some(MARKER), metadata.then_some(METADATA)].into_iter().flatten() {
        taken.insert(file.to_owned(), Taken { role: Role::File, by: None });
    }
    for name in names {
        check_one(name)?;
        for (end, _) in name.match_indices('/') {
            claim(&mut taken, &name[..end], Role::Directory, name)?;
        }
        claim(&mut taken, name, Role::Directory, name)?;
        for file in ["out", "meta"] {
            claim(&mut taken, &format!("{name}/{file}"), Role::File, name)?;
        }
    }
    Ok(())
}

/// The error for a name whose directory exists already, though no other name is the same.
pub(crate) fn not_told_apart(name: &str) -> Error {
    invalid(
        name,
        "this file system takes it for the name of another variable, perhaps since they differ \
         only in case; rename one of them"
            .to_owned(),
    )
}

/// What is at a path inside the checkpoint, and which variable needs it.
struct Taken<'n> {
    role: Role,
    by: Option<&'n str>,
}

#[derive(PartialEq, Eq, Clone, Copy)]
enum Role {
    Directory,
    File,
}

fn claim<'n>(
    taken: &mut HashMap<String, Taken<'n>>,
    path: &str,
    role: Role,
    name: &'n str,
) -> Result<()> {
    let Some(other) = taken.get(path) else {
        taken.insert(path.to_owned(), Taken { role, by: Some(name) });
        return Ok(());
    };
    if role == Role::Directory && other.role == Role::Directory && other.by != Some(name) {
        // Directories of several names; that a name is given twice shows at its files.
        return Ok(());
    }
    let reason = match other.by {
        None => format!("{path:?} is the name of a file of the format; rename the variable"),
        Some(by) if by == name => "is given twice; give each variable once".to_owned(),
        Some(by) => format!(
            "collides with variable {by:?}: {path:?} would be both a file and a directory; rename \
             one of them"
        ),
    };
    Err(invalid(name, reason))
}

fn check_one(name: &str) -> Result<()> {
    let reason = if name.is_empty() {
        "is empty".to_owned()
    } else if name.contains('\0') {
        "holds a NUL character".to_owned()
    } else if name.starts_with('/') {
        "begins with `/`; names are relative".to_owned()
    } else if cfg!(windows) && name.contains(['\\', ':']) {
        "holds `\\` or `:`, which this system cannot store".to_owned()
    } else if name.split('/').count() > MAX_NAME_PARTS {
        format!("has more than {MAX_NAME_PARTS} parts between `/`; shorten it")
    } else if let Some(part) = name.split('/').find(|part| matches!(*part, "" | "." | "..")) {
        format!("has the part {part:?} between `/`, which is no name")
    } else if let Some(part) = name.split('/').find(|part| part.len() > MAX_PART_BYTES) {
        let found = part.len();
        format!("has a part of {found} bytes, at most {MAX_PART_BYTES} can be stored; shorten it")
    } else {
        return Ok(());
    };
    Err(invalid(name, reason))
}

fn invalid(name: &str, reason: String) -> Error {
    let name = match name.char_indices().nth(80) {
        Some((end, _)) => format!("{}...", &name[..end]),
        None => name.to_owned(),
    };
    Error::InvalidName { name, reason }
}
