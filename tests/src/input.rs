//! What is sent: files of lines.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use rand::{Rng, RngExt};

use crate::seed::Random;

/// dpkg's status file, where there is one.
const PACKAGES: &str = "/var/lib/dpkg/status";

/// Writes about so many bytes of lines to a file: mostly short, some long, many of them empty, of
/// any bytes, CR and what is no UTF-8 among them. The last line has no LF.
///
/// # Errors
/// Those of the file.
pub fn write_lines(path: &Path, random: &mut Random, bytes: u64) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut line = Vec::new();
    let mut written = 0;
    while written < bytes {
        let length = match random.random_range(0..10_000) {
            0..1_000 => 0,
            1_000..7_500 => random.random_range(1..100),
            7_500..9_900 => random.random_range(100..1_000),
            9_900..9_999 => random.random_range(1_000..20_000),
            _ => random.random_range(20_000..300_000),
        };
        line.resize(length, 0);
        random.fill_bytes(&mut line);
        for byte in &mut line {
            if *byte == b'\n' {
                *byte = b'\r';
            }
        }
        line.push(b'\n');
        out.write_all(&line)?;
        written += line.len() as u64;
    }
    out.write_all(b"\xff the last line \r")?;
    out.flush()
}

/// Debian's package database of this machine, or, where there is none, one that looks the same.
#[must_use]
pub fn package_database(random: &mut Random) -> Vec<u8> {
    match std::fs::read(PACKAGES) {
        Ok(bytes) if !bytes.is_empty() => bytes,
        _ => made_up_packages(random),
    }
}

fn made_up_packages(random: &mut Random) -> Vec<u8> {
    let mut text = String::new();
    for package in 0..1_500 {
        let size = random.random_range(1..100_000);
        text.push_str(&format!(
            "Package: package-{package}\nStatus: install ok installed\nPriority: optional\n\
             Section: libs\nInstalled-Size: {size}\nArchitecture: amd64\nVersion: 1.{size}-1\n\
             Depends: libc6 (>= 2.34), package-{size}\nDescription: a package that is made up\n"
        ));
        for line in 0..random.random_range(0..10) {
            text.push_str(&format!(" Line {line} of what it is for.\n .\n"));
        }
        text.push('\n');
    }
    text.into_bytes()
}

/// Number of lines: what follows the last LF is one unless it is empty.
#[must_use]
pub fn count_lines(bytes: &[u8]) -> u64 {
    let ends = bytes.iter().filter(|byte| **byte == b'\n').count();
    ends as u64 + u64::from(bytes.last().is_some_and(|last| *last != b'\n'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::random;

    #[test]
    fn lines_have_every_shape() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut random = random("lines_have_every_shape");
        write_lines(file.path(), &mut random, 4 << 20).unwrap();
        let bytes = std::fs::read(file.path()).unwrap();
        assert!(bytes.len() >= 4 << 20);
        assert_ne!(bytes.last(), Some(&b'\n'));
        let mut lines = bytes.split(|byte| *byte == b'\n');
        assert_eq!(lines.clone().count() as u64, count_lines(&bytes));
        assert!(lines.clone().any(<[u8]>::is_empty));
        assert!(lines.clone().any(|line| line.len() > 1_000));
        assert!(lines.clone().any(|line| line.contains(&b'\r')));
        assert!(lines.any(|line| std::str::from_utf8(line).is_err()));
    }

    #[test]
    fn the_package_database_has_empty_lines() {
        let mut random = random("the_package_database_has_empty_lines");
        for bytes in [package_database(&mut random), made_up_packages(&mut random)] {
            assert!(count_lines(&bytes) > 100);
            assert!(bytes.windows(2).any(|pair| pair == b"\n\n"));
        }
    }
}
