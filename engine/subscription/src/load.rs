//! How many unacknowledged messages are out.

/// Unacknowledged messages. Full from a limit on, until half of them are acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) messages: u64,
    pub(crate) full: bool,
}

impl Load {
    pub(crate) fn add(&mut self, messages: u32, limit: u64) {
        self.messages += u64::from(messages);
        self.full |= self.messages >= limit;
    }

    pub(crate) fn take(&mut self, messages: u32, limit: u64) {
        self.messages -= u64::from(messages);
        self.full &= self.messages > limit / 2;
    }
}
