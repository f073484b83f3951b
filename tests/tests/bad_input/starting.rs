//! Data directories and addresses that a broker cannot use.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use hulse_tests::{Broker, Hulse, Serve, cores, own_host};
use tempfile::TempDir;

/// A data directory with a message in it, whose broker has stopped.
fn stopped() -> (TempDir, Serve) {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut broker = Broker::start_on(&data, 1);
    Hulse::to(&broker, "produce orders").input(b"kept\n").done();
    assert_eq!(broker.stop().code(), Some(0));
    let serve = broker.serve().clone();
    (dir, serve)
}

/// Asserts that a broker does not start, and says these things in one sentence.
#[track_caller]
fn assert_refused(serve: &Serve, exit: i32, parts: &[&str]) {
    let ended = Hulse::new(serve.words()).run();
    assert!(ended.stdout.is_empty(), "it was ready: {}", ended.text());
    ended.refused(exit, parts);
}

/// Asserts that a broker on this directory has the message.
#[track_caller]
fn assert_kept(data: &Path) {
    let broker = Broker::start_on(data, 1);
    let kept = Hulse::to(&broker, "consume orders -s s --until-end --ack none").done();
    assert_eq!(kept, b"kept\n");
}

#[test]
fn a_directory_of_another_format_is_left_alone() {
    let (_dir, serve) = stopped();
    let format = serve.data.join("FORMAT");
    let ours = fs::read(&format).unwrap();
    for other in ["2\n", "0", "", "one", "\u{fffd}"] {
        fs::write(&format, other).unwrap();
        let found = format!("has format {}, this program reads format 1", other.trim());
        assert_refused(&serve, 1, &[&serve.data.display().to_string(), &found]);
        assert_eq!(fs::read(&format).unwrap(), other.as_bytes());
    }
    fs::write(&format, ours).unwrap();
    assert_kept(&serve.data);
}

#[test]
fn a_directory_in_use_is_refused_and_its_user_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let broker = Broker::start_on(&data, 1);
    Hulse::to(&broker, "produce orders").input(b"kept\n").done();
    let process = fs::read_to_string(data.join("LOCK")).unwrap();
    let second = Serve::new(&data, own_host(), 1);
    let holder = format!("(process {})", process.trim());
    assert_refused(&second, 1, &["is in use by another process", &holder]);
    let verify = ["log", "verify", &data.display().to_string()].map(str::to_owned);
    Hulse::new(verify)
        .run()
        .refused(1, &["a broker uses", &holder]);
    assert_eq!(
        Hulse::to(&broker, "consume orders -s s --until-end").done(),
        b"kept\n"
    );
}

#[test]
fn a_taken_port_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let serve = Serve::new(&dir.path().join("data"), own_host(), 1);
    let taken = TcpListener::bind(serve.listen).unwrap();
    assert_refused(&serve, 1, &[&format!("cannot listen on {}", serve.listen)]);
    drop(taken);
    let taken = TcpListener::bind(serve.admin).unwrap();
    assert_refused(&serve, 1, &[&format!("cannot listen on {}", serve.admin)]);
    drop(taken);
    if cores(2) == 2 {
        let serve = Serve {
            cores: 2,
            ..serve.clone()
        };
        let mut second = serve.listen;
        second.set_port(second.port() + 1);
        let taken = TcpListener::bind(second).unwrap();
        assert_refused(&serve, 1, &[&format!("cannot listen on {second}")]);
        drop(taken);
        let mut last = serve.clone();
        last.listen.set_port(65_535);
        assert_refused(&last, 2, &["core 1 would need a port above 65535"]);
    }
    // Nothing of all these attempts is in the way of the next.
    let _ready = Broker::start_on(&serve.data, 1);
}

