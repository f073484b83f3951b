//! The page cache, as far as a measurement has to know what is in it.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{Advice, fadvise};

/// Takes a file's pages from the page cache, so that the next reading comes from the disk. What is
/// mapped stays.
///
/// # Errors
/// Whatever the system says.
pub fn drop_pages(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    file.sync_data()?;
    Ok(fadvise(&file, 0, None, Advice::DontNeed)?)
}
