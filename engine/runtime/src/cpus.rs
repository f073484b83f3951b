//! The processors that this process may use.

/// The numbers of the processors that this thread may run on (`sched_getaffinity`), rising.
///
/// Call it on the main thread, before anything is pinned. It is never empty: when the kernel does
/// not answer, it is processor 0 alone.
pub fn available_cpus() -> Vec<usize> {
    let Ok(set) = rustix::thread::sched_getaffinity(None) else {
        return vec![0];
    };
    let cpus: Vec<usize> = (0..rustix::thread::CpuSet::MAX_CPU)
        .filter(|cpu| set.is_set(*cpu))
        .collect();
    if cpus.is_empty() { vec![0] } else { cpus }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_distinct_rising_and_at_least_one() {
        let cpus = available_cpus();
        assert!(!cpus.is_empty());
        assert!(cpus.windows(2).all(|pair| pair[0] < pair[1]), "{cpus:?}");
        let parallelism = std::thread::available_parallelism().expect("known").get();
        // The standard library also counts control group quotas, so it may say less.
        assert!(cpus.len() >= parallelism, "{cpus:?} against {parallelism}");
    }
}
