//! The line that says that a broker serves.

use std::net::SocketAddr;

/// The ready line, read word by word as a script would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// Where each core listens.
    pub listen: Vec<SocketAddr>,
    /// Where the admin port listens; `None` when it is off.
    pub admin: Option<SocketAddr>,
    /// The broker's name.
    pub broker: String,
    /// Its region.
    pub region: String,
    /// Number of cores.
    pub cores: usize,
    /// What an acknowledgement means when a topic does not say.
    pub ack: String,
}

impl Ready {
    /// Reads the line, which must be exactly as promised: every word in its place, nothing else.
    ///
    /// # Panics
    /// When it is not.
    #[must_use]
    pub fn read(line: &str) -> Self {
        let mut words = line.split(' ');
        assert_eq!(words.next(), Some("ready"), "{line:?}");
        let mut value = |name: &str| {
            let word = words.next().unwrap_or_default();
            let value = word
                .strip_prefix(name)
                .and_then(|rest| rest.strip_prefix('='));
            value
                .unwrap_or_else(|| panic!("{name}= is missing in {line:?}"))
                .to_owned()
        };
        let address = |text: &str| {
            text.parse()
                .unwrap_or_else(|_| panic!("{text:?} in {line:?}"))
        };
        let ready = Self {
            listen: value("listen").split(',').map(address).collect(),
            admin: Some(value("admin"))
                .filter(|admin| admin != "off")
                .map(|text| address(&text)),
            broker: value("broker"),
            region: value("region"),
            cores: value("cores").parse().expect("a number of cores"),
            ack: value("ack"),
        };
        assert_eq!(words.next(), None, "more than was promised: {line:?}");
        assert_eq!(ready.cores, ready.listen.len(), "{line:?}");
        ready
    }
}
