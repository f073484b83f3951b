//! Which consumer of a Key_Shared subscription gets which keys.
//!
//! A key's slot is `murmur3_32(key) & 0x7fff_ffff mod 65,536`, as in Pulsar, so that clients which
//! choose their slots themselves mean the same ones. Either every consumer states the ranges of slots
//! that it wants (**sticky**), or the slots are spread over the consumers by consistent hashing
//! (**automatic**): each stands at 100 points of a ring, at the hashes of its name (and of a number,
//! where others have the same), and has the slots up to each of its points. Whoever comes or goes changes the owner of no more slots than its own.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;

use hulse_model::key_hash;

use crate::dispatcher::ConsumerId;

/// The number of slots.
pub const SLOTS: u32 = 65_536;

/// Points of one consumer on the ring: Pulsar's `subscriptionKeySharedConsistentHashingReplicaPoints`.
const POINTS: u32 = 100;

/// What a message without a key counts as, as in Pulsar.
const NO_KEY: &[u8] = b"NONE_KEY";

/// A slot: messages of one key are in one slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct KeySlot(pub u16);

impl KeySlot {
    /// The slot of a key.
    #[must_use]
    pub fn of(key: Option<&[u8]>) -> Self {
        let slot = key_hash(key.unwrap_or(NO_KEY)) % SLOTS;
        Self(u16::try_from(slot).expect("it is below 65,536"))
    }
}

/// Slots `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotRange {
    /// The first slot.
    pub first: u16,
    /// The last slot.
    pub last: u16,
}

/// A name on the ring.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Name {
    name: Box<str>,
    /// How many others had the name already. Programs in containers are apt to have one name, and each
    /// is to get its share.
    namesake: u32,
}

impl Name {
    /// Where it stands.
    fn points(&self) -> impl Iterator<Item = u32> {
        let own = match self.namesake {
            0 => self.name.clone(),
            namesake => format!("{}\0{namesake}", self.name).into(),
        };
        (0..POINTS).map(move |point| key_hash(format!("{own}\0{point}").as_bytes()) % SLOTS)
    }
}

/// Who owns which slots.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Owners {
    /// Automatic: points of the ring and whose they are. Where two consumers meet at a point, all of
    /// them stand there, and the first has it.
    ring: BTreeMap<u32, Vec<ConsumerId>>,
    /// Those who stand on the ring.
    names: BTreeMap<ConsumerId, Name>,
    /// Sticky: ranges by their first slot.
    ranges: BTreeMap<u16, (u16, ConsumerId)>,
}

/// Why a consumer cannot have the slots that it wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Another consumer has some of them.
    Taken(ConsumerId),
    /// The others get theirs the other way, sticky or automatic.
    OtherWay,
    /// A range ends before it begins, or meets another of the same consumer.
    Malformed,
}

impl Owners {
    /// Adds a consumer, with the ranges that it wants or, without any, at points of the ring.
    pub(crate) fn add(
        &mut self,
        consumer: ConsumerId,
        name: &str,
        wanted: &[SlotRange],
    ) -> Result<(), Refused> {
        if wanted.is_empty() {
            if !self.ranges.is_empty() {
                return Err(Refused::OtherWay);
            }
            let same = self.names.values().filter(|it| *it.name == *name);
            let taken: BTreeSet<_> = same.map(|it| it.namesake).collect();
            let free = (0..).find(|namesake| !taken.contains(namesake));
            let name = Name {
                name: name.into(),
                namesake: free.unwrap_or_default(),
            };
            for at in name.points() {
                self.ring.entry(at).or_default().push(consumer);
            }
            self.names.insert(consumer, name);
            return Ok(());
        }
        if !self.ring.is_empty() {
            return Err(Refused::OtherWay);
        }
        let mut added: Vec<SlotRange> = Vec::new();
        for range in wanted {
            let meets = |it: &SlotRange| range.first <= it.last && it.first <= range.last;
            if range.first > range.last || added.iter().any(meets) {
                return Err(Refused::Malformed);
            }
            if let Some(by) = self.overlap(*range) {
                return Err(Refused::Taken(by));
            }
            added.push(*range);
        }
        for range in added {
            self.ranges.insert(range.first, (range.last, consumer));
        }
        Ok(())
    }

    pub(crate) fn remove(&mut self, consumer: ConsumerId) {
        self.ranges.retain(|_, (_, owner)| *owner != consumer);
        let Some(name) = self.names.remove(&consumer) else {
            return;
        };
        for at in name.points() {
            if let Some(owners) = self.ring.get_mut(&at) {
                owners.retain(|owner| *owner != consumer);
                if owners.is_empty() {
                    self.ring.remove(&at);
                }
            }
        }
    }

