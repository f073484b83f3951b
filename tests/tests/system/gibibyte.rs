//! The main job at full length.

use std::time::Duration;

use hulse_tests::{Broker, Hulse, Job, Source, cores, input, random};

#[test]
fn a_gibibyte_goes_through_two_kills() {
    let mut random = random("a_gibibyte_goes_through_two_kills");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lines");
    input::write_lines(&path, &mut random, 1 << 30).unwrap();
    let source = Source::read(&path);
    let mut broker = Broker::start(cores(2));
    let limit = Duration::from_secs(600);
    let mut job = Job {
        broker: &mut broker,
        topic: "lines",
        source: &source,
        limit,
    };
    let verify = |broker: &Broker| {
        let words = ["log", "verify", &broker.data().display().to_string()].map(str::to_owned);
        let _ = Hulse::new(words).within(limit).run().expect(0);
    };
    job.produce(verify);
    job.consume();
    broker.kill9();
    verify(&broker);
}
