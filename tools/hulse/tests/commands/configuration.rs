//! The layers of the configuration: file, environment, flags.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::broker::{assert_exit, hulse, run, stderr, stdout};

fn file(text: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hulse.toml");
    std::fs::write(&path, text).unwrap();
    (dir, path)
}

#[test]
fn each_layer_lies_over_the_one_below() {
    // A value that is refused tells which layer it is from; nothing is started by this.
    let (_dir, path) = file("cores = 0\n");
    let path = path.to_str().unwrap();
    let said = |environment: Option<&str>, flags: &[&str]| {
        let mut command = hulse(&[&["serve", "--config", path], flags].concat());
        if let Some(cores) = environment {
            command.env("HULSE_CORES", cores);
        }
        let output = command.output().unwrap();
        assert_exit(&output, 2);
        stderr(&output)
    };
    assert!(said(None, &[]).contains("the configuration file's `cores` cannot be `0`"));
    assert!(said(Some("none"), &[]).contains("the variable HULSE_CORES cannot be `none`"));
    assert!(said(Some("none"), &["--cores", "x"]).contains("--cores cannot be `x`"));
    assert!(
        said(Some(""), &[]).contains("the configuration file's"),
        "empty is unset"
    );
}

#[test]
fn the_file_may_be_named_by_the_environment_and_hold_clients_settings() {
    let (_dir, path) = file("server = \"no such host\"\n");
    let output = hulse(&["topic", "list"])
        .env("HULSE_CONFIG", &path)
        .output()
        .unwrap();
    assert_exit(&output, 2);
    assert!(
        stderr(&output).contains("`no such host` is no server address"),
        "{output:?}"
    );
}

#[test]
fn a_file_that_is_wrong_is_refused_with_what_is_wrong() {
    for (text, reason) in [
        (
            "listn = \"127.0.0.1:0\"\n",
            "there is no setting `listn`; did you mean `listen`?",
        ),
        ("cores = \n", "line 1 is not TOML"),
        ("allow_unauthenticated = \"maybe\"\n", "it is on or off"),
    ] {
        let (_dir, path) = file(text);
        let output = run(&["serve", "--config", path.to_str().unwrap()]);
        assert_exit(&output, 2);
        assert!(stderr(&output).contains(reason), "{}", stderr(&output));
    }
    let output = run(&["serve", "--config", "/no/such/file.toml"]);
    assert_exit(&output, 2);
    assert!(stderr(&output).contains("/no/such/file.toml cannot be read"));
}

#[test]
fn the_table_of_settings_and_the_help_text_have_the_same_flags() {
    let output = run(&["docs", "config-table"]);
    assert_exit(&output, 0);
    let table = stdout(&output);
    let help = stdout(&run(&["serve", "--help"]));
    let flags: Vec<&str> = table
        .lines()
        .filter_map(|line| line.split("`--").nth(1)?.split(['`', ' ']).next())
        .collect();
    assert!(flags.len() > 15, "{table}");
    for flag in flags {
        assert!(help.contains(&format!("--{flag}")), "{flag}");
    }
}