    /// The owner of a slot, if it has one: of automatic slots each has, as soon as there is a
    /// consumer.
    pub(crate) fn of(&self, slot: KeySlot) -> Option<ConsumerId> {
        if let Some((_, (last, owner))) = self.ranges.range(..=slot.0).next_back() {
            return (slot.0 <= *last).then_some(*owner);
        }
        let up = self.ring.range(u32::from(slot.0)..).next();
        let (_, owners) = up.or_else(|| self.ring.first_key_value())?;
        owners.first().copied()
    }

    fn overlap(&self, wanted: SlotRange) -> Option<ConsumerId> {
        let (_, (last, owner)) = self.ranges.range(..=wanted.last).next_back()?;
        (*last >= wanted.first).then_some(*owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owners(names: &[&str]) -> Owners {
        let mut owners = Owners::default();
        for (number, name) in (1..).zip(names) {
            owners.add(ConsumerId(number), name, &[]).unwrap();
        }
        owners
    }

    #[test]
    fn slots_are_spread_over_the_consumers() {
        let names: Vec<_> = (0..10).map(|number| format!("consumer-{number}")).collect();
        let names: Vec<_> = names.iter().map(|name| &**name).collect();
        let owners = owners(&names);
        let mut counts = BTreeMap::new();
        for slot in 0..=u16::MAX {
            let owner = owners.of(KeySlot(slot)).unwrap();
            *counts.entry(owner).or_insert(0_u32) += 1;
        }
        assert_eq!(counts.len(), 10);
        for (owner, count) in counts {
            assert!(
                (4_000..10_000).contains(&count),
                "consumer {owner}: {count}"
            );
        }
    }

    #[test]
    fn who_comes_or_goes_changes_the_owner_of_its_own_slots_alone() {
        let before = owners(&["a", "b", "c"]);
        let mut after = before.clone();
        let new = ConsumerId(4);
        after.add(new, "d", &[]).unwrap();
        for slot in (0..=u16::MAX).map(KeySlot) {
            let (was, is) = (before.of(slot), after.of(slot));
            assert!(is == was || is == Some(new), "slot {slot:?}");
        }
        after.remove(new);
        assert_eq!(after, before);
    }

    #[test]
    fn consumers_of_one_name_have_a_share_each() {
        let mut owners = owners(&["worker", "worker", "worker"]);
        let share = |owners: &Owners, number| {
            let slots = (0..=u16::MAX).map(KeySlot);
            slots
                .filter(|it| owners.of(*it) == Some(ConsumerId(number)))
                .count()
        };
        for number in 1..=3 {
            assert!(share(&owners, number) > 15_000, "consumer {number}");
        }
        // Whoever comes instead of one that has gone takes its place.
        let before = owners.clone();
        let of_second = share(&owners, 2);
        owners.remove(ConsumerId(2));
        owners.add(ConsumerId(4), "worker", &[]).unwrap();
        assert_eq!(share(&owners, 4), of_second);
        owners.remove(ConsumerId(4));
        owners.add(ConsumerId(2), "worker", &[]).unwrap();
        assert_eq!(owners.names, before.names);
    }

    #[test]
    fn stated_ranges_are_kept_apart() {
        let range = |first, last| SlotRange { first, last };
        let mut owners = Owners::default();
        let [one, two, three] = [1, 2, 3].map(ConsumerId);
        owners
            .add(one, "", &[range(10, 19), range(40, 40)])
            .unwrap();
        owners.add(two, "", &[range(20, 39)]).unwrap();
        for (slot, owner) in [(9, None), (10, Some(one)), (19, Some(one)), (20, Some(two))] {
            assert_eq!(owners.of(KeySlot(slot)), owner, "slot {slot}");
        }
        for (slot, owner) in [(39, Some(two)), (40, Some(one)), (41, None)] {
            assert_eq!(owners.of(KeySlot(slot)), owner, "slot {slot}");
        }
        for taken in [
            range(0, 10),
            range(15, 16),
            range(0, u16::MAX),
            range(40, 50),
        ] {
            assert_eq!(
                owners.add(three, "", &[taken]),
                Err(Refused::Taken(one)),
                "{taken:?}"
            );
        }
        assert_eq!(
            owners.add(three, "", &[range(39, 39)]),
            Err(Refused::Taken(two))
        );
        assert_eq!(
            owners.add(three, "", &[range(6, 5)]),
            Err(Refused::Malformed)
        );
        let twice = [range(50, 60), range(60, 70)];
        assert_eq!(owners.add(three, "", &twice), Err(Refused::Malformed));
        assert_eq!(owners.add(three, "", &[]), Err(Refused::OtherWay));
        assert_eq!(
            owners.of(KeySlot(55)),
            None,
            "a refusal leaves nothing behind"
        );
        owners.remove(one);
        assert_eq!(owners.of(KeySlot(10)), None);
    }

    #[test]
    fn a_key_has_one_slot_and_none_has_one_too() {
        assert_eq!(KeySlot::of(Some(b"NONE_KEY")), KeySlot::of(None));
        assert_ne!(KeySlot::of(Some(b"")), KeySlot::of(None));
    }
}
