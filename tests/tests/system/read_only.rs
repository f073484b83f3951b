//! A file system that cannot be written.

use hulse_tests::{Broker, Hulse, Serve, own_host};

use crate::mount::Mount;

#[test]
fn a_broker_does_not_start_where_it_cannot_write_and_says_why() {
    let mount = Mount::with_bytes(256 << 20);
    let data = mount.data();
    let mut broker = Broker::start_on(&data, 1);
    Hulse::to(&broker, "produce orders").input(b"kept\n").done();
    assert_eq!(broker.stop().code(), Some(0));
    mount.set_read_only(true);
    for data in [data.clone(), mount.path().join("new")] {
        let serve = Serve::new(&data, own_host(), 1);
        let parts = [&data.display().to_string()[..], "Read-only file system"];
        Hulse::new(serve.words()).run().refused(1, &parts);
    }
    // What only reads the files can still do so.
    let verify = ["log", "verify", &data.display().to_string()].map(str::to_owned);
    let _ = Hulse::new(verify).run().expect(0);
    mount.set_read_only(false);
    broker.restart(1);
    assert_eq!(
        Hulse::to(&broker, "consume orders -s s --until-end").done(),
        b"kept\n"
    );
}
