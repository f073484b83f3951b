//! Topics that come and go while the power does.

use std::collections::BTreeMap;
use std::sync::Arc;

use hulse_client::TopicSpec;
use hulse_tests::{Broker, Hulse, Random};
use rand::RngExt;

use super::load::Scene;

/// Topics of one round at the most: each has files of its own.
const TOPICS_MAX: usize = 12;

/// What the owner of a topic was told last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// It is there, and so is its message.
    Kept,
    /// It is there.
    Exists,
    /// It is gone.
    Gone,
    /// Nothing: the disk failed first.
    Nothing,
}

/// Every topic that was ever asked for.
#[derive(Default)]
pub(super) struct Topics(BTreeMap<String, Told>);

impl Topics {
    pub(super) fn add(&mut self, told: BTreeMap<String, Told>) {
        self.0.extend(told);
    }

    /// Compares with what there is.
    pub(super) fn check(&mut self, broker: &Broker) {
        for (topic, told) in &mut self.0 {
            let found = broker.describe(topic);
            match *told {
                Told::Gone => assert!(found.is_none(), "{topic} was deleted and is back"),
                Told::Nothing => {}
                Told::Exists | Told::Kept => {
                    let found = found.as_ref().expect("the topic was created");
                    for partition in &found.partitions {
                        assert_eq!(partition.poisoned, None, "{topic}");
                    }
                }
            }
            if *told == Told::Kept {
                let consume = format!("consume {topic} -s check --until-end --ack none");
                let got = Hulse::to(broker, &consume).done();
                assert_eq!(got, format!("{topic}\n").into_bytes());
            }
            // From now on it is known.
            *told = match (*told, found) {
                (Told::Kept, _) => Told::Kept,
                (_, Some(_)) => Told::Exists,
                (_, None) => Told::Gone,
            };
        }
    }
}

/// Creates topics, sends a message to each and deletes some, until the disk fails or there are
/// enough.
pub(super) async fn churn(
    scene: Arc<Scene>,
    round: usize,
    mut random: Random,
) -> BTreeMap<String, Told> {
    let client = scene.client().await;
    let mut topics = BTreeMap::new();
    for number in 0..TOPICS_MAX {
        let topic = format!("topic-{round}-{number}");
        topics.insert(topic.clone(), Told::Nothing);
        let spec = TopicSpec::default();
        if client.admin().create_topic(&topic, &spec).await.is_err() {
            break;
        }
        topics.insert(topic.clone(), Told::Exists);
        let Ok(producer) = client.producer(&topic).build().await else {
            break;
        };
        if producer.send_and_wait(&topic).await.is_err() {
            break;
        }
        topics.insert(topic.clone(), Told::Kept);
        if random.random_bool(0.5) {
            let deleted = client.admin().delete_topic(&topic).await;
            let told = deleted.map_or(Told::Nothing, |_| Told::Gone);
            topics.insert(topic.clone(), told);
            if told == Told::Nothing {
                break;
            }
        }
    }
    topics
}
