//! What cannot be meant, what is not there yet, and who cannot be reached.

use std::net::TcpListener;

use crate::broker::{assert_exit, run, stderr, stdout};

#[test]
fn what_is_not_there_yet_says_so_in_one_sentence() {
    let planned: &[&[&str]] = &[
        &["witness", "--data", "d", "--listen", "127.0.0.1:6640"],
        &["cluster", "status"],
        &["cluster", "health", "--watch"],
        &["cluster", "health", "--until-healthy", "5"],
        &["cluster", "move", "g1", "--to", "b2"],
        &["cluster", "promote", "g1", "--unclean"],
        &["cluster", "adopt-store"],
        &["bench", "failover"],
        &["demo", "regions"],
        &["serve", "--single-port"],
        &["serve", "--metadata", "hulse://127.0.0.1:6640"],
        &[
            "serve",
            "--metadata",
            "etcd://127.0.0.1:2379,127.0.0.2:2379",
        ],
        &["serve", "--timing", "wan"],
        &["serve", "--timing", "ci"],
        &["topic", "list", "--token-file", "t"],
        &["topic", "list", "--tls-ca", "ca.pem"],
    ];
    for arguments in planned {
        let output = run(arguments);
        assert_exit(&output, 2);
        let said = stderr(&output);
        assert!(
            said.starts_with("hulse: not available yet: "),
            "{arguments:?}: {said}"
        );
        assert_eq!(said.lines().count(), 1, "{arguments:?}: {said}");
        assert_eq!(stdout(&output), "", "{arguments:?}");
    }
}

#[test]
fn what_cannot_be_meant_is_exit_two() {
    let wrong: &[&[&str]] = &[
        &[],
        &["bake"],
        &["produce"],
        &["consume", "t", "--from", "soon"],
        &["consume", "t", "-s", "s", "--count", "0"],
        &[
            "consume",
            "t",
            "-s",
            "s",
            "--type",
            "shared",
            "--until-end",
            "--ack",
            "none",
        ],
        &["bench", "consume", "t", "--consumers", "2"],
        &["produce", "t", "--rate", "0"],
        &["topic", "create", "t", "--partitions", "1025"],
        &["subscription", "seek", "t", "s", "--to", "soon"],
        &["topic", "list", "--timeout", "0"],
        &["topic", "list", "--server", "http://x"],
        &["serve", "--listen", "10.0.0.1:6650"],
        &[
            "serve",
            "--listen",
            "0.0.0.0:6650",
            "--allow-unauthenticated",
        ],
        &["serve", "--log", "hulse=loud"],
        &["tenant", "set", "a"],
        &["tenant", "set", "a", "--ttl", "0s"],
        &["namespace", "set", "a/b"],
        &["namespace", "set", "a/b", "--rate", "unlimited"],
        &["namespace", "create", "a/b", "--retention", "soon"],
        &["topic", "set", "t"],
        &["permission", "grant", "a/b", "me"],
        &["doctor", "--cores", "0"],
    ];
    for arguments in wrong {
        let output = run(arguments);
        assert_exit(&output, 2);
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn nobody_there_is_exit_three_with_a_remedy() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    drop(taken);
    let asked: &[&[&str]] = &[
        &["topic", "list"],
        &["subscription", "list", "t"],
        &["produce", "t", "--timeout", "0.1"],
        &["consume", "t", "-s", "s", "--timeout", "0.1"],
        &["bench", "produce", "t", "--timeout", "0.1"],
    ];
    for arguments in asked {
        let output = run(&[*arguments, &["--server", &address]].concat());
        assert_exit(&output, 3);
        let said = stderr(&output);
        assert!(
            said.contains(&format!("cannot reach a server at {address}")),
            "{said}"
        );
        assert!(said.contains("hulse serve"), "{said}");
    }
}

#[test]
fn help_and_version_are_no_failures() {
    let output = run(&["--version"]);
    assert_exit(&output, 0);
    assert_eq!(
        stdout(&output),
        format!("hulse {}\n", env!("CARGO_PKG_VERSION"))
    );
    for arguments in [
        &["--help"][..],
        &["produce", "--help"],
        &["help", "topic", "create"],
    ] {
        let output = run(arguments);
        assert_exit(&output, 0);
        assert!(stdout(&output).contains("acknowledge"), "{arguments:?}");
    }
}

#[test]
fn a_doctor_that_finds_something_is_exit_ten() {
    let output = run(&["doctor", "--cores", "1024", "--json"]);
    assert_exit(&output, 10);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["healthy"], false);
    let checks = report["checks"].as_array().unwrap();
    let cores = checks
        .iter()
        .find(|check| check["name"] == "cores")
        .unwrap();
    assert_eq!(cores["outcome"], "failed");
    assert!(cores["remedy"].as_str().unwrap().contains("--cores"));
    assert!(stdout(&run(&["doctor", "--cores", "1024"])).contains("\ncores (failed): "));
}
