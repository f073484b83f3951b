//! Balancing the cores: their loads are measured at an interval, and a group that is to move is moved.
//! Who moves is decided by [`hulse_cluster::balance`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use hulse_cluster::balance::{Balancer, GroupWork, Move, Rules};
use hulse_model::{GroupId, PartitionId};
use tokio::time::{MissedTickBehavior, interval};

use super::{Control, Refused};
use crate::config::BalanceConfig;
use crate::messages::{CoreWork, Order};
use crate::time::millis;

/// What the cores had done at one moment.
struct Sample {
    at: Instant,
    cores: Vec<CoreWork>,
}

impl Control {
    /// Balances the cores until the broker stops.
    pub(crate) async fn balance(self: Arc<Self>, config: BalanceConfig) {
        let mut balancer = Balancer::new(Rules::above(config.percent * 10));
        let mut ticks = interval(config.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before: Option<Sample> = None;
        loop {
            ticks.tick().await;
            // A core that does not answer has ended: the broker is stopping.
            let Ok(now) = self.sample().await else {
                return;
            };
            if let Some(before) = &before {
                let busy = busy(before, &now);
                let work = self.work(before, &now);
                tracing::debug!(
                    ?busy,
                    "how busy the cores were, in thousandths of their time"
                );
                let now_ms = millis(self.info.started.elapsed());
                if let Some(due) = balancer.observe(now_ms, &busy, &work) {
                    let moved = self.move_group(due.group, due.to, &reason(&due)).await;
                    balancer.done(now_ms, &due, moved.is_ok());
                }
            }
            before = Some(now);
        }
    }

    async fn sample(&self) -> Result<Sample, Refused> {
        let mut cores = Vec::with_capacity(self.cores.len());
        for core in 0..self.cores.len() {
            cores.push(self.order(core, |done| Order::Work { done }).await?);
        }
        Ok(Sample {
            at: Instant::now(),
            cores,
        })
    }

    /// What each group has done between two samples. A partition that has changed its core counts
    /// from nought there.
    fn work(&self, before: &Sample, now: &Sample) -> Vec<GroupWork<GroupId>> {
        let mut sums: BTreeMap<GroupId, (usize, u64)> = BTreeMap::new();
        self.known(|known| {
            for (core, (before, now)) in before.cores.iter().zip(&now.cores).enumerate() {
                let before: BTreeMap<PartitionId, u64> = before.work.iter().copied().collect();
                for (id, done) in &now.work {
                    let Some(group) = known.group_of.get(id) else {
                        continue;
                    };
                    let last = before.get(id).copied().filter(|last| last <= done);
                    let sum = sums.entry(*group).or_insert((core, 0));
                    sum.1 += done - last.unwrap_or_default();
                }
            }
        });
        let work = |(group, (core, work))| GroupWork { group, core, work };
        sums.into_iter().map(work).collect()
    }
}

/// How busy each core was between two samples, in thousandths of its time.
fn busy(before: &Sample, now: &Sample) -> Vec<u32> {
    let passed = now.at.duration_since(before.at).as_micros().max(1);
    let cores = before.cores.iter().zip(&now.cores);
    cores
        .map(|(before, now)| {
            let busy = now.busy.saturating_sub(before.busy).as_micros();
            u32::try_from((busy * 1_000 / passed).min(1_000)).unwrap_or(1_000)
        })
        .collect()
}

/// Why a group moves, in words.
fn reason(due: &Move<GroupId>) -> String {
    let percent = |load: u32| load / 10;
    format!(
        "core {} was busy for {} % of its time and core {} for {} %; the group takes {} %",
        due.from,
        percent(due.from_load),
        due.to,
        percent(due.to_load),
        percent(due.group_load)
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn busy_is_what_was_added_in_the_time_between() {
        let at = Instant::now();
        let sample = |after_ms, busy_ms: [u64; 2]| Sample {
            at: at + Duration::from_millis(after_ms),
            cores: busy_ms
                .map(|ms| CoreWork {
                    busy: Duration::from_millis(ms),
                    work: Vec::new(),
                })
                .into(),
        };
        let (before, now) = (sample(0, [500, 10]), sample(1_000, [1_250, 10]));
        assert_eq!(busy(&before, &now), [750, 0]);
        let late = sample(1_100, [9_000, 10]);
        assert_eq!(
            busy(&now, &late),
            [1_000, 0],
            "a core has no more than its time"
        );
    }
}
