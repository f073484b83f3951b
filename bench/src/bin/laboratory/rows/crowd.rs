//! What connections cost that say nothing but that they are there.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use hulse_wire::{Hello, MAGIC, PROTOCOL_VERSION, Reply, Request, decode_frame};

use crate::broker::{Broker, Waiting};
use crate::failure::Failure;
use crate::lab::Lab;
use crate::result::{Curve, Line};
use crate::rows::curves::axis;

/// How many connections.
const CONNECTIONS: [u32; 3] = [100, 1_000, 10_000];
/// How long each may be silent, and how often it says that it is there: ten times as often.
const BEACON_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the broker is watched with all of them.
const WATCHED: Duration = Duration::from_secs(12);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

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
            crowd.push(Idle::open(&broker)?);
        }
        let grown = broker.memory()?.saturating_sub(before) as f64;
        let (began, work) = (Instant::now(), broker.work()?);
        // Each says in its turn that it is there.
        let pause = BEACON_TIMEOUT / 10 / count;
        let mut turn = 0;
        while began.elapsed() < WATCHED {
            let due = (began.elapsed().as_nanos() / pause.as_nanos()) as usize;
            while turn < due {
                crowd[turn % count as usize].beacon()?;
                turn += 1;
            }
            thread::sleep(Duration::from_millis(1));
        }
        for idle in &mut crowd {
            idle.is_there()?;
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

/// A connection that was welcomed.
struct Idle {
    socket: TcpStream,
    beacon: Vec<u8>,
}

impl Idle {
    fn open(broker: &Broker) -> Result<Self, Failure> {
        let failed = Failure::io("an idle connection");
        let hello = Request::Hello(Hello {
            version_min: PROTOCOL_VERSION,
            version_max: PROTOCOL_VERSION,
            client: "laboratory",
            beacon_timeout_ms: u32::try_from(BEACON_TIMEOUT.as_millis()).unwrap_or(u32::MAX),
        });
        let mut out = MAGIC.to_vec();
        let mut beacon = Vec::new();
        hello
            .encode(&mut out, 0, 1)
            .and_then(|_| Request::Ping.encode(&mut beacon, 0, 0))
            .map_err(|error| Failure::new(error.to_string()))?;
        let open = || {
            let mut socket = TcpStream::connect(broker.address())?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.write_all(&out)?;
            let mut received = Vec::new();
            let mut chunk = [0; 1024];
            loop {
                if let Ok(Some((frame, _))) = decode_frame(&received) {
                    let welcome = matches!(Reply::decode(&frame), Ok(Reply::Welcome(_)));
                    return Ok((socket, welcome));
                }
                match socket.read(&mut chunk)? {
                    0 => return Ok((socket, false)),
                    count => received.extend_from_slice(&chunk[..count]),
                }
            }
        };
        match open().map_err(failed)? {
            (socket, true) => Ok(Self { socket, beacon }),
            _ => Err(Failure::new("an idle connection is not welcomed")),
        }
    }

    fn beacon(&mut self) -> Result<(), Failure> {
        let sent = self.socket.write_all(&self.beacon);
        sent.map_err(Failure::io("an idle connection's beacon"))
    }

    /// Takes what the broker has said meanwhile.
    fn is_there(&mut self) -> Result<(), Failure> {
        let mut chunk = [0; 4096];
        match self.socket.read(&mut chunk) {
            Ok(0) => Err(Failure::new("the broker has closed an idle connection")),
            read => read.map(drop).map_err(Failure::io("an idle connection")),
        }
    }
}
