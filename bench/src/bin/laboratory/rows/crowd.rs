//! What connections cost that say nothing but that they are there.

use std::thread;
use std::time::{Duration, Instant};

use hulse_wire::{Reply, Request};

use crate::broker::Waiting;
use crate::failure::Failure;
use crate::lab::Lab;
use crate::result::{Curve, Line};
use crate::rows::curves::axis;
use crate::talk::{BEACON_TIMEOUT, Talk};

/// How many connections.
const CONNECTIONS: [u32; 3] = [100, 1_000, 10_000];
/// How long the broker is watched with all of them.
const WATCHED: Duration = Duration::from_secs(12);

/// The memory and the processor time of a broker against the number of idle connections.
///
/// # Errors
/// When one of them is not welcomed, or is closed.
pub(crate) fn idle(lab: &Lab) -> Result<Vec<Curve>, Failure> {
    let mut memory = Vec::new();
    let mut processor = Vec::new();
    for count in CONNECTIONS {
        if count > lab.scale.partitions {
            continue;
        }
        let broker = lab.program.broker(Waiting::Sleeping)?;
        let before = broker.memory()?;
        let mut crowd = Vec::new();
        for _ in 0..count {
            crowd.push(Talk::open(&broker)?);
        }
        let grown = broker.memory()?.saturating_sub(before) as f64;
        let (began, work) = (Instant::now(), broker.work()?);
        // Each says in its turn that it is there, ten times as often as it has to.
        let pause = BEACON_TIMEOUT / 10 / count;
        let mut turn = 0;
        while began.elapsed() < WATCHED {
            let due = (began.elapsed().as_nanos() / pause.as_nanos()) as usize;
            while turn < due {
                let talk = &mut crowd[turn % count as usize];
                talk.say(0, 0, &Request::Ping)?;
                talk.send()?;
                turn += 1;
            }
            thread::sleep(Duration::from_millis(1));
        }
        for talk in &mut crowd {
            talk.say(0, 0, &Request::Ping)?;
            talk.hear(|_, reply| matches!(reply, Reply::Pong).then_some(()))?;
        }
        let used = broker.work()?.cpu().saturating_sub(work.cpu());
        let share = used.as_secs_f64() / began.elapsed().as_secs_f64() * 100.0;
        memory.push((f64::from(count), grown / f64::from(count)));
        processor.push((f64::from(count), share));
    }
    let curve = |name: &str, title: &str, y: &str, points| Curve {
        name: name.to_owned(),
        title: title.to_owned(),
        x: axis("idle connections", true),
        y: axis(y, false),
        lines: vec![Line {
            name: "Hulse".to_owned(),
            points,
        }],
        note: format!(
            "one core; each connection sends a beacon every {} s",
            (BEACON_TIMEOUT / 10).as_secs()
        ),
    };
    Ok(vec![
        curve(
            "memory-against-connections",
            "The broker's memory for an idle connection",
            "bytes each",
            memory,
        ),
        curve(
            "processor-against-connections",
            "The broker's processor time with idle connections",
            "% of a processor",
            processor,
        ),
    ])
}
