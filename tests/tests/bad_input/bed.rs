//! A broker and a bystander, whom nothing of all this may concern.

use hulse_tests::{Broker, Hulse, LIMIT, Refused, Wire, wait_until};
use hulse_wire::json::TopicList;
use hulse_wire::{Admin, MAGIC};

/// A broker, and somebody who uses it as one should.
pub(crate) struct Bed {
    pub(crate) broker: Broker,
    bystander: Wire,
    sent: u64,
    before: Open,
}

/// What a broker has open when only the bystander is there.
struct Open {
    sockets: usize,
    /// Descriptors that are no sockets.
    files: usize,
    segments: u64,
}

/// The bystander's topic.
const CALM: &str = "calm";

impl Bed {
    /// A broker with one core: what is bad meets the bystander's core.
    pub(crate) fn new() -> Self {
        let broker = Broker::start(1);
        let mut bystander = Wire::open_owner(broker.address(), CALM);
        bystander.open_producer(1, CALM, "bystander", None).unwrap();
        let before = Open {
            sockets: usize::MAX,
            files: usize::MAX / 2,
            segments: 0,
        };
        let mut bed = Self {
            broker,
            bystander,
            sent: 0,
            before,
        };
        // What the broker opens once and for all is open after this.
        bed.use_it();
        bed.settle();
        let (sockets, files) = bed.broker.descriptors();
        bed.before = Open {
            sockets,
            files,
            segments: bed.segments(),
        };
        bed
    }

    /// Connects, opens the conversation and sends these bytes.
    pub(crate) fn greeting(&self, bytes: &[u8]) -> Wire {
        let mut wire = Wire::connect(self.broker.address());
        wire.write(&[&MAGIC[..], bytes].concat()).unwrap();
        wire
    }

    /// Connects, shakes hands and sends these bytes.
    pub(crate) fn saying(&self, bytes: &[u8]) -> Wire {
        let mut wire = Wire::open(self.broker.address());
        wire.write(bytes).unwrap();
        wire
    }

    /// Asserts that the connection that was there before is served as before.
    #[track_caller]
    pub(crate) fn assert_bystander(&mut self) {
        let receipt = self
            .bystander
            .produce(1, self.sent, &[b"still here"])
            .unwrap();
        assert!(!receipt.duplicate);
        self.sent += 1;
    }

    /// Sends and receives as anybody would: on the connection that was there before, and on a new
    /// one.
    #[track_caller]
    fn use_it(&mut self) {
        self.assert_bystander();
        let consumed = Hulse::to(&self.broker, &format!("consume {CALM} -s s --until-end")).done();
        assert!(
            consumed.ends_with(b"still here\n"),
            "{}",
            consumed.escape_ascii()
        );
    }

    /// Connections of the broker, the one that asks included.
    pub(crate) fn connections(&self) -> u64 {
        self.broker.status().cores[0].connections
    }

    /// Waits until the broker has as few connections and descriptors open as it should: those of
    /// before, and two for each segment that has been made since.
    #[track_caller]
    fn settle(&self) {
        wait_until(
            "only the bystander and who asks are connected",
            LIMIT,
            || (self.connections() <= 2).then_some(()),
        );
        let made = self.segments().saturating_sub(self.before.segments);
        let allowed = self.before.files + usize::try_from(made).expect("few") * 2;
        wait_until("no descriptor is left over", LIMIT, || {
            let (sockets, files) = self.broker.descriptors();
            (sockets <= self.before.sockets && files <= allowed).then_some(())
        });
    }

    /// Segments of all topics.
    fn segments(&self) -> u64 {
        let list: TopicList = Wire::open(self.broker.address())
            .admin(Admin::ListTopics)
            .unwrap();
        let topics = list
            .topics
            .iter()
            .filter_map(|topic| self.broker.describe(topic));
        topics
            .flat_map(|topic| topic.partitions)
            .map(|partition| partition.segments)
            .sum()
    }

    /// Asserts that nothing of what happened has done the broker or the bystander any harm.
    #[track_caller]
    pub(crate) fn assert_unharmed(&mut self) {
        self.broker.assert_alive();
        self.use_it();
        self.settle();
        assert!(
            !self.broker.said().contains("panic"),
            "{}",
            self.broker.said()
        );
    }
}

/// Asserts that the connection is told one error with this status, and closed.
#[track_caller]
pub(crate) fn assert_broken_off(what: &str, wire: &mut Wire, status: hulse_model::Status) {
    let Refused {
        status: told,
        message,
    } = wire.refusal();
    assert_eq!(told, status, "{what}: {message}");
    assert!(!message.is_empty(), "{what}: nothing is said");
    wire.assert_closed();
}
