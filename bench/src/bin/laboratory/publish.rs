//! Writing what was found into the documentation.

mod page;
mod svg;

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::result::Run;
pub(crate) use page::date;

/// Writes the generated section of `docs/benchmarks.md` and the plots beside it. Gives the paths.
///
/// # Errors
/// When the page has no place for it, or a file cannot be written.
pub(crate) fn publish(run: &Run, docs: &Path) -> Result<Vec<PathBuf>, Failure> {
    let path = docs.join("benchmarks.md");
    let shown = path.display().to_string();
    let page = fs::read_to_string(&path).map_err(Failure::io(&shown))?;
    let page = page::with_section(&page, run)
        .ok_or_else(|| Failure::new(format!("{shown} has no markers for the measured section")))?;
    fs::write(&path, page).map_err(Failure::io(&shown))?;
    let mut written = plots(run, &docs.join("benchmarks"))?;
    written.insert(0, path.clone());
    Ok(written)
}

/// Writes the plots into a folder. Gives their paths.
///
/// # Errors
/// When a file cannot be written.
pub(crate) fn plots(run: &Run, folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut written = Vec::new();
    for curve in &run.curves {
        fs::create_dir_all(folder).map_err(Failure::io(folder.display()))?;
        let path = folder.join(format!("{}.svg", curve.name));
        fs::write(&path, svg::svg(curve)).map_err(Failure::io(path.display()))?;
        written.push(path);
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::tests::sample;

    #[test]
    fn the_page_and_the_plots_are_written() {
        let docs = tempfile::tempdir().unwrap();
        let page = docs.path().join("benchmarks.md");
        fs::write(&page, "# No place\n").unwrap();
        assert!(publish(&sample(), docs.path()).is_err());
        // The repository's own page has one.
        let own = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/benchmarks.md");
        fs::copy(own, &page).unwrap();
        let written = publish(&sample(), docs.path()).unwrap();
        assert_eq!(written.len(), 2);
        assert!(
            fs::read_to_string(&page)
                .unwrap()
                .contains("| `durable-ingest` |")
        );
        let plot = fs::read_to_string(&written[1]).unwrap();
        assert!(plot.starts_with("<svg "), "{plot}");
    }
}
