//! Goal: the laboratory measures a row from start to end: it starts a broker, drives it, measures
//! the other side, stops the broker, and writes a file that says all of it.
//!
//! Method: the program from outside, with `--quick` and rows that take little, against `hulse` as
//! it is built for tests. The figures are worth nothing, and none is looked at but for being there.

#![expect(
    clippy::unwrap_used,
    reason = "in the function that builds the program a failure is the test's"
)]

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

/// The program, built from this repository, or what `HULSE_BINARY` names.
fn hulse() -> PathBuf {
    if let Some(path) = std::env::var_os("HULSE_BINARY") {
        return path.into();
    }
    let output = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--quiet", "--package", "hulse", "--bin", "hulse"])
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "hulse is not built");
    let said = String::from_utf8(output.stdout).unwrap();
    let path = said.lines().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        message["executable"].as_str().map(PathBuf::from)
    });
    path.unwrap()
}

#[test]
fn rows_are_measured_from_start_to_end() {
    let (out, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let output = Command::new(env!("CARGO_BIN_EXE_laboratory"))
        .args([
            "memory-ingest",
            "idle-partitions",
            "--quick",
            "--partitions",
            "20",
        ])
        .arg("--hulse")
        .arg(hulse())
        .arg("--out")
        .arg(out.path())
        .arg("--data")
        .arg(data.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complained}");
    assert!(said.starts_with("conditions: kernel "), "{said}");
    let written: Vec<_> = out.path().read_dir().unwrap().collect();
    let [file] = &written[..] else {
        panic!("{written:?}");
    };
    let text = std::fs::read(file.as_ref().unwrap().path()).unwrap();
    let run: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!((&run["quick"], &run["rounds"]), (&true.into(), &1.into()));
    let rows = run["rows"].as_array().unwrap();
    let names: Vec<_> = rows
        .iter()
        .map(|row| row["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        ["memory-ingest", "idle-memory", "idle-disk", "idle-restart"]
    );
    for row in rows {
        for side in ["hulse", "other"] {
            let figure = row[side]["figure"].as_f64().unwrap();
            assert!(figure > 0.0, "{row}");
        }
        assert!(row["share"]["median"].as_f64().is_some(), "{row}");
        assert!(["met", "missed"].contains(&row["verdict"].as_str().unwrap()));
        assert!(said.contains(&format!("\n{}: ", row["name"].as_str().unwrap())));
    }
    assert_eq!(data.path().read_dir().unwrap().count(), 0, "it cleans up");
}

#[test]
fn a_row_that_there_is_not_is_refused_before_anything_is_measured() {
    let output = Command::new(env!("CARGO_BIN_EXE_laboratory"))
        .args(["no-such-row", "--hulse", "/nonexistent"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let complained = String::from_utf8(output.stderr).unwrap();
    assert!(complained.starts_with("laboratory: there is no row no-such-row; there are "));
    assert!(output.stdout.is_empty());
}
