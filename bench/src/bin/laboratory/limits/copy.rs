//! The bare limit of a stream of bytes from one process to another.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Instant;

use hulse_bench::filler;

use crate::failure::Failure;
use crate::processors::Processors;

/// What the receiver takes at a time.
const READ_BYTES: usize = 256 * 1024;

/// Sends `bytes` over the loopback in writes of `write_bytes`: one thread on the load's processors
/// sends, and one on the broker's receives and throws away. Gives the bytes per second.
///
/// # Errors
/// Whatever the system answers.
pub(crate) fn tcp(bytes: u64, write_bytes: usize, on: &Processors) -> Result<f64, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let receiving = {
        let on = *on;
        thread::spawn(move || -> Result<u64, Failure> {
            on.stay_on_first()?;
            let (mut stream, _) = listener.accept()?;
            let mut buffer = vec![0; READ_BYTES];
            let mut taken = 0;
            loop {
                match stream.read(&mut buffer)? {
                    0 => break,
                    count => taken += count as u64,
                }
            }
            stream.write_all(&[1])?;
            Ok(taken)
        })
    };
    let on = *on;
    let sending = thread::spawn(move || -> Result<f64, Failure> {
        on.stay_on_others()?;
        let payload = filler(write_bytes);
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let began = Instant::now();
        let mut left = bytes;
        while left > 0 {
            let piece = usize::try_from(left).map_or(write_bytes, |left| left.min(write_bytes));
            stream.write_all(&payload[..piece])?;
            left -= piece as u64;
        }
        stream.shutdown(std::net::Shutdown::Write)?;
        // It is over when the other side has everything.
        stream.read_exact(&mut [0])?;
        Ok(began.elapsed().as_secs_f64())
    });
    let joined = |_| Failure::new("a thread of the copy loop fails");
    let seconds = sending.join().map_err(joined)??;
    let taken = receiving.join().map_err(joined)??;
    if taken != bytes {
        return Err(Failure::new(format!("{taken} of {bytes} bytes came")));
    }
    Ok(bytes as f64 / seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes() {
        let on = Processors::of_process().unwrap();
        for (bytes, write_bytes) in [(1, 64), (3_000_001, 64 * 1024)] {
            assert!(tcp(bytes, write_bytes, &on).unwrap() > 0.0);
        }
    }
}
