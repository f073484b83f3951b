//! Where the repository is and what files it has.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// Directories that hold no files of the repository: build products and what a broker or a fuzzer
/// leaves behind.
const NOT_OURS: [&str; 6] = [
    ".git",
    "target",
    "hulse-data",
    "tests/fuzz/target",
    "tests/fuzz/corpus",
    "tests/fuzz/artifacts",
];

/// The repository's root directory.
#[must_use]
pub fn root() -> &'static Path {
    static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        package
            .ancestors()
            .nth(2)
            .expect("this package lies two folders down")
            .to_path_buf()
    });
    &ROOT
}

/// A file in the build directory that this tool alone uses. Its parent is created.
///
/// # Panics
/// When the directory cannot be created.
#[must_use]
pub fn scratch(name: &str) -> PathBuf {
    let path = target().join("xtask").join(name);
    fs::create_dir_all(path.parent().expect("it has a parent")).expect("target/ is writable");
    path
}

/// The build directory.
#[must_use]
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// A text file of the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextFile {
    /// Its path from the root, with `/`.
    pub path: String,
    /// What it holds.
    pub text: String,
}

/// Every file of the repository whose name ends in `.extension`, in the order of their paths.
///
/// # Panics
/// When a file cannot be read or is not UTF-8.
#[must_use]
pub fn files(extension: &str) -> Vec<TextFile> {
    let mut found = Vec::new();
    collect(root(), "", extension, &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// The text of one file.
///
/// # Panics
/// When it cannot be read or is not UTF-8.
#[must_use]
pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn collect(directory: &Path, prefix: &str, extension: &str, found: &mut Vec<TextFile>) {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{prefix}: {error}"));
    for entry in entries.map(|entry| entry.expect("the directory can be read")) {
        let name = entry.file_name().into_string().expect("names are UTF-8");
        let path = if prefix.is_empty() {
            name
        } else {
            format!("{prefix}/{name}")
        };
        if NOT_OURS.contains(&path.as_str()) {
            continue;
        }
        let kind = entry.file_type().expect("the file's type can be read");
        if kind.is_dir() {
            collect(&entry.path(), &path, extension, found);
        } else if kind.is_file() && Path::new(&path).extension().is_some_and(|e| e == extension) {
            let text = read(&path);
            found.push(TextFile { path, text });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_file_is_found_and_build_products_are_not() {
        let files = files("rs");
        assert!(
            files
                .iter()
                .any(|file| file.path == "tools/xtask/src/repository.rs")
        );
        assert!(files.iter().all(|file| !file.path.starts_with("target/")));
    }
}
