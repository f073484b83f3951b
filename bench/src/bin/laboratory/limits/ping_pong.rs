//! The bare limit of a question and its answer: 64 bytes there and back, between the runtimes that
//! the client and the broker run on.

use std::io::IoSlice;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use hulse_runtime::{BoundListener, Cores, CoresConfig, StopSignal, Stream, spawn};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::task::yield_now;

use crate::broker::Waiting;
use crate::failure::Failure;
use crate::processors::Processors;

/// The size of the question and of its answer.
const BYTES: usize = 64;
/// How long the broker's core looks for work when it spins, as in the rows.
const SPIN: Duration = Duration::from_micros(100);

/// Asks for a while, one question at a time, and gives how long each answer took.
///
/// # Errors
/// Whatever the system answers.
pub(crate) fn times(
    time: Duration,
    waiting: Waiting,
    on: &Processors,
) -> Result<Vec<Duration>, Failure> {
    let stop = StopSignal::new();
    let config = CoresConfig {
        spin: match waiting {
            Waiting::Sleeping => Duration::ZERO,
            Waiting::Spinning => SPIN,
        },
        stop: stop.clone(),
        ..CoresConfig::default()
    };
    let listener = BoundListener::bind(([127, 0, 0, 1], 0).into())
        .map_err(|error| Failure::new(error.to_string()))?;
    let address = listener.address();
    let mut listener = Some(listener);
    let mut cores: Cores<()> = Cores::start(&config, |_| {
        let listener = listener.take();
        move |core: hulse_runtime::CoreContext| async move {
            let Some(listener) = listener else {
                return Err(());
            };
            let serving = listener.into_local().serve(|stream| {
                spawn(echo(stream));
            });
            core.stopping().raised().await;
            serving.stop();
            Ok(())
        }
    })
    .map_err(|error| Failure::new(error.to_string()))?;
    let on = *on;
    let asked = thread::spawn(move || ask(address, time, waiting, &on)).join();
    stop.stop();
    let ended = cores.wait();
    let times = asked.map_err(|_| Failure::new("the ping-pong fails"))??;
    ended.map_err(|_| Failure::new("the echo fails"))?;
    Ok(times)
}

async fn echo(mut stream: Stream) {
    let mut buffer = [0; BYTES];
    let mut held = 0;
    // The other side ends it by closing.
    while let Ok(count) = stream.read(&mut buffer[held..]).await {
        if count == 0 {
            return;
        }
        held += count;
        if held == BYTES {
            held = 0;
            if stream.send_all(&mut [IoSlice::new(&buffer)]).await.is_err() {
                return;
            }
        }
    }
}

fn ask(
    address: SocketAddr,
    time: Duration,
    waiting: Waiting,
    on: &Processors,
) -> Result<Vec<Duration>, Failure> {
    on.stay_on_others()?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        if waiting == Waiting::Spinning {
            tokio::spawn(async {
                loop {
                    yield_now().await;
                }
            });
        }
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut buffer = [7; BYTES];
        let mut times = Vec::new();
        let began = Instant::now();
        while began.elapsed() < time {
            let before = Instant::now();
            stream.write_all(&buffer).await?;
            stream.read_exact(&mut buffer).await?;
            times.push(before.elapsed());
        }
        Ok(times)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_and_the_core_ends() {
        let on = Processors::of_process().unwrap();
        let waits = if on.count() > 1 {
            vec![Waiting::Sleeping, Waiting::Spinning]
        } else {
            vec![Waiting::Sleeping]
        };
        for waiting in waits {
            let times = times(Duration::from_millis(50), waiting, &on).unwrap();
            assert!(!times.is_empty(), "{waiting:?}");
        }
    }
}
