//! What there is to measure.

pub(crate) mod beside_iggy;
pub(crate) mod beside_others;
pub(crate) mod cold;
pub(crate) mod crowd;
pub(crate) mod curves;
pub(crate) mod ingest;
pub(crate) mod latency;
pub(crate) mod partitions;
pub(crate) mod subscriptions;
pub(crate) mod time;

use crate::failure::Failure;
use crate::lab::Lab;
use crate::result::{Curve, Row};

/// Something that is measured in one go.
pub(crate) struct Piece {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// What it is, for people.
    pub(crate) about: &'static str,
    /// Measures it.
    pub(crate) measure: Measure,
}

/// How a piece is measured.
#[derive(Clone, Copy)]
pub(crate) enum Measure {
    /// It makes rows.
    Rows(fn(&Lab) -> Result<Vec<Row>, Failure>),
    /// It makes curves.
    Curves(fn(&Lab) -> Result<Vec<Curve>, Failure>),
}

/// Every piece, in the order in which they are measured.
pub(crate) const PIECES: &[Piece] = &[
    rows(
        "durable-ingest",
        "ingest at disk against bare group commit",
        ingest::durable,
    ),
    rows(
        "memory-ingest",
        "ingest at memory against a bare copy loop",
        ingest::memory,
    ),
    rows(
        "publish-latency-memory",
        "publish p99 against a bare ping-pong",
        latency::memory,
    ),
    rows(
        "publish-latency-disk",
        "publish p99 against fdatasync and a ping-pong",
        latency::durable,
    ),
    rows(
        "end-to-end",
        "p99 from producing to receiving against the publish p99",
        latency::end_to_end,
    ),
    rows(
        "idle-partitions",
        "memory, disk and restart of many idle partitions",
        partitions::idle,
    ),
    rows(
        "active-partitions",
        "ingest into many partitions against one",
        partitions::active,
    ),
    rows(
        "idle-subscriptions",
        "memory and restart of many subscriptions at rest",
        subscriptions::idle,
    ),
    rows(
        "holes",
        "acknowledging every second message against all of them",
        subscriptions::holes,
    ),
    rows(
        "not-measurable",
        "two cores, a secondary: the cost of a message instead",
        ingest::not_measurable,
    ),
    rows(
        "reading",
        "reading from the start, warm, against Iggy (scaled)",
        beside_iggy::reading,
    ),
    rows(
        "lagging-reader",
        "live publishes beside a consumer that reads cold data",
        cold::reader,
    ),
    rows(
        "iggy-batched",
        "batches of 1,000 against Iggy (scaled)",
        beside_iggy::batched,
    ),
    rows(
        "iggy-mixed",
        "producing and consuming together against Iggy (scaled)",
        beside_iggy::mixed,
    ),
    rows(
        "iggy-sustained",
        "16 GB against Iggy (scaled)",
        beside_iggy::sustained,
    ),
    rows(
        "redis",
        "unbatched publishes against Redis, in turn",
        beside_others::redis,
    ),
    rows(
        "nats",
        "unbatched publishes against NATS, in turn",
        beside_others::nats,
    ),
    Piece {
        name: "curves-load",
        about: "plots of latency against load",
        measure: Measure::Curves(curves::load),
    },
    Piece {
        name: "curves-cost",
        about: "plots of a message's cost against partitions and connections",
        measure: Measure::Curves(curves::costs),
    },
    Piece {
        name: "curves-subscriptions",
        about: "plots of a message's cost against consumers, holes and subscriptions",
        measure: Measure::Curves(subscriptions::costs),
    },
    Piece {
        name: "curves-connections",
        about: "plots of memory and processor time against idle connections",
        measure: Measure::Curves(crowd::idle),
    },
    Piece {
        name: "curves-backlog",
        about: "plots of a message's and a restart's cost against the backlog",
        measure: Measure::Curves(time::backlog),
    },
    Piece {
        name: "soak",
        about: "plots of memory and open files against uptime",
        measure: Measure::Curves(time::soak),
    },
];

const fn rows(
    name: &'static str,
    about: &'static str,
    measure: fn(&Lab) -> Result<Vec<Row>, Failure>,
) -> Piece {
    Piece {
        name,
        about,
        measure: Measure::Rows(measure),
    }
}

/// The pieces of these names, all when there are none.
///
/// # Errors
/// When there is none of a name.
pub(crate) fn select(names: &[String]) -> Result<Vec<&'static Piece>, Failure> {
    if names.is_empty() {
        return Ok(PIECES.iter().collect());
    }
    let find = |name: &String| {
        let piece = PIECES.iter().find(|piece| piece.name == name);
        piece.ok_or_else(|| {
            let known: Vec<_> = PIECES.iter().map(|piece| piece.name).collect();
            Failure::new(format!(
                "there is no row {name}; there are {}",
                known.join(", ")
            ))
        })
    };
    names.iter().map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_and_chosen_by() {
        for (at, piece) in PIECES.iter().enumerate() {
            assert!(PIECES[..at].iter().all(|other| other.name != piece.name));
        }
        assert_eq!(select(&[]).unwrap().len(), PIECES.len());
        let two = select(&["nats".to_owned(), "durable-ingest".to_owned()]).unwrap();
        let names: Vec<_> = two.iter().map(|piece| piece.name).collect();
        assert_eq!(names, ["nats", "durable-ingest"]);
        let failure = select(&["x".to_owned()]).err().unwrap().to_string();
        assert!(
            failure.starts_with("there is no row x; there are durable-ingest,"),
            "{failure}"
        );
    }
}
