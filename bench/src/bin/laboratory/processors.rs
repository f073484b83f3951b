//! Which processor does what.

use std::io;
use std::process::{Child, Command};
use std::thread;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The processors of this process: the first is the broker's (whose one core takes the first that
/// it may use), and the others are the load's. With a single one both share it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Processors {
    all: CpuSet,
    first: CpuSet,
    others: CpuSet,
}

impl Processors {
    /// Those that this process may use.
    ///
    /// # Errors
    /// When the system does not say.
    pub(crate) fn of_process() -> io::Result<Self> {
        let all = sched_getaffinity(None)?;
        let mut numbers = (0..CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu));
        let mut first = CpuSet::new();
        first.set(numbers.next().unwrap_or(0));
        let mut others = CpuSet::new();
        for number in numbers {
            others.set(number);
        }
        if others.count() == 0 {
            others = first;
        }
        Ok(Self { all, first, others })
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u32 {
        self.all.count()
    }

    /// Keeps this thread, and the threads and processes that it starts, on the first one.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn stay_on_first(&self) -> io::Result<()> {
        Ok(sched_setaffinity(None, &self.first)?)
    }

    /// Keeps this thread, and the threads and processes that it starts, on the others.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn stay_on_others(&self) -> io::Result<()> {
        Ok(sched_setaffinity(None, &self.others)?)
    }

    /// Starts a process on the processors that `place` keeps to: a process inherits them from the
    /// thread that starts it, so a thread is made for that.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn spawn(&self, command: &mut Command, place: Place) -> io::Result<Child> {
        thread::scope(|scope| {
            let starting = scope.spawn(|| {
                match place {
                    Place::All => {}
                    Place::First => self.stay_on_first()?,
                    Place::Others => self.stay_on_others()?,
                }
                command.spawn()
            });
            starting
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("the thread that starts it fails")))
        })
    }
}

/// Where a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// On any processor.
    All,
    /// On the first one, as the broker's core does.
    First,
    /// On the others, as the load does.
    Others,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Stdio;

    #[test]
    fn a_process_stays_where_it_is_put_and_this_one_stays_free() {
        let processors = Processors::of_process().unwrap();
        let counted = |place| {
            let mut command = Command::new("nproc");
            command.stdout(Stdio::piped());
            let child = processors.spawn(&mut command, place).unwrap();
            let output = child.wait_with_output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            text.trim().parse::<u32>().unwrap()
        };
        let all = processors.count();
        assert_eq!(counted(Place::First), 1);
        assert_eq!(counted(Place::Others), (all - 1).max(1));
        assert_eq!(counted(Place::All), all);
        assert_eq!(sched_getaffinity(None).unwrap().count(), all);
    }
}
