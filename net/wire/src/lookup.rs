//! LOOKUP and LOCATED: where the partitions of a topic live.

use alloc::string::ToString;
use alloc::vec::Vec;

use hulse_model::limits::TOPIC_PARTITIONS_MAX;
use hulse_model::{PartitionId, TopicName};
use hulse_schema as schema;

use crate::encoder::Builder;
use crate::error::FrameError;
use crate::frame::Frame;
use crate::table::root;
use crate::violation::{Violation, check_count, check_partition, check_text, name, present};

/// The longest address (`host:port`), in bytes: the longest host name there is, and a port.
pub const ADDRESS_BYTES_MAX: usize = 253 + 1 + 5;

/// LOOKUP: where does this topic live?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// The topic.
    pub topic: TopicName,
    /// Whether it is to be created when it does not exist and policy allows it.
    pub create_missing: bool,
}

impl Lookup {
    pub(crate) fn build(&self, builder: &mut Builder) -> Result<(), Violation> {
        let topic = builder.create_string(&self.topic.to_string());
        let args = schema::LookupArgs {
            topic: Some(topic),
            create_missing: self.create_missing,
        };
        let table = schema::Lookup::create(builder, &args);
        builder.finish_minimal(table);
        Ok(())
    }

    pub(crate) fn decode(frame: &Frame<'_>) -> Result<Self, FrameError> {
        let table = root::<schema::Lookup<'_>>(frame)?;
        let topic = name("topic", table.topic()).map_err(|violation| frame.refused(violation))?;
        Ok(Self {
            topic,
            create_missing: table.create_missing(),
        })
    }
}

/// One partition and the core that owns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionPlace<'a> {
    /// The partition's number within its topic; -1 for a topic without partitions.
    pub partition: i32,
    /// Its identity, for ever.
    pub id: PartitionId,
    /// `host:port` of the core that owns it.
    pub address: &'a str,
}

impl<'a> PartitionPlace<'a> {
    fn check(&self) -> Result<(), Violation> {
        check_partition(self.partition)?;
        if self.address.is_empty() {
            return Err(Violation::Missing { field: "address" });
        }
        check_text("address", self.address, ADDRESS_BYTES_MAX)
    }

    fn read(table: schema::PartitionPlace<'a>) -> Result<Self, Violation> {
        let id = present("id", table.id())?;
        let place = Self {
            partition: table.partition(),
            id: id.parse().map_err(|_| Violation::Missing { field: "id" })?,
            address: present("address", table.address())?,
        };
        place.check()?;
        Ok(place)
    }
}

/// LOCATED: the answer to LOOKUP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<'a> {
    /// The topic in its full form.
    pub topic: TopicName,
    /// Its partitions in rising order; one with the number -1 for a topic without partitions.
    pub places: Vec<PartitionPlace<'a>>,
}

impl<'a> Located<'a> {
    pub(crate) fn build(&self, builder: &mut Builder) -> Result<(), Violation> {
        check_count("places", self.places.len(), TOPIC_PARTITIONS_MAX as usize)?;
        let mut places = Vec::with_capacity(self.places.len());
        for place in &self.places {
            place.check()?;
            let id = builder.create_string(&place.id.to_string());
            // Many partitions share few cores: each address is written once.
            let address = builder.create_shared_string(place.address);
            let args = schema::PartitionPlaceArgs {
                partition: place.partition,
                id: Some(id),
                address: Some(address),
            };
            places.push(schema::PartitionPlace::create(builder, &args));
        }
        let places = builder.create_vector(&places);
        let topic = builder.create_string(&self.topic.to_string());
        let args = schema::LocatedArgs {
            topic: Some(topic),
            places: Some(places),
        };
        let table = schema::Located::create(builder, &args);
        builder.finish_minimal(table);
        Ok(())
    }

    pub(crate) fn decode(frame: &Frame<'a>) -> Result<Self, FrameError> {
        let table = root::<schema::Located<'a>>(frame)?;
        Self::read(&table).map_err(|violation| frame.refused(violation))
    }

    fn read(table: &schema::Located<'a>) -> Result<Self, Violation> {
        let topic = name("topic", table.topic())?;
        let tables = table.places().unwrap_or_default();
        check_count("places", tables.len(), TOPIC_PARTITIONS_MAX as usize)?;
        let places = tables
            .iter()
            .map(PartitionPlace::read)
            .collect::<Result<_, _>>()?;
        Ok(Self { topic, places })
    }
}
