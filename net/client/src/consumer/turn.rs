//! What a consumer of a failover subscription may acknowledge. Pure.

use hulse_model::Offset;

/// What came since the consumer last became the active one. What it was given before goes to
/// another, and its acknowledgement moves nothing.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    /// Entries from here on have not come. No limit while no other consumer can have been active.
    end: Option<Offset>,
}

impl Turn {
    /// Another consumer is the active one.
    pub(crate) const fn ends(&mut self) {
        self.end = Some(Offset::ZERO);
    }

    /// An entry came.
    pub(crate) fn came(&mut self, offset: Offset) {
        if let Some(end) = &mut self.end {
            *end = (*end).max(offset.next());
        }
    }

    /// Whether an entry was given in an earlier turn.
    pub(crate) fn is_over(&self, offset: Offset) -> bool {
        self.end.is_some_and(|end| offset >= end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_in_an_earlier_turn_is_not_acknowledged() {
        let mut turn = Turn::default();
        assert!(!turn.is_over(Offset(9)), "nobody else was active");
        turn.came(Offset(9));
        turn.ends();
        assert!(turn.is_over(Offset(0)));
        turn.came(Offset(4));
        assert!(!turn.is_over(Offset(4)));
        assert!(turn.is_over(Offset(5)), "it comes again");
    }
}