#[test]
fn more_cores_than_there_are_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let available = std::thread::available_parallelism().unwrap().get();
    let mut serve = Serve::new(&dir.path().join("data"), own_host(), available + 1);
    assert_refused(&serve, 1, &[&format!("--cores {available}")]);
    serve.cores = 0;
    assert_refused(&serve, 2, &["cores"]);
    serve.cores = 1;
    let _ready = Broker::start_on(&serve.data, 1);
}

#[test]
fn nobody_listens_to_the_world_by_accident() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Serve::new(&dir.path().join("data"), own_host(), 1);
    for listen in ["0.0.0.0:0", "192.0.2.1:6650", "[::]:0"] {
        let serve = Serve {
            listen: listen.parse().unwrap(),
            ..ours.clone()
        };
        assert_refused(&serve, 2, &[listen, "--allow-unauthenticated"]);
    }
    let serve = Serve {
        admin: "0.0.0.0:0".parse().unwrap(),
        ..ours.clone()
    };
    assert_refused(&serve, 2, &["0.0.0.0:0", "--allow-unauthenticated"]);
    let mut serve = Serve {
        listen: "0.0.0.0:0".parse().unwrap(),
        ..ours
    };
    serve.flags = vec!["--allow-unauthenticated".to_owned()];
    assert_refused(&serve, 2, &["--advertise"]);
    assert!(
        !serve.data.exists(),
        "something was made before the refusal"
    );
}

#[test]
fn what_is_in_the_way_of_the_data_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "mine").unwrap();
    for data in [file.clone(), file.join("below")] {
        let serve = Serve::new(&data, own_host(), 1);
        assert_refused(&serve, 1, &[&data.display().to_string()]);
    }
    assert_eq!(fs::read(&file).unwrap(), b"mine");
}

#[test]
fn metadata_that_is_none_is_refused() {
    let (_dir, serve) = stopped();
    let store = serve.data.join("metadata.redb");
    let ours = fs::read(&store).unwrap();
    let half = &ours[..ours.len() / 2];
    for other in [&b"not a database at all"[..], &[0; 8192], half] {
        fs::write(&store, other).unwrap();
        assert_refused(&serve, 1, &["metadata"]);
    }
    fs::write(&store, ours).unwrap();
    assert_kept(&serve.data);
}

#[test]
fn a_partition_that_cannot_be_opened_costs_no_other() {
    let (_dir, serve) = stopped();
    let broker = Broker::start_on(&serve.data, 1);
    Hulse::to(&broker, "produce other").input(b"other\n").done();
    let dir = broker.partition_dir(&broker.partition("orders").id);
    let other = broker.serve().clone();
    drop(broker);
    let manifest = dir.join("MANIFEST");
    let ours = fs::read(&manifest).unwrap();
    let aside = dir.with_extension("aside");
    for what in ["a changed manifest", "a missing directory"] {
        if what == "a changed manifest" {
            let mut changed = ours.clone();
            changed[40] ^= 1;
            fs::write(&manifest, changed).unwrap();
        } else {
            fs::write(&manifest, &ours).unwrap();
            fs::rename(&dir, &aside).unwrap();
        }
        let broker = Broker::start_on(&other.data, 1);
        assert!(
            broker.said().contains("recovery: "),
            "{what}: {}",
            broker.said()
        );
        let (code, text) = hulse_tests::get(broker.admin(), "/readyz");
        assert_eq!(code, 503, "{what}: {text}");
        let described = broker.describe("orders").expect("the topic is still there");
        assert!(
            described.partitions[0].poisoned.is_some(),
            "{what}: {described:?}"
        );
        let produced = Hulse::to(&broker, "produce orders --timeout 3")
            .input(b"x\n")
            .run();
        produced.refused(1, &["STORAGE_FAILED"]);
        let kept = Hulse::to(&broker, "consume other -s s --until-end --ack none").done();
        assert_eq!(kept, b"other\n", "{what}");
        Hulse::to(&broker, "produce more").input(b"more\n").done();
    }
    fs::rename(&aside, &dir).unwrap();
    assert_kept(&serve.data);
}
